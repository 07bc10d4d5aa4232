/** `rotate`: one pair of elements at a time. */
import { paddedLength } from "@flashwick/core";
import type { Ptr } from "../arena.js";
import type { RotaryTables } from "../contract.js";
import type { ArenaViews } from "./arena-views.js";

/** See `Kernels.rotate`. */
export function rotate(
  { f32 }: ArenaViews,
  x: Ptr,
  { cos, sin, headDim, dims, pairs }: RotaryTables,
  nHeads: number,
  position: number,
  nTokens: number,
): void {
  const half = dims / 2;
  const [step, apart] = pairs === "halves" ? [1, half] : [2, 1];
  const stride = paddedLength(nHeads * headDim);
  for (let t = 0; t < nTokens; t++) {
    const row = (position + t) * half;
    for (let head = 0; head < nHeads; head++) {
      const first = x / 4 + t * stride + head * headDim;
      for (let d = 0; d < half; d++) {
        const [c, s] = [f32[cos / 4 + row + d]!, f32[sin / 4 + row + d]!];
        const at = first + step * d;
        const [a, b] = [f32[at]!, f32[at + apart]!];
        f32[at] = Math.fround(a * c) - Math.fround(b * s);
        f32[at + apart] = Math.fround(b * c) + Math.fround(a * s);
      }
    }
  }
}
