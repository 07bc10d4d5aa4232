/** What an engine is made of, and how it is told to work. */
import type { Predictor, PredictorSource } from "@flashwick/core";
import type { MemoryPlan } from "@flashwick/cost-model";
import type { ModelFile } from "@flashwick/flash-format";
import type { FlashReader } from "@flashwick/flash-io";
import { type Arena, type KernelFactory, type Kernels, MAX_ARENA_BYTES } from "@flashwick/kernels";
import type { CachePolicyChoice } from "./cache-policy.js";

/** How the FFN chooses its neurons while decoding. */
export type NeuronMode = "dense" | "predicted" | "oracle";

export interface EngineParts {
  readonly file: ModelFile;
  readonly reader: FlashReader;
  readonly kernels: KernelFactory<Kernels>;
  readonly predictor: Predictor | PredictorSource | null;
  readonly plan: MemoryPlan;
  readonly mode: NeuronMode;
  readonly policy: CachePolicyChoice;
  /** Overrides the predictor's own thresholds. */
  readonly threshold?: number | undefined;
  /**
   * Predicted mode: neurons that are resident already are named from a threshold lower by this much (a logit). Default 0. Above 0 the output
   * depends on what the cache holds: the same prompt may give another text after another one.
   */
  readonly residentMargin?: number | undefined;
  readonly clock: () => number;
  readonly maxArenaBytes?: number | undefined;
  /** Arenas in shared memory: for compute threads, or a reader with threads. */
  readonly sharedMemory?: boolean | undefined;
  /** Tells whoever computes that an arena will not be used any more. */
  readonly releaseArena?: ((arena: Arena) => void) | undefined;
  /** Unneeded bytes between two runs that are rather read than skipped; default: as the reader says. */
  readonly mergeGapBytes?: number | undefined;
  /**
   * Default true. Missing neurons fly while resident ones are computed, and in parallel blocks while attention is; false waits for them
   * first.
   */
  readonly overlap?: boolean | undefined;
  /** Streamed layers are read one chunk ahead of the compute. Default: for batches, whose compute is long; for single tokens as `overlap`. */
  readonly readAhead?: boolean | undefined;
  /**
   * Predicted mode, where attention comes before the FFN: before a layer's attention, its predictor guesses from the layer's input what it will name from attention's
   * output, so that reads fly during attention. Default: with overlap, where the reader has threads. Costs the predictor's time again.
   */
  readonly lookahead?: boolean | undefined;
  readonly onLoaded?: ((loaded: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Aborted when the model is closed: whatever runs ends within a layer, with the signal's reason. */
  readonly closing?: AbortSignal | undefined;
}

/** Largest arena in use, bytes. */
export function largestArena(parts: Pick<EngineParts, "maxArenaBytes">): number {
  return parts.maxArenaBytes ?? MAX_ARENA_BYTES - 65536;
}

/** What runs may bridge, bytes. */
export function mergeGapBytes(
  parts: Pick<EngineParts, "mergeGapBytes"> & { readonly reader: { readonly mergeGapBytes: number } },
): number {
  return parts.mergeGapBytes ?? parts.reader.mergeGapBytes;
}
