export { openFileReader, type PositionalReads } from "./file-reader.js";
