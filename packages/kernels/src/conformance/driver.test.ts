import { activationFunction, isBlockDType, kvPartBytes } from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { Arena } from "../arena.js";
import type { KvCache, TrainingKernels } from "../contract.js";
import { createByteVectorReference, createReferenceKernels } from "../reference/index.js";
import { byteVectorCases, type ConformanceCase, conformanceCases } from "./case-table.js";
import { CONFORMANCE_ARENA_BYTES, runConformanceCase } from "./driver.js";
import { ConformanceFailure } from "./verdict.js";

const correct = createReferenceKernels(new Arena(CONFORMANCE_ARENA_BYTES));

/** The cache as if its pages followed its first one. */
function inSequence(cache: KvCache): KvCache {
  const { arena } = correct;
  const [first] = arena.u32(cache.pages, 1);
  const partBytes = kvPartBytes(cache.dtype, cache.nKvHeads, cache.headDim);
  const pages = arena.allocate(4 * 8);
  arena.u32(pages, 8).set(Array.from({ length: 8 }, (_, i) => first! + i * partBytes));
  return { ...cache, pages };
}

/** `gate` as gpt-oss has it, with limits and a factor that may be wrong. */
function clampedSwiglu(gateLimit: number, upLimit: number, alpha: number): TrainingKernels["gate"] {
  return (act, gate, up, count) => {
    const [gates, ups] = [correct.arena.f32(gate, count), correct.arena.f32(up, count)];
    const values = gates.map((x, i) => {
      const clamped = Math.min(x, gateLimit);
      return (clamped / (1 + Math.exp(-alpha * clamped))) * (1 + Math.max(-upLimit, Math.min(ups[i]!, upLimit)));
    });
    correct.arena.f32(act, count).set(values);
  };
}

/** Calls with the rows 0 … n − 1 in place of others. */
function firstRows(call: (rows: number) => void, n: number): void {
  const rows = correct.arena.allocate(4 * n);
  correct.arena.u32(rows, n).set(Array.from({ length: n }, (_, i) => i));
  call(rows);
}

