export { type FileSink, type FileSinkOptions, fileSink } from "./file-sink.js";
export { fileSource } from "./file-source.js";
