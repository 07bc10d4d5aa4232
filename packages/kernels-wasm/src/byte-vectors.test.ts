/**
 * Activations of eight bits: the conformance table, the paths that its sizes do not take, and vectors that are not ordinary, each bit for bit against the reference.
 * Chromium runs the table in any case (tools/browser/src/page-threads.test.ts).
 */
import { BLOCK_DTYPES, type BlockDType, blockElements, rowBytes, UnsupportedError } from "@flashwick/core";
import { Arena, type Kernels, type Matrix, type TrainingKernels } from "@flashwick/kernels";
import {
  byteVectorCases,
  CONFORMANCE_ARENA_BYTES,
  type ConformanceCase,
  runConformanceCase,
  titleOf,
} from "@flashwick/kernels/conformance";
import { createByteVectorReference } from "@flashwick/kernels/reference";
import { capability } from "@flashwick/test-capabilities";
import { describe, expect, it } from "vitest";
import { compileByteVectorKernels } from "./byte-module.js";
import { startPool } from "./node/compute-pool.js";
import { wrongRelaxedResult } from "./relaxed-probe.js";
import { everySplitOp, SPLIT_OPS_ARENA_BYTES } from "./threads/every-split-op.fixture.js";
import type { ByteExports } from "./wasm-exports.js";
import { createByteVectorKernels } from "./wasm-kernels.js";

const relaxed = capability("relaxed-simd", await whyMissing());

async function whyMissing(): Promise<string | null> {
  try {
    await compileByteVectorKernels();
    return null;
  } catch (error) {
    if (error instanceof UnsupportedError) return `Node ${process.version} has none that is right`;
    throw error;
  }
}

/** Of rows of `dtype`: the table's cases, and others beyond a panel of rows and of columns. */
function casesOf(dtype: BlockDType): readonly ConformanceCase[] {
  const shape = { op: "linear", dtype, cols: 1280, bias: true, vectorBits: 8 } as const;
  return [
    ...byteVectorCases.filter((c) => c.op === "linear" && c.dtype === dtype),
    { ...shape, check: "close", rows: 38, nTokens: 5 },
    { ...shape, check: "batch", rows: 17, nTokens: 4 },
    { ...shape, check: "ranges", rows: 70, nTokens: 6 },
    // More vectors than the rows meet in one pass.
    { ...shape, check: "close", rows: 6, cols: 10240, nTokens: 35, bias: false },
  ];
}

function expectAll(kernels: TrainingKernels, cases: readonly ConformanceCase[]): void {
  for (const c of cases) expect(() => runConformanceCase(kernels, c), titleOf(c)).not.toThrow();
}

describe.skipIf(relaxed.isMissing)(relaxed.title("kernels for vectors of bytes"), () => {
  it.each(BLOCK_DTYPES)("hold the table in rows of %s", (dtype) => {
    expect(casesOf(dtype).length).toBeGreaterThan(10);
    expectAll(createByteVectorKernels(new Arena(CONFORMANCE_ARENA_BYTES)), casesOf(dtype));
  });

  it("hold the table's other cases, which they leave to the other module", () => {
    const others = byteVectorCases.filter((c) => !(c.op === "linear" && c.vectorBits === 8));
    const firstOfEach = new Map(others.toReversed().map((c) => [c.op, c])).values();
    expectAll(createByteVectorKernels(new Arena(CONFORMANCE_ARENA_BYTES)), [...firstOfEach]);
  });

  // The code is the same, and addresses from 2 GiB on are negative as signed 32-bit integers.
  it("work in shared memory, and across the 2 GiB mark", () => {
    const shared = createByteVectorKernels(new Arena(CONFORMANCE_ARENA_BYTES, true));
    const arena = new Arena(2 ** 31 + CONFORMANCE_ARENA_BYTES);
    arena.allocate(2 ** 31 - 256 * 1024);
    for (const kernels of [shared, createByteVectorKernels(arena)]) {
      for (const dtype of ["q4_k", "q6_k", "q8_0"] as const) expectAll(kernels, casesOf(dtype));
    }
  });
});

/** Rows of noise: any byte, and with that the lowest weights of Q8_0 and every sign and scale; D and N are finite. */
function noise(kernels: Kernels, dtype: BlockDType, rows: number, blocks: number): Matrix {
  const cols = blocks * blockElements(dtype);
  const data = kernels.arena.allocate(rows * rowBytes(dtype, cols) + 64, 64);
  const words = kernels.arena.u32(data, Math.ceil((rows * rowBytes(dtype, cols)) / 4));
  // Halves of either sign, 2^-24 and up: subnormal ones, too.
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i + 1, 2654435761) & 0xbbffbbff;
  return { dtype, data, scales: 0, rows, cols };
}

/** Bits of the products of five rows of noise with x, one vector and then five. */
function products(kernels: Kernels, dtype: BlockDType, x: readonly number[]): number[] {
  const { arena } = kernels;
  const w = noise(kernels, dtype, 5, 2);
  const vectors = arena.allocate(4 * 5 * w.cols, 64);
  for (let t = 0; t < 5; t++) arena.f32(vectors + 4 * t * w.cols, w.cols).set(x);
  const out = arena.allocate(4 * 5 * 16, 64);
  const scratch = arena.allocate(kernels.scratchBytes(w.cols, 5), 64);
  return [1, 5].flatMap((nTokens) => {
    kernels.linear(out, vectors, w, 0, nTokens, scratch);
    return Array.from(arena.f32(out, 16 * nTokens));
  });
}

