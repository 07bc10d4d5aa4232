/** `layerNorm`, `rmsNorm`, `normHeads`: means in double precision, each output rounded once per operation. */
import { paddedLength } from "@flashwick/core";
import type { Ptr } from "../arena.js";
import type { HeadNorm } from "../contract.js";
import type { ArenaViews } from "./arena-views.js";
import { zeroPadding } from "./linear.js";

/** See `Kernels.layerNorm`. */
export function layerNorm(
  views: ArenaViews,
  out: Ptr,
  x: Ptr,
  weight: Ptr,
  bias: Ptr,
  n: number,
  nTokens: number,
  epsilon: number,
): void {
  normVectors(views, out, x, n, nTokens, { kind: "layer", weight, bias, epsilon });
}

/** See `Kernels.rmsNorm`. */
export function rmsNorm(
  views: ArenaViews,
  out: Ptr,
  x: Ptr,
  weight: Ptr,
  n: number,
  nTokens: number,
  epsilon: number,
): void {
  normVectors(views, out, x, n, nTokens, { kind: "rms", weight, bias: 0, epsilon });
}

/** See `Kernels.normHeads`. */
export function normHeads(
  views: ArenaViews,
  x: Ptr,
  norm: HeadNorm,
  nHeads: number,
  headDim: number,
  nTokens: number,
): void {
  const vectorBytes = 4 * paddedLength(nHeads * headDim);
  for (let t = 0; t < nTokens; t++) {
    for (let head = 0; head < nHeads; head++) {
      const at = x + t * vectorBytes + 4 * head * headDim;
      normVector(views, at, at, headDim, norm);
    }
  }
}

/** A vector a token, with what pads it. */
function normVectors(views: ArenaViews, out: Ptr, x: Ptr, n: number, nTokens: number, norm: HeadNorm): void {
  const vectorBytes = 4 * paddedLength(n);
  for (let t = 0; t < nTokens; t++) normVector(views, out + t * vectorBytes, x + t * vectorBytes, n, norm);
  zeroPadding(views.f32, out, n, nTokens);
}

/** n elements, without what pads them. */
function normVector({ f32 }: ArenaViews, out: Ptr, x: Ptr, n: number, { kind, weight, bias, epsilon }: HeadNorm): void {
  const vector = f32.subarray(x / 4, x / 4 + n);
  const mean = kind === "layer" ? vector.reduce((sum, value) => sum + value, 0) / n : 0;
  const variance = vector.reduce((sum, value) => sum + (value - mean) ** 2, 0) / n;
  const factor = 1 / Math.sqrt(variance + epsilon);
  for (let i = 0; i < n; i++) {
    const normed = Math.fround((vector[i]! - mean) * factor);
    const weighted = weight ? Math.fround(normed * f32[weight / 4 + i]!) : normed;
    f32[out / 4 + i] = bias ? weighted + f32[bias / 4 + i]! : weighted;
  }
}
