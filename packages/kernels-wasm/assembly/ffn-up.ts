/**
 * `ffnUp`: activations of the neurons in chosen slots.
 *
 * Gated neurons are taken in blocks: products of their gate rows go to `act`, those of their up rows to scratch, in front of the vectors, and meet there.
 * Each product is that of a row by itself (row-product.ts), so blocks change no bit.
 */
import { activateRange, gate } from "./activation";
import { F16, INT8 } from "./element";
import { neuronProducts, prepareForNeurons } from "./neuron-blocks";
import { HALF_SUM_FACTOR, padded, vectorScale } from "./vector";

/** Gated neurons of a block: groups of twelve (row-product.ts), whole cache lines. ../src/scratch-sizes.ts has it, too. */
const GATED_BLOCK: usize = 240;

/** @param up, scales Where slot 0 has its up row, and that row's scale; @param kind, threshold Of activation.ts. */
export function ffnUp(
  act: usize, x: usize, dtype: i32, up: usize, stride: usize, scales: usize, dModel: usize, bias: usize,
  slots: usize, n: usize, nTokens: usize, kind: i32, threshold: f32, scratch: usize, begin: usize, end: usize,
): void {
  const actStride = padded(n) * 4;
  if (begin < end) {
    const vectors = prepareForNeurons(scratch, x, dtype, dModel, nTokens);
    neuronProducts(dtype, act, actStride, vectors, nTokens, up, stride, slots, begin, end, dModel);
  }
  finishSums(act, actStride, nTokens, dtype, scratch, scales, stride, bias, slots, begin, end);
  for (let t: usize = 0; t < nTokens; t++) {
    const at = act + t * actStride;
    activateRange(at + 4 * begin, at + 4 * end, kind, threshold);
    if (end == n) memory.fill(at + 4 * n, 0, actStride - 4 * n);
  }
}

/**
 * @param gateBase, upBase Where slot 0 has its rows; `scales` where it has its gate's scale, the up row's behind it. A gateBase of 0: slots have no gate
 *   rows, act has the gates' sums, and `scales` are those of up rows.
 */
export function ffnUpGated(
  act: usize, x: usize, dtype: i32, gateBase: usize, upBase: usize, stride: usize, scales: usize, dModel: usize,
  gateBias: usize, upBias: usize, slots: usize, n: usize, nTokens: usize, kind: i32, threshold: f32, upRelu: i32,
  scratch: usize, begin: usize, end: usize,
): void {
  const actStride = padded(n) * 4;
  const upStride: usize = 4 * GATED_BLOCK;
  const rest = scratch + upStride * nTokens;
  const vectors = begin < end ? prepareForNeurons(rest, x, dtype, dModel, nTokens) : 0;
  for (let i = begin; i < end; i += GATED_BLOCK) {
    const next = min<usize>(i + GATED_BLOCK, end);
    // Element j of the block's first neuron lies at j · 4, as in act.
    const up = scratch - 4 * i;
    if (gateBase) neuronProducts(dtype, act, actStride, vectors, nTokens, gateBase, stride, slots, i, next, dModel);
    neuronProducts(dtype, up, upStride, vectors, nTokens, upBase, stride, slots, i, next, dModel);
    if (gateBase) finishSums(act, actStride, nTokens, dtype, rest, scales, stride, gateBias, slots, i, next);
    finishSums(up, upStride, nTokens, dtype, rest, gateBase ? scales + 4 : scales, stride, upBias, slots, i, next);
    for (let t: usize = 0; t < nTokens; t++) {
      const at = act + t * actStride + 4 * i;
      gate(at, at, scratch + t * upStride, next - i, kind, threshold, upRelu);
    }
  }
  if (end == n) for (let t: usize = 0; t < nTokens; t++) memory.fill(act + t * actStride + 4 * n, 0, actStride - 4 * n);
}

/** Products of rows become sums: times their scales, plus their biases. @param scales Where slot 0 has its own. */
function finishSums(
  sums: usize, sumStride: usize, nTokens: usize, dtype: i32, scratch: usize, scales: usize, stride: usize, bias: usize,
  slots: usize, begin: usize, end: usize,
): void {
  const rowScales = dtype == INT8 ? scales : 0;
  for (let t: usize = 0; t < nTokens; t++) {
    const factor = dtype == F16 ? HALF_SUM_FACTOR : dtype == INT8 ? vectorScale(scratch, t) : 1;
    const at = sums + t * sumStride;
    for (let i = begin; i < end; i++) finishSum(at + 4 * i, factor, rowScales, stride, bias, load<u32>(slots + 4 * i));
  }
}

/** Scale and bias of one neuron; `rowScales` is where slot 0 has its scale, 0 for none. */
@inline
function finishSum(p: usize, factor: f32, rowScales: usize, stride: usize, bias: usize, slot: usize): void {
  if (rowScales) factor *= load<f32>(rowScales + slot * stride);
  let sum = load<f32>(p) * factor;
  if (bias) sum += load<f32>(bias + 4 * slot);
  store<f32>(p, sum);
}
