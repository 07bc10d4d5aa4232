export { FAULT_KINDS, type Fault, FaultCounter, type FaultKind } from "./fault.js";
export { type FaultCase, type FaultOutcome, type FaultyReader, faultCases, runFaultCase } from "./fault-cases.js";
export { FaultyFile, type FaultyHandle, type FaultyReads } from "./faulty-file.js";
export { FAULT_WORDS, SharedFaults } from "./shared-faults.js";
