/** Test support: how much memory engines hold at once. */
import { type Arena, kernelFactory } from "@flashwick/kernels";
import type { ModelParts } from "./model-options.js";

export interface WatchedArenas {
  readonly parts: ModelParts;
  /** Arenas that were made so far. */
  readonly made: () => number;
  /** Arenas that were made and not released. */
  readonly held: () => number;
  /** Bytes of such arenas, at most so far. */
  readonly peakBytes: () => number;
}

/** The same parts, which count the arenas that engines work in. */
export function watchArenas(parts: ModelParts): WatchedArenas {
  const alive = new Set<Arena>();
  let [made, peak] = [0, 0];
  const kernels = kernelFactory((arena: Arena) => {
    made++;
    alive.add(arena);
    peak = Math.max(
      peak,
      [...alive].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    );
    return parts.kernels(arena);
  }, parts.kernels);
  const releaseArena = (arena: Arena) => {
    alive.delete(arena);
    parts.releaseArena?.(arena);
  };
  return {
    parts: { ...parts, kernels, releaseArena },
    made: () => made,
    held: () => alive.size,
    peakBytes: () => peak,
  };
}
