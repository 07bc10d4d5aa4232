/** `add`, `relu`, `zero`, `selectAbove`: one element at a time. */
import type { Ptr } from "../arena.js";
import type { ArenaViews } from "./arena-views.js";

/** See `Kernels.add`. */
export function add({ f32 }: ArenaViews, out: Ptr, x: Ptr, count: number): void {
  for (let i = 0; i < count; i++) f32[out / 4 + i] = f32[out / 4 + i]! + f32[x / 4 + i]!;
}

/** See `Kernels.relu`. NaN stays NaN. */
export function relu({ f32 }: ArenaViews, x: Ptr, count: number): void {
  for (let i = x / 4; i < x / 4 + count; i++) f32[i] = Math.max(f32[i]!, 0);
}

/** See `Kernels.zero`. */
export function zero({ f32 }: ArenaViews, out: Ptr, count: number): void {
  f32.fill(0, out / 4, out / 4 + count);
}

/** See `Kernels.selectAbove`. The threshold is an f32. */
export function selectAbove({ f32, u32 }: ArenaViews, out: Ptr, scores: Ptr, n: number, threshold: number): number {
  const limit = Math.fround(threshold);
  let count = 0;
  for (let i = 0; i < n; i++) if (f32[scores / 4 + i]! > limit) u32[out / 4 + count++] = i;
  return count;
}
