/**
 * The sparse path applied to a batch: activations of neurons that are not named become zero, which changes no other bit, so
 * a masked batch equals decoding token by token.
 */
import { paddedLength } from "@flashwick/core";
import type { Engine, ForwardObserver } from "./engine.js";

/** What was seen of one stretch of activations before the mask was applied. */
export type OnStretch = (
  layer: number,
  first: number,
  count: number,
  nTokens: number,
  /** f32 `[nTokens, rowLength]` before masking. */
  act: Float32Array,
  rowLength: number,
  /** Whether neuron j is named for token t: `named[t * dFf + j]`; null in dense mode. */
  named: Uint8Array | null,
) => void;

/**
 * An observer that masks a batch by the engine's mode: by its predictors, by the true active set (which takes nothing
 * away), or not at all.
 */
export function maskingObserver(engine: Engine, onStretch?: OnStretch): ForwardObserver {
  const { dFf } = engine.parts.file.header.geometry;
  const predicted = engine.parts.mode === "predicted";
  const named = predicted ? new Uint8Array(engine.batchTokens * dFf) : null;
  return {
    async ffnInput(layer, _x, nTokens) {
      if (!named) return;
      named.fill(0);
      for (let t = 0; t < nTokens; t++) {
        for (const neuron of await engine.predictedSet(layer, t)) named[t * dFf + neuron] = 1;
      }
    },
    activations(layer, first, count, ptr, nTokens, kernels) {
      const rowLength = paddedLength(count);
      const act = kernels.arena.f32(ptr, nTokens * rowLength);
      onStretch?.(layer, first, count, nTokens, act, rowLength, named);
      if (!named) return;
      for (let t = 0; t < nTokens; t++) {
        for (let i = 0; i < count; i++) if (named[t * dFf + first + i] === 0) act[t * rowLength + i] = 0;
      }
    },
  };
}
