/** `copyRows`, `addRowsScaled`: some vectors of a batch, and back. */
import { paddedLength } from "@flashwick/core";
import type { Ptr } from "../arena.js";
import type { ArenaViews } from "./arena-views.js";
import { addScaled } from "./elementwise.js";

/** See `Kernels.copyRows`. */
export function copyRows({ u32 }: ArenaViews, out: Ptr, x: Ptr, rows: Ptr, n: number, cols: number): void {
  const stride = paddedLength(cols);
  for (let i = 0; i < n; i++) {
    const from = x / 4 + u32[rows / 4 + i]! * stride;
    u32.copyWithin(out / 4 + i * stride, from, from + stride);
  }
}

/** See `Kernels.addRowsScaled`. */
export function addRowsScaled(
  views: ArenaViews,
  out: Ptr,
  x: Ptr,
  rows: Ptr,
  factors: Ptr,
  n: number,
  cols: number,
): void {
  const strideBytes = 4 * paddedLength(cols);
  for (let i = 0; i < n; i++) {
    const row = views.u32[rows / 4 + i]!;
    addScaled(views, out + row * strideBytes, x + i * strideBytes, cols, views.f32[factors / 4 + i]!);
  }
}
