export { type HttpReaderOptions, openHttpReader } from "./http-reader.js";
export { type HttpFile, type HttpSourceOptions, httpSource } from "./http-source.js";
