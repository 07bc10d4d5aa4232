/** `add`, `addScaled`, `relu`, `gate`, `scale`, `zero`, `selectAbove`: one element at a time. */
import { type ActivationFunction, assertActivation } from "@flashwick/core";
import type { Ptr } from "../arena.js";
import { activateGated } from "./activation.js";
import type { ArenaViews } from "./arena-views.js";

/** See `Kernels.add`. */
export function add({ f32 }: ArenaViews, out: Ptr, x: Ptr, count: number): void {
  for (let i = 0; i < count; i++) f32[out / 4 + i] = f32[out / 4 + i]! + f32[x / 4 + i]!;
}

/** See `Kernels.addScaled`. */
export function addScaled({ f32 }: ArenaViews, out: Ptr, x: Ptr, count: number, factor: number): void {
  const f = Math.fround(factor);
  for (let i = 0; i < count; i++) f32[out / 4 + i] = f32[out / 4 + i]! + Math.fround(f32[x / 4 + i]! * f);
}

/** See `Kernels.relu`. NaN stays NaN. */
export function relu({ f32 }: ArenaViews, x: Ptr, count: number): void {
  for (let i = x / 4; i < x / 4 + count; i++) f32[i] = Math.max(f32[i]!, 0);
}

/** See `Kernels.gate`. */
export function gate(
  { f32 }: ArenaViews,
  act: Ptr,
  gates: Ptr,
  up: Ptr,
  count: number,
  activation: ActivationFunction,
): void {
  assertActivation(activation, true);
  for (let i = 0; i < count; i++) f32[act / 4 + i] = activateGated(f32[gates / 4 + i]!, f32[up / 4 + i]!, activation);
}

/** See `Kernels.scale`. */
export function scale({ f32 }: ArenaViews, x: Ptr, count: number, factor: number): void {
  for (let i = x / 4; i < x / 4 + count; i++) f32[i] = f32[i]! * Math.fround(factor);
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
