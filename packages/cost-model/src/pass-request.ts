/** What a pass over a model is asked with: model, device and sparsity, how the engine is told to work, and where in a sequence it stands. */
import type { SparsityStatistics } from "@flashwick/core";
import type { DeviceProfile } from "./device-profile.js";
import type { ExpertLocality } from "./expert-locality.js";
import type { KvPrecision } from "./kv-bytes.js";
import type { ModelShape } from "./model-shape.js";

/** What the engine can be told. */
export interface EngineSettings {
  /**
   * `dense`: every neuron, layers streamed, or the experts that routers choose; `predicted`: what the predictor names; `gate-first`: what the resident
   * gates name.
   */
  readonly mode: "dense" | "predicted" | "gate-first";
  /** Tokens whose neurons stay, the current one included; Infinity: as many as fit. */
  readonly windowTokens: number;
  readonly threads: number;
  /** Reads in flight; 0: the calling thread reads, through the page cache. */
  readonly readers: number;
  readonly mergeGapBytes: number;
  readonly overlap: boolean;
}

/** What an engine does as it does, whatever it is told. */
export interface EngineMethod {
  /** Arithmetic passes over all neurons that are held (LLM in a flash, 3.3: "all rows in use"); false: over the named ones. */
  readonly computesHeld: boolean;
  /** Neighbours among the missing neurons are one read; false: each record is a read of its own. */
  readonly joinsNeighbours: boolean;
}

/** This project's engine. */
export const OUR_METHOD: EngineMethod = { computesHeld: false, joinsNeighbours: true };

/** What the price of a decoded token depends on. */
export interface TokenRequest {
  readonly shape: ModelShape;
  readonly profile: DeviceProfile;
  readonly sparsity: SparsityStatistics;
  /** Of a mixture's routers. Default: as published of others. */
  readonly locality?: ExpertLocality | undefined;
  readonly settings: EngineSettings;
  readonly slotsByLayer: readonly number[];
  /** Neurons that a stream reads at a time, after which it waits for the next: the memory plan's. Default: as many as the longest chunk has. */
  readonly streamNeurons?: number;
  readonly kvPrecision: KvPrecision;
  /** Tokens before this one: keys and values to be read. */
  readonly position: number;
  /** Tokens that the neuron cache has seen. */
  readonly seenTokens: number;
  /** Default: `OUR_METHOD`. */
  readonly method?: EngineMethod;
}
