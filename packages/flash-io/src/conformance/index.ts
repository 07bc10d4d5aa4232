export { FAULT_KINDS, type Fault, FaultCounter, type FaultKind } from "./fault.js";
export { type FaultCase, type FaultOutcome, type FaultyReader, faultCases, runFaultCase } from "./fault-cases.js";
export { FaultyFile, type FaultyHandle, type FaultyReads } from "./faulty-file.js";
export { CONFORMANCE_FILE_BYTES, type Intervention, type ReaderUnderTest } from "./reader-bench.js";
export type { ReaderCase } from "./reader-case.js";
export { readerCases, runReaderCase } from "./reader-cases.js";
export { FAULT_WORDS, SharedFaults } from "./shared-faults.js";
export { ConformanceFailure } from "./verdict.js";
