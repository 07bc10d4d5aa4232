/** What an engine is made of. */
import type { Predictor, PredictorSource } from "@flashwick/core";
import type { MemoryPlan } from "@flashwick/cost-model";
import type { UnitProfile } from "@flashwick/dram-cache";
import type { ModelFile } from "@flashwick/flash-format";
import type { FlashReader } from "@flashwick/flash-io";
import { type Arena, type KernelFactory, type Kernels, MAX_ARENA_BYTES } from "@flashwick/kernels";
import type { EngineConfig } from "./engine-config.js";

/** What an engine is made of. */
export interface EngineParts {
  readonly file: ModelFile;
  readonly reader: FlashReader;
  readonly kernels: KernelFactory<Kernels>;
  readonly predictor: Predictor | PredictorSource | null;
  readonly plan: MemoryPlan;
  readonly config: EngineConfig;
  /** Of a mixture: what is read into the slots when the engine is made. */
  readonly hotExperts?: UnitProfile | undefined;
  /** Milliseconds, monotonic. */
  readonly clock: () => number;
  readonly maxArenaBytes?: number | undefined;
  /** Arenas in shared memory: for compute threads, or a reader with threads. */
  readonly sharedMemory?: boolean | undefined;
  /** Tells whoever computes that an arena will not be used any more. */
  readonly releaseArena?: ((arena: Arena) => void) | undefined;
  /** Sees the bytes that loading has read. */
  readonly onLoaded?: ((loaded: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Aborted when the model is closed: whatever runs ends within a layer, with the signal's reason. */
  readonly closing?: AbortSignal | undefined;
}

/** Largest arena in use, bytes. */
export function largestArena(parts: Pick<EngineParts, "maxArenaBytes">): number {
  return parts.maxArenaBytes ?? MAX_ARENA_BYTES - 65536;
}
