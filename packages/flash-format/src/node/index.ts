export { type FileSink, type FileSinkOptions, fileSink, partialPath } from "./file-sink.js";
export { fileSource } from "./file-source.js";
