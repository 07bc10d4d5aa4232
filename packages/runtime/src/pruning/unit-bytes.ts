/**
 * What a pruned FFN reads for a token, in bytes of the model's own types: an input's columns of gate and up, a neuron's column of down, by the
 * method whole neurons, and what is read in any case. Padding and alignment of records are not counted.
 */
import { hasResidentGate, rowBytes } from "@flashwick/core";
import { columnsOf, gateName, type ModelHeader, recordLayout } from "@flashwick/flash-format";
import type { Stage } from "./planned-pruner.js";
import type { PruningMethod } from "./pruning-plan.js";

/** Of one layer, bytes. */
export interface UnitBytes extends Readonly<Record<Stage, number>> {
  /** Read for every token: what `cats` judges by, the gate, or up where there is none. */
  readonly always: number;
  /** The whole FFN. */
  readonly dense: number;
}

/** By layer. */
export function unitBytes(header: ModelHeader, method: PruningMethod): UnitBytes[] {
  const { dModel, layers } = header.geometry;
  return layers.map(({ ffn }, index) => {
    const { gate, up, down } = matrixBytes(header, index);
    const dense = gate + up + down;
    if (method === "oracle") return { inputs: 0, outputs: dense / ffn.dFf, always: 0, dense };
    if (method === "cats") {
      const always = ffn.gated ? gate : up;
      return { inputs: 0, outputs: (dense - always) / ffn.dFf, always, dense };
    }
    return { inputs: (gate + up) / dModel, outputs: down / ffn.dFf, always: 0, dense };
  });
}

function matrixBytes(header: ModelHeader, layer: number): { gate: number; up: number; down: number } {
  const { dModel, layers } = header.geometry;
  const { dFf, gated } = layers[layer]!.ffn;
  const matrices = header.matrices[layer];
  if (matrices) {
    const { gate, up, down } = matrices;
    return { gate: gate?.sizeBytes ?? 0, up: up.sizeBytes, down: down.sizeBytes };
  }
  const { dtype } = columnsOf(header) ?? recordLayout(header);
  const bytes = dFf * rowBytes(dtype, dModel);
  const resident = hasResidentGate(header) ? header.tensors.get(gateName(layer)) : undefined;
  return { gate: resident?.sizeBytes ?? (gated ? bytes : 0), up: bytes, down: bytes };
}
