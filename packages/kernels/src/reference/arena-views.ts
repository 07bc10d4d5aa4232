/** Typed views of a whole arena, made once: element i of a pointer p is `f32[p / 4 + i]`. */
import type { Arena } from "../arena.js";

export interface ArenaViews {
  readonly f32: Float32Array;
  readonly u32: Uint32Array;
  readonly u16: Uint16Array;
  readonly i8: Int8Array;
  readonly u8: Uint8Array;
}

export function viewArena(arena: Arena): ArenaViews {
  const { buffer } = arena.memory;
  return {
    f32: new Float32Array(buffer),
    u32: new Uint32Array(buffer),
    u16: new Uint16Array(buffer),
    i8: new Int8Array(buffer),
    u8: new Uint8Array(buffer),
  };
}
