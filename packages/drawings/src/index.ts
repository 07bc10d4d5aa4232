export { prepare } from "./canvas.js";
export { drawComparison, type TimedRun } from "./comparison.js";
export { PHASES } from "./phases.js";
export { drawSpans } from "./spans.js";
export { type DrawnSpan, type DrawnStep, STATE, type StepPass } from "./step.js";
export { type ResidentUnits, type SeenStep, type StepObserver, StepWatch } from "./step-watch.js";
export { drawTimeline, type TimelineOptions } from "./timeline.js";
export { drawMap, type MapFacts, type Unit } from "./unit-map.js";
