/** `layerNorm`: two passes, mean and variance in double precision, each output rounded once per operation. */
import { paddedLength } from "@flashwick/core";
import type { Ptr } from "../arena.js";
import type { ArenaViews } from "./arena-views.js";
import { zeroPadding } from "./linear.js";

/** See `Kernels.layerNorm`. */
export function layerNorm(
  { f32 }: ArenaViews,
  out: Ptr,
  x: Ptr,
  weight: Ptr,
  bias: Ptr,
  n: number,
  nTokens: number,
  epsilon: number,
): void {
  for (let t = 0; t < nTokens; t++) {
    const offset = t * paddedLength(n);
    const vector = f32.subarray(x / 4 + offset, x / 4 + offset + n);
    const mean = vector.reduce((sum, value) => sum + value, 0) / n;
    const variance = vector.reduce((sum, value) => sum + (value - mean) ** 2, 0) / n;
    const factor = 1 / Math.sqrt(variance + epsilon);
    for (let i = 0; i < n; i++) {
      const normed = Math.fround((vector[i]! - mean) * factor);
      const weighted = weight ? Math.fround(normed * f32[weight / 4 + i]!) : normed;
      f32[out / 4 + offset + i] = bias ? weighted + f32[bias / 4 + i]! : weighted;
    }
  }
  zeroPadding(f32, out, n, nTokens);
}
