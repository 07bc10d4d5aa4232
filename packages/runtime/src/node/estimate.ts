/** What planning needs and nothing else: a command that only predicts need not load an engine. */
export { EXPERT_POLICY } from "../cache-policy.js";
export { type DraftAcceptance, draftAcceptance } from "../draft-acceptance.js";
export { type EstimateOptions, estimate, type PredictorShapes, planRequest } from "../estimate.js";
export { shapeOf } from "../model-shape.js";
export { type PolicyLocalityOptions, policyLocality } from "../policy-locality.js";
export { RESERVE_BYTES, spareMemoryBytes } from "./machine-memory.js";
export { keepProfile, readKeptProfile } from "./profile/kept-profile.js";
