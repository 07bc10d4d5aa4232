/** A layer's neurons as they are stored where moments of a text are known: each loss is made up for by what is left. Pure. */
import type { ConvertDType } from "@flashwick/core";
import { BLOCK_ELEMENTS, chooseScaleQ4, roundQ4 } from "@flashwick/kernels/reference";
import type { NeuronRows } from "../../model-writer.js";
import type { LayerMoments } from "../../moments-file.js";
import { LossTally } from "../../quantisation-loss.js";
import { factorMoments } from "./moment-factor.js";
import { compensateColumns } from "./rounded-columns.js";
import { RowRounding } from "./rounded-rows.js";

/** What becomes of a layer. */
export interface LayerForm {
  readonly dModel: number;
  readonly dtype: ConvertDType;
  /** The neurons that are stored, in the order of their records. */
  readonly kept: Uint32Array;
}

/**
 * Chooses what is stored of a layer, so that the FFN's mean squared error over the text is small: rows of q4 are rounded as `RowRounding` does, and down
 * columns of neurons that stay make up for those left out and, in q4, for each other's rounding. Other types leave rows as they are.
 *
 * @param rows f32 `[all, dModel]` each, in the checkpoint's order; overwritten.
 * @returns Those of `kept`, in its order.
 * Cost: with a = all neurons, a³ / 3 + a² · dModel / 2 multiplications, and of q4 a · dModel² / 2 for each of gate and up;
 * 8 · a² bytes.
 */
export function compensateLayer(rows: NeuronRows, moments: LayerMoments, form: LayerForm): NeuronRows {
  const { dModel, dtype, kept } = form;
  const isBlocks = dtype === "q4";
  const tally = new LossTally();
  const blocks = (kept.length * dModel) / BLOCK_ELEMENTS;
  const scalesOf = () => new Float32Array(isBlocks ? blocks : 0);
  const scales = { ...(rows.gate ? { gate: scalesOf() } : {}), up: scalesOf(), down: scalesOf() };
  const rounding = isBlocks ? new RowRounding(moments.input, dModel) : null;
  const stored = (role: "gate" | "up", values: Float32Array) => {
    const taken = takeRows(values, kept, dModel);
    if (rounding) tally.add(role, ...roundRows(taken, rounding, dModel, scales[role]!));
    return taken;
  };
  const gate = rows.gate ? stored("gate", rows.gate) : null;
  const up = stored("up", rows.up);
  const down = compensateDown(rows.down, moments.activation, form, scales.down, tally);
  return { gate, up, down, rounded: isBlocks ? { scales, squares: tally.sums } : null };
}

function roundRows(
  rows: Float32Array,
  rounding: RowRounding,
  dModel: number,
  scales: Float32Array,
): [error: number, whole: number] {
  const rowBlocks = dModel / BLOCK_ELEMENTS;
  let [error, whole] = [0, 0];
  for (let i = 0; i * dModel < rows.length; i++) {
    const row = rows.subarray(i * dModel, (i + 1) * dModel);
    const before = row.slice();
    rounding.round(row, scales.subarray(i * rowBlocks, (i + 1) * rowBlocks));
    error += squaredDistance(before, row);
    whole += squaredSum(before);
  }
  return [error, whole];
}

/** The down columns of `kept`, in its order. */
function compensateDown(
  columns: Float32Array,
  moments: Float32Array,
  { dModel, dtype, kept }: LayerForm,
  scales: Float32Array,
  tally: LossTally,
): Float32Array {
  const position = new Int32Array(columns.length / dModel).fill(-1);
  for (const [at, neuron] of kept.entries()) position[neuron] = at;
  const order = orderOfColumns(moments, position);
  const ordered = takeRows(columns, order, dModel);
  const out = new Float32Array(kept.length * dModel);
  const rowBlocks = dModel / BLOCK_ELEMENTS;
  compensateColumns(ordered, factorMoments(moments, order), dModel, (column, index) => {
    const neuron = order[index]!;
    const at = position[neuron]!;
    if (at < 0) {
      column.fill(0);
      return;
    }
    if (dtype === "q4") {
      roundColumn(column, scales.subarray(at * rowBlocks, (at + 1) * rowBlocks));
      const before = columns.subarray(neuron * dModel, (neuron + 1) * dModel);
      tally.add("down", squaredDistance(before, column), squaredSum(before));
    }
    out.set(column, at * dModel);
  });
  return out;
}

/** Ascending mean squares, those left out behind the others: what is taken first, the last, has most to make up for. */
function orderOfColumns(moments: Float32Array, position: Int32Array): Uint32Array {
  const meanSquare = (neuron: number) => moments[((neuron + 1) * (neuron + 2)) / 2 - 1]!;
  const isLeftOut = (neuron: number) => Number(position[neuron]! < 0);
  return Uint32Array.from(position, (_, neuron) => neuron).sort(
    (a, b) => isLeftOut(a) - isLeftOut(b) || meanSquare(a) - meanSquare(b) || a - b,
  );
}

/** An activation multiplies all of a column alike, so plain squared errors choose its scales. */
function roundColumn(column: Float32Array, scales: Float32Array): void {
  for (let block = 0; block < scales.length; block++) {
    const values = column.subarray(block * BLOCK_ELEMENTS, (block + 1) * BLOCK_ELEMENTS);
    const scale = chooseScaleQ4(values);
    scales[block] = scale;
    for (let i = 0; i < BLOCK_ELEMENTS; i++) values[i] = scale * roundQ4(values[i]!, scale);
  }
}

function takeRows(rows: Float32Array, neurons: Uint32Array, dModel: number): Float32Array {
  const taken = new Float32Array(neurons.length * dModel);
  for (const [at, neuron] of neurons.entries()) {
    taken.set(rows.subarray(neuron * dModel, (neuron + 1) * dModel), at * dModel);
  }
  return taken;
}

function squaredDistance(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i]! - b[i]!) ** 2;
  return sum;
}

function squaredSum(values: Float32Array): number {
  let sum = 0;
  for (const value of values) sum += value * value;
  return sum;
}
