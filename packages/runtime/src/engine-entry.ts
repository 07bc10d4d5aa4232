/**
 * The inside of a model, as `@flashwick/runtime/engine`, for studies and tools that step by hand. **Nothing here is promised**: names and behaviour change in
 * any release, and what is called in the wrong order, or with a set that changes too early, gives wrong numbers rather than an error.
 */
export { ALL_NEURONS, type Choice, type Chooser, type ChooserLayer } from "./chooser.js";
export { windowLogitBytes } from "./compared-run.js";
export { Engine } from "./engine.js";
export type { EngineParts } from "./engine-parts.js";
export type { StepOptions, StepRow, StepSequence } from "./engine-step.js";
export { PlainDecoder, type TokenDecoder } from "./generation.js";
export {
  type DecodedStep,
  SpeculativeDecoder,
  type SpeculativeDecoderParts,
} from "./speculation/speculative-decoder.js";
export { type SelectorOptions, TokenSelector } from "./token-selector.js";
