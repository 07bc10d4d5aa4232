import { activationFunction } from "@flashwick/core";
import { ARENA_RESERVED_BYTES, Arena, type SlotMatrix } from "@flashwick/kernels";
import { checkedKernels } from "@flashwick/kernels/checked";
import { CONFORMANCE_ARENA_BYTES, conformanceCases, runConformanceCase, titleOf } from "@flashwick/kernels/conformance";
import { createReferenceKernels } from "@flashwick/kernels/reference";
import { describe, expect, it } from "vitest";
import { createReadLoop, createWasmKernels } from "./wasm-kernels.js";
import { compileWasmKernels } from "./wasm-module.js";

const MiB = 1024 * 1024;

describe("wasm kernels", () => {
  const kernels = createWasmKernels(new Arena(CONFORMANCE_ARENA_BYTES));
  for (const c of conformanceCases) it(titleOf(c), () => expect(() => runConformanceCase(kernels, c)).not.toThrow());
});

// The backend with scratch: what the checks ask for is what the ops need.
describe("wasm kernels with their arguments checked", () => {
  const kernels = checkedKernels(createWasmKernels(new Arena(CONFORMANCE_ARENA_BYTES)));
  for (const c of conformanceCases) it(titleOf(c), () => expect(() => runConformanceCase(kernels, c)).not.toThrow());
});

// The code is the same; one case of each op shows that it runs on the other kind of memory.
describe("wasm kernels in shared memory", () => {
  const kernels = createWasmKernels(new Arena(CONFORMANCE_ARENA_BYTES, true));
  const firstOfEach = new Map(conformanceCases.toReversed().map((c) => [c.op, c])).values();
  for (const c of firstOfEach) it(titleOf(c), () => expect(() => runConformanceCase(kernels, c)).not.toThrow());
});

// Addresses from 2 GiB on are negative as signed 32-bit integers. Untouched pages of the arena take no memory.
describe("wasm kernels across the 2 GiB mark", () => {
  const arena = new Arena(2048 * MiB + CONFORMANCE_ARENA_BYTES);
  arena.allocate(2048 * MiB - 256 * 1024);
  const kernels = createWasmKernels(arena);
  for (const c of conformanceCases) {
    // Memory is memory: the largest operands add nothing here but time.
    if (c.op === "float16" || (c.op === "linear" && c.rows === 1003)) continue;
    it(titleOf(c), () => expect(() => runConformanceCase(kernels, c)).not.toThrow());
  }
});

describe("wasm module", () => {
  it("compiles ahead of time for both kinds of memory", async () => {
    await compileWasmKernels();
    await compileWasmKernels(true);
    expect(createWasmKernels(new Arena(1000, true)).backend).toBe("wasm");
  });

  it("writes nothing above the reserved bytes when it is made, and two instances share an arena", () => {
    const arena = new Arena(4096, true);
    const first = createWasmKernels(arena);
    const text = arena.allocate(16);
    arena.u8(text, 9).set(new TextEncoder().encode("123456789"));
    const second = createWasmKernels(arena);
    expect(arena.u8(ARENA_RESERVED_BYTES + 16, 4000).every((byte) => byte === 0)).toBe(true);
    expect(first.crc32c(text, 9)).toBe(0xe3069283);
    expect(second.crc32c(text, 9)).toBe(0xe3069283);
    createReadLoop(arena)(ARENA_RESERVED_BYTES, 4096);
  });

  it("refuses int8 rows whose sums would not fit 32 bits", () => {
    const kernels = createWasmKernels(new Arena(1000));
    const w = { dtype: "int8", data: 65536, scales: 65536, rows: 1, cols: 20_000 } as const;
    expect(() => kernels.linear(65536, 65536, w, 0, 1, 65536)).toThrow(/at most 16512 columns/);
  });

  it("refuses the clamped SwiGLU of neurons without a gate, and with another function of the up projection", () => {
    const kernels = createWasmKernels(new Arena(1000));
    const clamped = activationFunction("swiglu-clamped");
    const matrix: SlotMatrix = {
      ...{ dtype: "f32", base: 0, strideBytes: 512, upOffsetBytes: 0, downOffsetBytes: 256, scalesOffsetBytes: 0 },
      ...{ dModel: 16, bias: 0, gate: null },
    };
    expect(() => kernels.ffnUp(0, 0, matrix, 0, 0, 1, clamped, 0)).toThrow("swiglu-clamped is of gated neurons");
    expect(() => kernels.gate(0, 0, 0, 0, { ...clamped, up: "relu" })).toThrow("swiglu-clamped is of gated neurons");
  });

  // Both add the rounded products in the same order, and int8 sums are exact.
  it("gives the reference's bits for int8 products and for gemm", () => {
    const bits = [createReferenceKernels, createWasmKernels].map((factory) => {
      const arena = new Arena(64 * 1024);
      const kernels = factory(arena);
      const [x, scales, data] = [arena.allocate(4 * 112), arena.allocate(4 * 16), arena.allocate(12 * 100 + 64)];
      arena.f32(x, 100).set(Float32Array.from({ length: 100 }, (_, k) => Math.sin(k * k)));
      arena.f32(scales, 12).fill(0.01);
      arena.u8(data, 1200).set(Uint8Array.from({ length: 1200 }, (_, k) => (k * 97) % 255));
      const out = arena.allocate(4 * 16);
      const w = { dtype: "int8", data, scales, rows: 12, cols: 100 } as const;
      kernels.linear(out, x, w, 0, 1, arena.allocate(kernels.scratchBytes(100, 1)));
      const c = arena.allocate(4 * 16);
      kernels.gemm(c, 4, x, 10, 1, x, 4, 4, 4, 10);
      return [...arena.u32(out, 16), ...arena.u32(c, 16)];
    });
    expect(bits[1]).toEqual(bits[0]);
  });
});
