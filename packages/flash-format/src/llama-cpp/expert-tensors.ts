/** Where a GGUF file of llama.cpp's has its experts: in a layer's three tensors, each of one matrix of every expert, one behind the other. */
import { type ModelGeometry, type RecordRole, UnsupportedError } from "@flashwick/core";
import type { ExpertMatrix, ExpertTensors } from "../model-file.js";
import type { TensorTable } from "./tensor-table.js";

/**
 * @returns Null for a layer with one FFN.
 * @throws As `TensorTable.requireExperts`. {UnsupportedError} `UNSUPPORTED_FEATURE` for a tensor an expert, as converters wrote them until April 2024.
 */
export function expertTensorsOf(geometry: ModelGeometry, layer: number, tensors: TensorTable): ExpertTensors | null {
  const { ffn, experts } = geometry.layers[layer]!;
  if (!experts) return null;
  const matrix = (role: RecordRole, rows: number, cols: number): ExpertMatrix => {
    const name = `blk.${layer}.ffn_${role}_exps.weight`;
    const single = `blk.${layer}.ffn_${role}.0.weight`;
    if (!tensors.has(name) && tensors.has(single)) throw notStacked(tensors.fileName, single);
    return Object.freeze({ role, ...tensors.requireExperts({ name, rows, cols }, experts.count) });
  };
  const { dModel } = geometry;
  const matrices = [
    ...(ffn.gated ? [matrix("gate", ffn.dFf, dModel)] : []),
    matrix("up", ffn.dFf, dModel),
    matrix("down", dModel, ffn.dFf),
  ];
  return Object.freeze({ count: experts.count, matrices: Object.freeze(matrices), recordChecks: null });
}

function notStacked(fileName: string, tensor: string): UnsupportedError {
  return new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `${fileName}: tensor "${tensor}" holds one expert, expected all experts of a layer in one tensor; fetch a conversion made after April 2024`,
    { details: { tensor } },
  );
}
