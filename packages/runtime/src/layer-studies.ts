/** What can be learned of a layer by reading all of it, aside of decoding: for the oracle, for training, for quality. */
import { type ActivationFunction, isActive, paddedLength, recordPart } from "@flashwick/core";
import type { Ptr } from "@flashwick/kernels";
import type { NeuronSlots } from "./neuron-slots.js";
import type { TokenMeter } from "./token-meter.js";

/** Room for neurons outside the slots. */
export interface Stage {
  readonly ptr: Ptr;
  readonly slots: number;
}

/**
 * The truly active neurons of each token, ascending, by reading and computing the whole layer aside of the cache.
 *
 * @param x f32 `[nTokens, pad(dModel)]`, the FFN's input.
 * Cost: reads the layer once; the reads are counted apart.
 */
export async function trulyActive(
  slots: NeuronSlots,
  activation: ActivationFunction,
  x: Ptr,
  nTokens: number,
  stage: Stage,
  meter: TokenMeter,
  signal?: AbortSignal,
): Promise<Uint32Array[]> {
  const { kernels, workspace, dFf } = slots.parts;
  const sets: number[][] = Array.from({ length: nTokens }, () => []);
  for (let first = 0; first < dFf; first += stage.slots) {
    const count = Math.min(stage.slots, dFf - first);
    await slots.readStretch(stage.ptr, first, count, meter, signal);
    const matrix = slots.orderedMatrix(stage.ptr, first);
    slots.parts.gate?.give(count, nTokens, 0, count, (i) => first + i);
    kernels.ffnUp(workspace.act, x, matrix, workspace.slots, count, nTokens, activation, workspace.scratch);
    const rowLength = paddedLength(count);
    const pending = kernels.take(workspace.act, 4 * nTokens * rowLength);
    if (pending) await pending;
    const act = kernels.arena.f32(workspace.act, nTokens * rowLength);
    for (const [t, set] of sets.entries()) {
      for (let i = 0; i < count; i++) if (isActive(act[t * rowLength + i]!)) set.push(first + i);
    }
  }
  return sets.map((set) => Uint32Array.from(set));
}

/**
 * ‖down_i‖₂ of every neuron, f64 `[dFf]`: how much a missed activation weighs.
 *
 * Cost: reads the layer once, through its slots; the cache is empty afterwards.
 */
export async function downNorms(slots: NeuronSlots, meter: TokenMeter, signal?: AbortSignal): Promise<Float64Array> {
  const { kernels, workspace, cache, dFf, dModel, weights, slotBase } = slots.parts;
  const { offsetBytes, scaleOffsetBytes } = recordPart(weights, "down");
  const norms = new Float64Array(dFf);
  const row = kernels.arena.f32(workspace.blockOut, dModel);
  cache.clear();
  for (let first = 0; first < dFf; first += cache.slotCount) {
    const count = Math.min(cache.slotCount, dFf - first);
    await slots.readStretch(slotBase, first, count, meter, signal);
    for (let i = 0; i < count; i++) {
      const slot = slots.slotPtr(i);
      const scales = scaleOffsetBytes === null ? 0 : slot + scaleOffsetBytes;
      const down = { dtype: weights.dtype, data: slot + offsetBytes, scales, rows: 1, cols: dModel };
      kernels.gatherRow(workspace.blockOut, down, 0);
      const pending = kernels.take(workspace.blockOut, 4 * dModel);
      if (pending) await pending;
      let sum = 0;
      for (let j = 0; j < dModel; j++) sum += row[j]! * row[j]!;
      norms[first + i] = Math.sqrt(sum);
    }
  }
  return norms;
}