/** The reference with something wrong in it, and a kind of case that must notice. */
const mistakes: { what: string; broken: Partial<TrainingKernels>; noticedBy: (c: ConformanceCase) => boolean }[] = [
  {
    what: "linear without its bias",
    broken: { linear: (out, x, w, _bias, ...rest) => correct.linear(out, x, w, 0, ...rest) },
    noticedBy: (c) => c.op === "linear" && c.check === "close" && c.bias,
  },
  {
    what: "linear that ignores its range",
    broken: { linear: (out, x, w, bias, nTokens, scratch) => correct.linear(out, x, w, bias, nTokens, scratch) },
    noticedBy: (c) => c.op === "linear" && c.check === "ranges",
  },
  {
    what: "a batch that is summed otherwise than one vector",
    broken: {
      linear(out, x, w, bias, nTokens, ...rest) {
        correct.linear(out, x, w, bias, nTokens, ...rest);
        const first = correct.arena.u32(out, 1);
        if (nTokens > 1) first[0] = first[0]! ^ 1;
      },
    },
    noticedBy: (c) => c.op === "linear" && c.check === "batch",
  },
  {
    what: "rows of blocks whose sums have another order than the reference's",
    broken: {
      linear(out, ...rest) {
        correct.linear(out, ...rest);
        const first = correct.arena.u32(out, 1);
        first[0] = first[0]! ^ 1;
      },
    },
    noticedBy: (c) => c.op === "linear" && c.check === "close" && isBlockDType(c.dtype),
  },
  {
    what: "ffnUp without activation function",
    broken: {
      ffnUp(act, x, matrix, slots, n, nTokens, _activation, ...rest) {
        correct.ffnUp(act, x, matrix, slots, n, nTokens, activationFunction("gelu"), ...rest);
      },
    },
    noticedBy: (c) => c.op === "ffn" && c.check === "close" && c.activation === "relu" && !c.gated && c.n > 1,
  },
  {
    what: "ffnUp that forgets g",
    broken: {
      ffnUp(act, x, matrix, slots, n, nTokens, f, ...rest) {
        correct.ffnUp(act, x, matrix, slots, n, nTokens, { ...f, up: "none" }, ...rest);
      },
    },
    noticedBy: (c) => c.op === "ffn" && c.check === "close" && c.gated === "relu",
  },
  {
    what: "ffnUp that takes a given gate for none",
    broken: {
      ffnUp(act, x, matrix, ...rest) {
        correct.ffnUp(act, x, matrix.gate === "given" ? { ...matrix, gate: null } : matrix, ...rest);
      },
    },
    noticedBy: (c) => c.op === "ffn" && c.check === "close" && c.given === true,
  },
  {
    what: "ffnDown that takes another row's scale",
    broken: {
      ffnDown: (out, act, matrix, ...rest) => correct.ffnDown(out, act, { ...matrix, gate: null }, ...rest),
    },
    noticedBy: (c) =>
      c.op === "ffn" && c.check === "close" && c.dtype === "int8" && c.gated !== undefined && !c.given && c.n > 0,
  },
  {
    what: "gate whose threshold is not strict",
    broken: {
      gate: (act, gate, up, count, f) =>
        correct.gate(act, gate, up, count, { ...f, threshold: f.threshold - (f.kind === "fatrelu" ? 1e-6 : 0) }),
    },
    noticedBy: (c) => c.op === "gate" && c.activation === "fatrelu",
  },
  {
    what: "a clamped SwiGLU whose gate is not cut off",
    broken: { gate: clampedSwiglu(Number.POSITIVE_INFINITY, 7, 1.702) },
    noticedBy: (c) => c.op === "gate" && c.activation === "swiglu-clamped",
  },
  {
    what: "a clamped SwiGLU whose up projection is not cut off",
    broken: { gate: clampedSwiglu(7, Number.POSITIVE_INFINITY, 1.702) },
    noticedBy: (c) => c.op === "gate" && c.activation === "swiglu-clamped",
  },
  {
    what: "a clamped SwiGLU that is a SiLU",
    broken: { gate: clampedSwiglu(7, 7, 1) },
    noticedBy: (c) => c.op === "gate" && c.activation === "swiglu-clamped",
  },
  {
    what: "rmsNorm that takes the mean away",
    broken: { rmsNorm: (out, x, weight, ...rest) => correct.layerNorm(out, x, weight, 0, ...rest) },
    noticedBy: (c) => c.op === "rmsNorm",
  },
  {
    what: "normHeads over all heads at once",
    broken: {
      normHeads: (x, norm, nHeads, headDim, nTokens) => correct.normHeads(x, norm, 1, nHeads * headDim, nTokens),
    },
    noticedBy: (c) => c.op === "normHeads" && c.nHeads > 1 && !c.affine,
  },
  {
    what: "rotate that turns the whole head",
    broken: {
      rotate: (x, tables, ...rest) => correct.rotate(x, { ...tables, dims: tables.headDim }, ...rest),
    },
    noticedBy: (c) => c.op === "rotate" && c.dims !== undefined,
  },
  {
    what: "rotate that takes neighbours for halves",
    broken: { rotate: (x, tables, ...rest) => correct.rotate(x, { ...tables, pairs: "halves" }, ...rest) },
    noticedBy: (c) => c.op === "rotate" && c.pairs === "neighbours",
  },
  {
    what: "attention whose window is a key too wide",
    broken: {
      attention: (out, q, cache, shape, ...rest) =>
        correct.attention(out, q, cache, { ...shape, windowTokens: (shape.windowTokens ?? 1e6) + 1 }, ...rest),
    },
    noticedBy: (c) => c.op === "attention" && c.check === "close" && c.windowTokens !== undefined,
  },
  {
    what: "attention without its sinks",
    broken: {
      attention: (out, q, cache, shape, ...rest) => correct.attention(out, q, cache, { ...shape, sinks: 0 }, ...rest),
    },
    noticedBy: (c) => c.op === "attention" && c.check === "close" && c.sinks === true,
  },
  {
    what: "ffnDown that overwrites instead of adding",
    broken: {
      ffnDown(out, act, matrix, slots, n, nTokens, ...rest) {
        correct.zero(out, nTokens * 16 * Math.ceil(matrix.dModel / 16));
        correct.ffnDown(out, act, matrix, slots, n, nTokens, ...rest);
      },
    },
    noticedBy: (c) => c.op === "ffn" && c.check === "waves",
  },
  {
    what: "attention that sees one key too many",
    broken: {
      attention: (out, q, cache, shape, position, ...rest) =>
        correct.attention(out, q, cache, shape, position + 1, ...rest),
    },
    noticedBy: (c) => c.op === "attention" && c.check === "close",
  },
  {
    what: "attention that takes pages to follow one another",
    broken: {
      attention: (out, q, cache, ...rest) => correct.attention(out, q, inSequence(cache), ...rest),
    },
    noticedBy: (c) => c.op === "attention" && c.check === "pages",
  },
  {
    what: "storeKv that writes into the shared page",
    broken: {
      storeKv(cache, k, v, position, nTokens) {
        correct.storeKv(cache, k, v, position, nTokens);
        if (position > 0) correct.storeKv(cache, k, v, 0, 1);
      },
    },
    noticedBy: (c) => c.op === "attention" && c.check === "shared",
  },
  {
    what: "attention that writes beyond its scratch",
    broken: {
      attention(out, q, cache, shape, position, nTokens, scratch, ...rest) {
        correct.attention(out, q, cache, shape, position, nTokens, scratch, ...rest);
        correct.arena.u8(scratch, 1)[0] = 1;
      },
    },
    noticedBy: (c) => c.op === "attention",
  },
  {
    what: "linear that takes blocks to begin at multiples of 2",
    broken: { linear: (out, x, w, ...rest) => correct.linear(out, x, { ...w, data: w.data - (w.data % 2) }, ...rest) },
    noticedBy: (c) => c.op === "linear" && c.check === "slices" && c.dtype === "mxfp4",
  },
  {
    what: "copyRows that takes the first rows",
    broken: { copyRows: (out, x, _rows, n, cols) => firstRows((rows) => correct.copyRows(out, x, rows, n, cols), n) },
    noticedBy: (c) => c.op === "rows" && c.n > 1,
  },
  {
    what: "copyRows that leaves the padding out",
    broken: {
      copyRows(out, x, rows, n, cols) {
        correct.copyRows(out, x, rows, n, cols);
        correct.arena.f32(out, 16 * Math.ceil(cols / 16)).fill(1, cols);
      },
    },
    noticedBy: (c) => c.op === "rows" && c.n > 0 && c.cols % 16 !== 0,
  },
  {
    what: "addRowsScaled that adds to the first rows",
    broken: {
      addRowsScaled: (out, x, _rows, factors, n, cols) =>
        firstRows((rows) => correct.addRowsScaled(out, x, rows, factors, n, cols), n),
    },
    noticedBy: (c) => c.op === "rows" && c.n > 1,
  },
  {
    what: "addRowsScaled that adds padding, too",
    broken: {
      addRowsScaled: (out, x, rows, factors, n, cols) =>
        correct.addRowsScaled(out, x, rows, factors, n, 16 * Math.ceil(cols / 16)),
    },
    noticedBy: (c) => c.op === "rows" && c.n > 1 && c.cols % 16 !== 0,
  },
  {
    what: "addScaled that rounds once",
    broken: {
      addScaled(out, x, count, factor) {
        const [sums, terms] = [correct.arena.f32(out, count), correct.arena.f32(x, count)];
        sums.set(sums.map((sum, i) => sum + Math.fround(factor) * terms[i]!));
      },
    },
    noticedBy: (c) => c.op === "elementwise" && c.count === 200,
  },
  {
    what: "selectAbove that takes equal scores",
    broken: { selectAbove: (out, scores, n, limit) => correct.selectAbove(out, scores, n, limit - 1e-6) },
    noticedBy: (c) => c.op === "selectAbove" && c.n === 200,
  },
  {
    what: "crc32c that forgets its seed",
    broken: { crc32c: (ptr, sizeBytes) => correct.crc32c(ptr, sizeBytes) },
    noticedBy: (c) => c.op === "crc32c" && c.text.length > 0,
  },
  {
    what: "crc32cSlots that ignores its range",
    broken: {
      crc32cSlots: (...[out, base, stride, size, slots, n]) => correct.crc32cSlots(out, base, stride, size, slots, n),
    },
    noticedBy: (c) => c.op === "crc32cSlots" && c.n > 0,
  },
];

