export { type FileSink, type FileSinkOptions, fileSink, partialPath } from "./file-sink.js";
export { fileSource } from "./file-source.js";
export { lockOutput, type OutputLock } from "./output-lock.js";
