export { type HttpReaderOptions, openHttpReader } from "./http-reader.js";
export { type HttpFile, type HttpSource, type HttpSourceOptions, httpSource } from "./http-source.js";
export { BusyServer, type RetryOptions, retry } from "./retries.js";
