export { briefCases } from "./brief-cases.js";
export { byteVectorCases, type ConformanceCase, conformanceCases, titleOf } from "./case-table.js";
export { CONFORMANCE_ARENA_BYTES, runConformanceCase } from "./driver.js";
export { ConformanceFailure } from "./verdict.js";
