/** Stored weights as f32 values, before any scale. Every stored element has an exact f32 value. */
import { type DType, decodeBfloat16, decodeFloat16 } from "@flashwick/core";
import type { Ptr } from "../arena.js";
import type { ArenaViews } from "./arena-views.js";

/**
 * Decodes the elements at `ptr` into `row`, as many as it holds. int8 gives the bare integers.
 *
 * @param ptr A multiple of the element size.
 */
export function decodeRow(views: ArenaViews, dtype: DType, ptr: Ptr, row: Float32Array): void {
  const n = row.length;
  switch (dtype) {
    case "f32":
      row.set(views.f32.subarray(ptr / 4, ptr / 4 + n));
      return;
    case "f16":
      for (let k = 0; k < n; k++) row[k] = decodeFloat16(views.u16[ptr / 2 + k]!);
      return;
    case "bf16":
      for (let k = 0; k < n; k++) row[k] = decodeBfloat16(views.u16[ptr / 2 + k]!);
      return;
    case "int8":
      row.set(views.i8.subarray(ptr, ptr + n));
  }
}
