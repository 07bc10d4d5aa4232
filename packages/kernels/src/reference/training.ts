/** The ops of predictor training. Matrix products add k ascending in f32, into c (`gemm`) or from +0 (`gemmTransposed`). */
import { decodeFloat16, encodeFloat16 } from "@flashwick/core";
import type { Ptr } from "../arena.js";
import type { ArenaViews } from "./arena-views.js";

/** See `TrainingKernels.gemm`. */
export function gemm(
  { f32 }: ArenaViews,
  c: Ptr,
  ldc: number,
  a: Ptr,
  aRowStride: number,
  aColStride: number,
  b: Ptr,
  ldb: number,
  m: number,
  n: number,
  k: number,
): void {
  for (let i = 0; i < m; i++) {
    const row = f32.subarray(c / 4 + i * ldc, c / 4 + i * ldc + n);
    for (let l = 0; l < k; l++) {
      const factor = f32[a / 4 + i * aRowStride + l * aColStride]!;
      const from = b / 4 + l * ldb;
      for (let j = 0; j < n; j++) row[j] = row[j]! + Math.fround(factor * f32[from + j]!);
    }
  }
}

/** See `TrainingKernels.gemmTransposed`. */
export function gemmTransposed(
  { f32 }: ArenaViews,
  c: Ptr,
  ldc: number,
  a: Ptr,
  lda: number,
  b: Ptr,
  ldb: number,
  m: number,
  n: number,
  k: number,
): void {
  for (let i = 0; i < m; i++) {
    const left = f32.subarray(a / 4 + i * lda, a / 4 + i * lda + k);
    for (let j = 0; j < n; j++) {
      const from = b / 4 + j * ldb;
      let sum = 0;
      for (let l = 0; l < k; l++) sum = Math.fround(sum + Math.fround(left[l]! * f32[from + l]!));
      f32[c / 4 + i * ldc + j] = sum;
    }
  }
}

/** See `TrainingKernels.decodeF16`. */
export function decodeF16({ f32, u16 }: ArenaViews, dst: Ptr, src: Ptr, count: number): void {
  for (let i = 0; i < count; i++) f32[dst / 4 + i] = decodeFloat16(u16[src / 2 + i]!);
}

/** See `TrainingKernels.encodeF16`. */
export function encodeF16({ f32, u16 }: ArenaViews, dst: Ptr, src: Ptr, count: number): void {
  for (let i = 0; i < count; i++) u16[dst / 2 + i] = encodeFloat16(f32[src / 4 + i]!);
}

/** See `TrainingKernels.reluGradient`. A NaN gate lets nothing through. */
export function reluGradient({ f32 }: ArenaViews, x: Ptr, gate: Ptr, count: number): void {
  for (let i = 0; i < count; i++) if (!(f32[gate / 4 + i]! > 0)) f32[x / 4 + i] = 0;
}

/** See `TrainingKernels.crossEntropyGradient`. */
export function crossEntropyGradient(
  { f32, u8 }: ArenaViews,
  z: Ptr,
  ldz: number,
  labels: Ptr,
  labelStrideBytes: number,
  m: number,
  n: number,
  positiveWeight: number,
  negativeWeight: number,
  scale: number,
): number {
  let loss = 0;
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      const at = z / 4 + i * ldz + j;
      const logit = f32[at]!;
      const positive = (u8[labels + i * labelStrideBytes + (j >> 3)]! >> (j & 7)) & 1;
      const weight = positive ? positiveWeight : negativeWeight;
      // −log σ(z) = softplus(−z) for a positive, −log(1 − σ(z)) = softplus(z) for a negative.
      loss += weight * softplus(positive ? -logit : logit);
      f32[at] = scale * weight * (sigmoid(logit) - positive);
    }
  }
  return loss;
}

function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

/** See `TrainingKernels.adamW`. */
export function adamW(
  { f32 }: ArenaViews,
  w: Ptr,
  g: Ptr,
  m: Ptr,
  v: Ptr,
  count: number,
  step: number,
  lr: number,
  beta1: number,
  beta2: number,
  epsilon: number,
  decay: number,
): void {
  const correction1 = 1 - beta1 ** step;
  const correction2 = 1 - beta2 ** step;
  for (let i = 0; i < count; i++) {
    const gradient = f32[g / 4 + i]!;
    const mean = beta1 * f32[m / 4 + i]! + (1 - beta1) * gradient;
    const variance = beta2 * f32[v / 4 + i]! + (1 - beta2) * gradient * gradient;
    const weight = f32[w / 4 + i]!;
    const update = mean / correction1 / (Math.sqrt(variance / correction2) + epsilon) + decay * weight;
    f32[m / 4 + i] = mean;
    f32[v / 4 + i] = variance;
    f32[w / 4 + i] = weight - lr * update;
    f32[g / 4 + i] = 0;
  }
}
