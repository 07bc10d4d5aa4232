/** How much each unit of an FFN weighs: the norms of columns of gate and up, and of columns of down. */
import { columnCounts, UnsupportedError } from "@flashwick/core";
import type { Kernels, Matrix, Ptr } from "@flashwick/kernels";
import type { ColumnSums } from "../column-sums.js";
import type { ColumnLayer, EngineLayer, MatrixLayer, RecordLayer } from "../engine-layer.js";
import type { TokenMeter } from "../token-meter.js";
import type { UnitNorms } from "./planned-pruner.js";
import { bringAll } from "./pruned-ffn.js";

/** Sees a row as f32. */
type OnRow = (row: Float32Array) => void;

/**
 * Norms of every layer, none of which may be in use.
 *
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` for a mixture of experts, or layers that are not all in DRAM, unless they are read by columns.
 * Cost: decodes every weight of the FFNs once; columns are read once, aside of the caches.
 */
export async function unitNorms(
  layers: readonly EngineLayer[],
  dModel: number,
  meter: TokenMeter,
  signal?: AbortSignal,
): Promise<UnitNorms[]> {
  const norms: UnitNorms[] = [];
  for (const layer of layers) {
    if (layer.storage === "matrices") norms.push(await normsOfMatrices(layer, dModel));
    else if (layer.storage === "records") norms.push(await normsOfRecords(layer, dModel, meter, signal));
    else if (layer.storage === "columns") norms.push(await normsOfColumns(layer, dModel, meter, signal));
    else throw notInDram(layer.index);
  }
  return norms;
}

async function normsOfMatrices(
  { streamed, context, geometry, index }: MatrixLayer,
  dModel: number,
): Promise<UnitNorms> {
  const { resident } = streamed;
  if (!resident) throw notInDram(index);
  const sums = { inputs: new Float64Array(dModel), outputs: new Float64Array(geometry.ffn.dFf) };
  const { kernels, workspace } = context;
  for (const matrix of [resident.gate, resident.up]) {
    if (matrix) await eachRow(kernels, matrix, workspace.blockOut, (row) => addSquares(sums.inputs, row));
  }
  await eachRow(kernels, resident.down, workspace.act, (row) => addSquares(sums.outputs, row));
  return rootsOf(sums);
}

async function normsOfRecords(
  layer: RecordLayer,
  dModel: number,
  meter: TokenMeter,
  signal: AbortSignal | undefined,
): Promise<UnitNorms> {
  const { slots, context, geometry } = layer;
  const { kernels, workspace } = context;
  const { weights, gate } = slots.parts;
  const sums = { inputs: new Float64Array(dModel), outputs: new Float64Array(geometry.ffn.dFf) };
  await bringAll(layer, meter, signal);
  if (gate) await eachRow(kernels, gate.weight, workspace.blockOut, (row) => addSquares(sums.inputs, row));
  for (let neuron = 0; neuron < geometry.ffn.dFf; neuron++) {
    const slot = slots.slotPtr(slots.cache.slotOf(neuron));
    for (const { role, offsetBytes, scaleOffsetBytes } of weights.parts) {
      const scales = scaleOffsetBytes === null ? 0 : slot + scaleOffsetBytes;
      const part = { dtype: weights.dtype, data: slot + offsetBytes, scales, rows: 1, cols: dModel };
      await eachRow(kernels, part, workspace.blockOut, (row) => {
        if (role === "down") for (const weight of row) sums.outputs[neuron]! += weight * weight;
        else addSquares(sums.inputs, row);
      });
    }
  }
  return rootsOf(sums);
}

async function normsOfColumns(
  { ffn, geometry }: ColumnLayer,
  dModel: number,
  meter: TokenMeter,
  signal: AbortSignal | undefined,
): Promise<UnitNorms> {
  const counts = columnCounts(dModel, geometry);
  const { inputs, outputs } = ffn.parts;
  const sums = { inputs: new Float64Array(counts.inputs), outputs: new Float64Array(counts.outputs) };
  await eachColumn(inputs, meter, signal, (unit, column) => addSquare(sums.inputs, unit, column));
  await eachColumn(outputs, meter, signal, (unit, column) => addSquare(sums.outputs, unit, column));
  return rootsOf(sums);
}

/** Sees every column of a unit in f32, in the order of its parts. */
async function eachColumn(
  { slots, stream }: ColumnSums,
  meter: TokenMeter,
  signal: AbortSignal | undefined,
  onColumn: (unit: number, column: Float32Array) => void,
): Promise<void> {
  const { kernels, workspace, dtype, records, slotBytes } = slots.parts;
  for (const { first, count, ptr } of stream.stretches()) {
    await slots.readStretch(ptr, first, count, meter, signal);
    for (let i = 0; i < count; i++) {
      for (const { offsetBytes, scaleOffsetBytes } of records.parts) {
        const slot = ptr + i * slotBytes;
        const scales = scaleOffsetBytes === null ? 0 : slot + scaleOffsetBytes;
        const matrix = { dtype, data: slot + offsetBytes, scales, rows: 1, cols: records.width };
        await eachRow(kernels, matrix, workspace.act, (row) => onColumn(first + i, row));
      }
    }
  }
}

function addSquare(sums: Float64Array, unit: number, column: Float32Array): void {
  for (const weight of column) sums[unit]! += weight * weight;
}

async function eachRow(kernels: Kernels, matrix: Matrix, buffer: Ptr, onRow: OnRow): Promise<void> {
  for (let index = 0; index < matrix.rows; index++) {
    kernels.gatherRow(buffer, matrix, index);
    const pending = kernels.take(buffer, 4 * matrix.cols);
    if (pending) await pending;
    onRow(kernels.arena.f32(buffer, matrix.cols));
  }
}

function addSquares(sums: Float64Array, row: Float32Array): void {
  for (let i = 0; i < row.length; i++) sums[i]! += row[i]! * row[i]!;
}

function rootsOf({ inputs, outputs }: { readonly inputs: Float64Array; readonly outputs: Float64Array }): UnitNorms {
  return { inputs: Float32Array.from(inputs, Math.sqrt), outputs: Float32Array.from(outputs, Math.sqrt) };
}

function notInDram(layer: number): UnsupportedError {
  return new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `layer ${layer} has no matrices in DRAM whose columns could be weighed; raise dramBudgetBytes, or leave mixtures of experts alone`,
    { details: { layer } },
  );
}
