/** Seeing every activation of a step beside what each token uses: for evaluation, traces and statistics. */

import { paddedLength, widestFfn } from "@flashwick/core";
import type { Engine } from "./engine.js";
import type { ForwardObserver } from "./forward-observer.js";

/** One stretch of neurons, before tokens are held to their own sets. */
export type OnStretch = (
  layer: number,
  first: number,
  count: number,
  nTokens: number,
  /** f32 `[nTokens, rowLength]`. */
  act: Float32Array,
  rowLength: number,
  /** Whether neuron j is used for token t: `named[t * dFf + j]`, dFf that of the widest layer; null where all are. */
  named: Uint8Array | null,
) => void;

/** An observer that hands out stretches in ascending order, layer after layer. Layers are streamed for it. */
export function stretchObserver(engine: Engine, onStretch: OnStretch): ForwardObserver {
  const dFf = widestFfn(engine.parts.file.header.geometry);
  let named: Uint8Array | null = null;
  return {
    activations(layer, first, count, ptr, nTokens, kernels, sets) {
      if (first === 0) named = sets && flagsOf(sets, named ?? new Uint8Array(engine.batchTokens * dFf), dFf);
      const rowLength = paddedLength(count);
      onStretch(layer, first, count, nTokens, kernels.arena.f32(ptr, nTokens * rowLength), rowLength, named);
    },
  };
}

function flagsOf(sets: readonly Uint32Array[], flags: Uint8Array, dFf: number): Uint8Array {
  flags.fill(0);
  for (const [t, set] of sets.entries()) for (const neuron of set) flags[t * dFf + neuron] = 1;
  return flags;
}
