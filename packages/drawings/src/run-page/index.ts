export { packedBytes, packStates } from "./packed-states.js";
export { runPage } from "./run-page.js";
export type { ReportedStep, RunReport } from "./run-report.js";
