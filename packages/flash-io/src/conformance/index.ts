export { CONFORMANCE_FILE_BYTES, type Intervention, type ReaderUnderTest } from "./reader-bench.js";
export type { ReaderCase } from "./reader-case.js";
export { readerCases, runReaderCase } from "./reader-cases.js";
export { ConformanceFailure } from "./verdict.js";