describe("the conformance cases", () => {
  for (const { what, broken, noticedBy } of mistakes) {
    it(`notice ${what}`, () => {
      const cases = conformanceCases.filter(noticedBy);
      expect(cases.length).toBeGreaterThan(0);
      for (const c of cases) {
        expect(() => runConformanceCase({ ...correct, ...broken }, c)).toThrow(ConformanceFailure);
      }
    });
  }

  it("hold for a clamped SwiGLU of its own, with the right limits", () => {
    for (const c of conformanceCases.filter((c) => c.op === "gate" && c.activation === "swiglu-clamped")) {
      const right = { ...correct, gate: clampedSwiglu(7, 7, 1.702) };
      expect(() => runConformanceCase(right, c)).not.toThrow();
    }
  });

  it("hold with vectors of eight bits where those are asked for, and notice 15, and the other way round", () => {
    const bytes = createByteVectorReference(new Arena(CONFORMANCE_ARENA_BYTES));
    // One vector in one group, of equal numbers, is exact with either.
    const asked = byteVectorCases.filter(
      (c) => c.op === "linear" && c.check === "close" && c.vectorBits === 8 && c.nTokens > 1,
    );
    expect(asked.length).toBeGreaterThan(30);
    for (const c of asked) {
      expect(() => runConformanceCase(bytes, c)).not.toThrow();
      expect(() => runConformanceCase(correct, c)).toThrow(ConformanceFailure);
      expect(() => runConformanceCase(bytes, conformanceCases[byteVectorCases.indexOf(c)]!)).toThrow(
        ConformanceFailure,
      );
    }
  });

  it("leave the arena as they found it", () => {
    const before = correct.arena.mark();
    runConformanceCase(correct, conformanceCases[0]!);
    expect(correct.arena.mark()).toBe(before);
    expect(correct.arena.u8(before, CONFORMANCE_ARENA_BYTES).every((byte) => byte === 0)).toBe(true);
  });
});
