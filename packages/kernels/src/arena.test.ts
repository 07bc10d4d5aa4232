import { describe, expect, it } from "vitest";
import { ARENA_RESERVED_BYTES, Arena, MAX_ARENA_BYTES } from "./arena.js";

describe("Arena", () => {
  it("hands out aligned, disjoint, zero bytes above the reserved ones", () => {
    const arena = new Arena(100_000);
    const first = arena.allocate(10);
    const second = arena.allocate(100, 512);
    expect(first).toBe(ARENA_RESERVED_BYTES);
    expect(second % 512).toBe(0);
    expect(second).toBeGreaterThanOrEqual(first + 10);
    expect(arena.u8(first, 200).every((byte) => byte === 0)).toBe(true);
  });

  it("zeroes what is rewound", () => {
    const arena = new Arena(1000);
    const mark = arena.mark();
    arena.f32(arena.allocate(400), 100).fill(1);
    arena.rewind(mark);
    expect(arena.allocate(400)).toBe(mark);
    expect(arena.f32(mark, 100).every((value) => value === 0)).toBe(true);
  });

  it("refuses more than wasm32 has, and running over is a bug", () => {
    expect(() => new Arena(MAX_ARENA_BYTES)).toThrow(/4 GiB/);
    const arena = new Arena(1000);
    expect(() => arena.allocate(arena.freeBytes + 1)).toThrow(/arena overrun/);
  });

  it("may be shared", () => {
    expect(new Arena(1000, true).memory.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(new Arena(1000).memory.buffer).toBeInstanceOf(ArrayBuffer);
  });
});