const vectors: Readonly<Record<string, readonly number[]>> = {
  "numbers of very different sizes": Array.from({ length: 32 }, (_, i) => (-1) ** i * 2 ** (i - 16)),
  "every step of the scale": Array.from({ length: 64 }, (_, i) => Math.sin(i * i) / 3),
  "the largest sums": Array.from({ length: 64 }, () => 1),
  "the lowest sums": Array.from({ length: 64 }, () => -1),
  "ties, which go to the even integer": [127, 0.5, 1.5, -2.5, 126.5, -126.5],
  "a group of zeros": [0, -0],
  "the smallest floats, of which a scale holds more than 127": [2 ** -149, -190 * 2 ** -149, 190 * 2 ** -149],
  "large floats": [3e38, -2e38, 1],
  NaN: [1, Number.NaN],
  infinity: [1, Number.NEGATIVE_INFINITY],
};

describe.skipIf(relaxed.isMissing)(relaxed.title("vectors of bytes give the reference's bits"), () => {
  it.each(BLOCK_DTYPES)("beside rows of %s", (dtype) => {
    for (const [what, x] of Object.entries(vectors)) {
      const found = products(createByteVectorKernels(new Arena(2 ** 18)), dtype, x);
      expect(found, what).toEqual(products(createByteVectorReference(new Arena(2 ** 18)), dtype, x));
    }
  });
});

describe.skipIf(relaxed.isMissing)(relaxed.title("threads with vectors of bytes"), () => {
  it("leave the bytes of one thread in every op, and hold the table", async () => {
    const once = everySplitOp(createByteVectorKernels(new Arena(SPLIT_OPS_ARENA_BYTES)));
    const pool = await startPool({ threads: 3, activationBits: 8 }, { leastWork: 0 });
    try {
      expect(everySplitOp(pool.kernels(new Arena(SPLIT_OPS_ARENA_BYTES, true)))).toEqual(once);
      const kernels = pool.kernels(new Arena(CONFORMANCE_ARENA_BYTES, true));
      for (const dtype of BLOCK_DTYPES) expectAll(kernels, casesOf(dtype));
    } finally {
      await pool.close();
    }
  });

  it("leave memory that is not shared to the calling one, with the same arithmetic", async () => {
    const pool = await startPool({ threads: 2, activationBits: 8 }, { leastWork: 0 });
    try {
      expectAll(pool.kernels(new Arena(CONFORMANCE_ARENA_BYTES)), casesOf("q4_1"));
    } finally {
      await pool.close();
    }
  });
});

describe("activations of eight bits", () => {
  it("are refused where relaxed SIMD is missing, with what to do, and start a pool elsewhere", async () => {
    const asked = startPool({ threads: 1, activationBits: 8 });
    if (relaxed.isMissing) {
      await expect(asked).rejects.toThrow(UnsupportedError);
      await expect(compileByteVectorKernels()).rejects.toThrow(/relaxed SIMD.*Node 22 or later.*leave out the option/);
    } else {
      const pool = await asked;
      expect(pool.threads).toBe(1);
      await pool.close();
    }
  });
});

describe("the probe", () => {
  /** An engine with a dot product of its own. */
  function engine(multiply: (q: number, w: number) => number, saturates = false): ByteExports {
    const clamp = (sum: number) => (saturates ? Math.max(-32000, Math.min(32000, sum)) : sum);
    return {
      dotAt(at: number) {
        const [q, w] = [new Int8Array(memory.buffer, at, 16), new Uint8Array(memory.buffer, at + 16, 16)];
        const lanes = new Int32Array(memory.buffer, at + 32, 4);
        for (let i = 0; i < 16; i += 2) {
          lanes[i >> 2]! += clamp(multiply(q[i]!, w[i]!) + multiply(q[i + 1]!, w[i + 1]!));
        }
      },
      selectAt(at: number) {
        const [bytes, numbers] = [new Uint8Array(memory.buffer, at, 16), new Uint8Array(memory.buffer, at + 16, 16)];
        numbers.forEach((number, i) => {
          numbers[i] = number < 16 ? bytes[number]! : 0;
        });
      },
    } as ByteExports;
  }
  const memory = new WebAssembly.Memory({ initial: 2, maximum: 2 });

  it("finds nothing wrong with exact results", () => {
    expect(
      wrongRelaxedResult(
        engine((q, w) => q * w),
        memory,
      ),
    ).toBeNull();
  });

  it("finds an operand without its sign", () => {
    expect(
      wrongRelaxedResult(
        engine((q, w) => (q & 255) * w),
        memory,
      ),
    ).toMatch(/lane 0 of a dot product/);
  });

  it("finds sums of two that saturate too early", () => {
    expect(
      wrongRelaxedResult(
        engine((q, w) => q * w, true),
        memory,
      ),
    ).toMatch(/the lowest sums of two/);
  });

  it("finds a selection that wraps", () => {
    const wrapping = engine((q, w) => q * w);
    wrapping.selectAt = () => {};
    expect(wrongRelaxedResult(wrapping, memory)).toMatch(/byte 0 of a selection is 15, expected 225/);
  });
});
