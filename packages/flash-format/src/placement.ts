/** Where a layer's neurons stand in its records: a permutation, and what follows from it. SPEC.md, "Placement". */
import { InputError, type ModelGeometry } from "@flashwick/core";
import { crc32c } from "./crc32c.js";
import type { SourceTensor } from "./fingerprint.js";

/** Of a layer's permutation, I32 `[dFf]`. */
export function placementName(layer: number): string {
  return `blk.${layer}.ffn_placement`;
}

/**
 * @param neurons Of each layer of the checkpoint, where records hold a part of them. Default: as many as there are
 * records.
 * @throws {InputError} `INPUT_INVALID` naming the layer that has no permutation of the geometry's neurons. Cost:
 * O(nLayers · dFf).
 */
export function checkPlacement(
  placement: readonly Uint32Array[],
  { layers }: ModelGeometry,
  neurons: readonly number[] = layers.map(({ ffn }) => ffn.dFf),
): void {
  const nLayers = layers.length;
  if (placement.length !== nLayers) {
    const message = `placement of ${placement.length} layers, expected ${nLayers}, as many as the model has`;
    throw new InputError("INPUT_INVALID", message, { details: { expected: nLayers, found: placement.length } });
  }
  for (const [layer, order] of placement.entries()) {
    const { dFf } = layers[layer]!.ffn;
    const all = neurons[layer]!;
    const inside = new Set([...order].filter((neuron) => neuron < all));
    if (order.length === dFf && inside.size === dFf) continue;
    const of = dFf === all ? `each of ${dFf} neurons once` : `${dFf} different ones of ${all} neurons`;
    const message = `placement of layer ${layer}: ${order.length} entries, expected ${of}`;
    throw new InputError("INPUT_INVALID", message, { details: { layer } });
  }
}

/** A layer's permutation as the file has it. */
export function placementBytes(order: Uint32Array): Uint8Array {
  return new Uint8Array(Uint32Array.from(order).buffer);
}

/** What the fingerprint says of a placement: a predictor of one order names other neurons in another. */
export function placementFacts(placement: readonly Uint32Array[]): SourceTensor[] {
  return placement.map((order, layer) => ({
    name: placementName(layer),
    rows: 1,
    cols: order.length,
    sourceCrc32c: crc32c(placementBytes(order)),
  }));
}
