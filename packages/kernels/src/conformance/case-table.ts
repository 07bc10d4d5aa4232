/**
 * The case table that every pointer-based backend runs: data only. Sizes are chosen to be awkward: widths that are no
 * multiple of 64 or of 16, odd heads, prime row counts, batches around the tile sizes of any sensible kernel.
 */
import {
  ACTIVATIONS,
  BLOCK_DTYPES,
  blockElements,
  blocksOf,
  isBlockDType,
  PLAIN_DTYPES,
  RECORD_DTYPES,
} from "@flashwick/core";
import type { KvDType } from "../contract.js";
import { type AttentionCase, attentionTitle } from "./attention-cases.js";
import { type FfnCase, type FfnExtremesCase, ffnExtremesTitle, ffnTitle } from "./ffn-cases.js";
import { type GateCase, gateTitle } from "./gate-cases.js";
import { type LinearCase, linearTitle } from "./linear-cases.js";
import {
  type LayerNormCase,
  layerNormTitle,
  type NormHeadsCase,
  normHeadsTitle,
  type RmsNormCase,
  rmsNormTitle,
} from "./norm-cases.js";
import { type RowsCase, rowsTitle } from "./row-cases.js";
import {
  type CrossEntropyCase,
  crossEntropyTitle,
  type Float16Case,
  float16Title,
  type GemmCase,
  gemmTitle,
  type OptimiserCase,
  optimiserTitle,
} from "./training-cases.js";
import {
  type Crc32cCase,
  type Crc32cSlotsCase,
  crc32cSlotsTitle,
  crc32cTitle,
  type ElementwiseCase,
  elementwiseTitle,
  type RotateCase,
  rotateTitle,
  type SelectAboveCase,
  selectAboveTitle,
} from "./vector-cases.js";

/** One case that every backend must pass: an op, its sizes and types. */
export type ConformanceCase =
  | LinearCase
  | FfnCase
  | FfnExtremesCase
  | AttentionCase
  | LayerNormCase
  | RmsNormCase
  | NormHeadsCase
  | GateCase
  | RotateCase
  | ElementwiseCase
  | RowsCase
  | SelectAboveCase
  | Crc32cCase
  | Crc32cSlotsCase
  | GemmCase
  | Float16Case
  | CrossEntropyCase
  | OptimiserCase;

/** What a test is called: shape, and the tolerance or the exactness that is asked for. */
export function titleOf(c: ConformanceCase): string {
  switch (c.op) {
    case "linear":
      return linearTitle(c);
    case "ffn":
      return ffnTitle(c);
    case "ffn-extremes":
      return ffnExtremesTitle(c);
    case "attention":
      return attentionTitle(c);
    case "layerNorm":
      return layerNormTitle(c);
    case "rmsNorm":
      return rmsNormTitle(c);
    case "normHeads":
      return normHeadsTitle(c);
    case "gate":
      return gateTitle(c);
    case "rotate":
      return rotateTitle(c);
    case "elementwise":
      return elementwiseTitle(c);
    case "rows":
      return rowsTitle(c);
    case "selectAbove":
      return selectAboveTitle(c);
    case "crc32c":
      return crc32cTitle(c);
    case "crc32cSlots":
      return crc32cSlotsTitle(c);
    case "gemm":
      return gemmTitle(c);
    case "float16":
      return float16Title(c);
    case "crossEntropy":
      return crossEntropyTitle(c);
    case "adamW":
      return optimiserTitle(c);
  }
}

const KV_DTYPES: readonly KvDType[] = ["f32", "f16", "int8"];

const linearCases: LinearCase[] = PLAIN_DTYPES.flatMap((dtype) => [
  ...[
    [96, 96, 1, true],
    [80, 80, 2, false],
    [72, 72, 3, true],
    [200, 96, 5, true],
    [1003, 80, 1, false],
    [1003, 72, 8, false],
    [3, 16, 17, true],
    [1, 1, 1, true],
    [37, 4104, 2, false],
  ].map(([rows, cols, nTokens, bias]) => ({
    op: "linear" as const,
    check: "close" as const,
    dtype,
    rows: Number(rows),
    cols: Number(cols),
    nTokens: Number(nTokens),
    bias: bias === true,
  })),
  { op: "linear", check: "batch", dtype, rows: 101, cols: 72, nTokens: 17, bias: true },
  { op: "linear", check: "batch", dtype, rows: 33, cols: 96, nTokens: 3, bias: false },
  { op: "linear", check: "batch", dtype, rows: 19, cols: 4104, nTokens: 5, bias: false },
  { op: "linear", check: "ranges", dtype, rows: 101, cols: 72, nTokens: 1, bias: true },
  { op: "linear", check: "ranges", dtype, rows: 101, cols: 80, nTokens: 6, bias: true },
  { op: "linear", check: "ranges", dtype, rows: 43, cols: 4104, nTokens: 1, bias: false },
]);

/** Shapes in blocks: odd rows, one block and several, batches around sensible tiles. */
const blockLinearCases: LinearCase[] = BLOCK_DTYPES.flatMap((dtype) => {
  const base = { op: "linear", check: "close", dtype, rows: 37, nTokens: 1, bias: false } as const;
  const cols = (blocks: number) => blocks * blockElements(dtype);
  return [
    { ...base, cols: cols(3), bias: true },
    { ...base, rows: 1, cols: cols(1) },
    { ...base, rows: 3, cols: cols(2), nTokens: 2 },
    { ...base, rows: 18, cols: cols(5), nTokens: 3, bias: true },
    { ...base, rows: 21, cols: cols(2), nTokens: 17 },
    { ...base, check: "batch", rows: 19, cols: cols(4), nTokens: 9 },
    { ...base, check: "batch", rows: 33, cols: cols(2), nTokens: 18, bias: true },
    { ...base, check: "ranges", rows: 43, cols: cols(3) },
    { ...base, check: "ranges", rows: 50, cols: cols(3), nTokens: 6, bias: true },
    { ...base, check: "slices", rows: 57, cols: cols(3), bias: true },
    { ...base, check: "slices", rows: 39, cols: cols(2), nTokens: 5 },
  ] satisfies LinearCase[];
});

const ffnCases: FfnCase[] = RECORD_DTYPES.flatMap((dtype) => {
  // Awkward widths, which rows of blocks cannot have: then several blocks, and one.
  const [narrow, odd] = blocksOf(dtype) ? [32, 160] : [72, 80];
  const base = {
    op: "ffn",
    dtype,
    activation: "relu",
    dModel: 96,
    slotCount: 200,
    n: 61,
    nTokens: 1,
    bias: true,
  } as const;
  return [
    { ...base, check: "close" },
    { ...base, check: "close", n: 200, nTokens: 8, dModel: narrow },
    { ...base, check: "close", activation: "gelu", dModel: odd, bias: false, nTokens: 3 },
    { ...base, check: "close", n: 0, nTokens: 2 },
    { ...base, check: "close", n: 1, nTokens: 5, bias: false },
    { ...base, check: "batch", n: 200, nTokens: 17 },
    { ...base, check: "batch", activation: "gelu", nTokens: 5, dModel: narrow },
    { ...base, check: "ranges" },
    { ...base, check: "ranges", nTokens: 6, activation: "gelu", dModel: odd },
    { ...base, check: "waves", n: 199 },
    { ...base, check: "waves", nTokens: 3, activation: "gelu" },
    { ...base, check: "zeros", n: 200, dModel: odd },
    { ...base, check: "close", activation: "relu2", nTokens: 2 },
    { ...base, check: "close", activation: "fatrelu", dModel: odd, nTokens: 3 },
    { ...base, check: "close", activation: "silu", bias: false },
    { ...base, check: "close", activation: "gelu-tanh", nTokens: 2 },
    { ...base, check: "ranges", activation: "silu", nTokens: 2 },
    { ...base, check: "zeros", activation: "fatrelu", n: 200, dModel: odd },
    // More neurons than a block of a kernel that takes them in blocks.
    { ...base, check: "close", gated: "relu", n: 300, slotCount: 320, nTokens: 5, dModel: narrow },
    { ...base, check: "close", gated: "none", activation: "silu", bias: false },
    { ...base, check: "close", gated: "none", activation: "gelu-tanh", nTokens: 17, dModel: odd },
    { ...base, check: "close", gated: "none", n: 0, nTokens: 2 },
    { ...base, check: "batch", gated: "none", activation: "silu", n: 200, nTokens: 17 },
    { ...base, check: "batch", gated: "relu", nTokens: 5, dModel: narrow },
    { ...base, check: "ranges", gated: "none", activation: "gelu", n: 300, slotCount: 320 },
    { ...base, check: "ranges", gated: "relu", nTokens: 6, dModel: odd },
    { ...base, check: "waves", gated: "none", activation: "silu", n: 199, nTokens: 3 },
    { ...base, check: "zeros", gated: "none", activation: "fatrelu", n: 200, dModel: odd },
    // The gate's sums come from elsewhere.
    { ...base, check: "close", gated: "none", given: true, n: 300, slotCount: 320, nTokens: 3, dModel: narrow },
    { ...base, check: "close", gated: "relu", given: true, activation: "fatrelu", bias: false, dModel: odd },
    { ...base, check: "batch", gated: "none", given: true, activation: "relu2", nTokens: 5 },
    { ...base, check: "ranges", gated: "none", given: true, n: 300, slotCount: 320, nTokens: 2 },
    { ...base, check: "zeros", gated: "none", given: true, n: 200, dModel: odd },
    // The clamps are met: one sum in thirty is beyond 7.
    { ...base, check: "close", gated: "none", activation: "swiglu-clamped", n: 200, nTokens: 3 },
    { ...base, check: "batch", gated: "none", activation: "swiglu-clamped", nTokens: 17, dModel: odd },
    { ...base, check: "ranges", gated: "none", activation: "swiglu-clamped", nTokens: 2 },
  ] satisfies FfnCase[];
});

const attentionCases: AttentionCase[] = KV_DTYPES.flatMap((dtype) => {
  const base = { op: "attention", dtype, nHeads: 6, nKvHeads: 6, headDim: 16, position: 0, nTokens: 1 } as const;
  return [
    { ...base, check: "close" },
    { ...base, check: "close", position: 21, nTokens: 5 },
    { ...base, check: "close", headDim: 20, nKvHeads: 2, position: 7, nTokens: 8 },
    { ...base, check: "close", headDim: 64, nKvHeads: 1, nTokens: 17 },
    { ...base, check: "close", headDim: 9, position: 3, nTokens: 4 },
    { ...base, check: "batch", position: 5, nTokens: 17, nKvHeads: 3 },
    { ...base, check: "batch", headDim: 15, nTokens: 8 },
    { ...base, check: "batch", headDim: 80, nTokens: 3, position: 2 },
    { ...base, check: "ranges", nTokens: 5, position: 9, nKvHeads: 2 },
    { ...base, check: "batch", nKvHeads: 1, headDim: 20, position: 3, nTokens: 5 },
    { ...base, check: "ranges", nKvHeads: 1, nTokens: 2, position: 30 },
    // Positions beyond 256 are rounded to bfloat16.
    { ...base, check: "close", alibi: true, position: 301, nTokens: 5 },
    { ...base, check: "batch", alibi: true, headDim: 24, nKvHeads: 3, nTokens: 6 },
    { ...base, check: "ranges", alibi: true, headDim: 9, nTokens: 4 },
    // Across borders of pages, and up to them.
    { ...base, check: "pages", headDim: 64, position: 57, nTokens: 9 },
    { ...base, check: "pages", headDim: 9, nKvHeads: 2, position: 30, nTokens: 2 },
    { ...base, check: "pages", alibi: true, headDim: 15, nKvHeads: 1, position: 28, nTokens: 8 },
    { ...base, check: "pages", position: 47, nTokens: 1 },
    { ...base, check: "batch", headDim: 20, nKvHeads: 2, position: 29, nTokens: 7 },
    { ...base, check: "shared", position: 36, nTokens: 5 },
    { ...base, check: "close", windowTokens: 5, position: 21, nTokens: 5 },
    { ...base, check: "close", windowTokens: 16, headDim: 20, nKvHeads: 2, position: 40, nTokens: 17 },
    { ...base, check: "close", windowTokens: 1, headDim: 9, position: 3, nTokens: 4 },
    { ...base, check: "close", sinks: true, position: 21, nTokens: 5 },
    { ...base, check: "close", sinks: true, windowTokens: 70, nKvHeads: 2, position: 95, nTokens: 9 },
    { ...base, check: "batch", windowTokens: 7, sinks: true, nKvHeads: 3, position: 5, nTokens: 17 },
    { ...base, check: "batch", windowTokens: 70, headDim: 15, position: 100, nTokens: 11 },
    { ...base, check: "ranges", windowTokens: 9, sinks: true, nKvHeads: 2, position: 30, nTokens: 5 },
    { ...base, check: "pages", windowTokens: 18, alibi: true, position: 57, nTokens: 9 },
    { ...base, check: "pages", windowTokens: 20, sinks: true, nKvHeads: 2, position: 61, nTokens: 7 },
    { ...base, check: "pages", sinks: true, headDim: 64, nKvHeads: 1, position: 46, nTokens: 3 },
    { ...base, check: "batch", sinks: true, headDim: 64, nKvHeads: 2, position: 14, nTokens: 5 },
    { ...base, check: "shared", windowTokens: 36, sinks: true, nKvHeads: 2, position: 33, nTokens: 6 },
    { ...base, check: "window", windowTokens: 18, sinks: true, nKvHeads: 2, position: 50, nTokens: 5 },
    { ...base, check: "window", windowTokens: 20, position: 75, nTokens: 9 },
    { ...base, check: "window", windowTokens: 33, headDim: 9, alibi: true, position: 130, nTokens: 3 },
    { ...base, check: "window", windowTokens: 67, headDim: 64, nKvHeads: 1, sinks: true, position: 166, nTokens: 1 },
    { ...base, check: "shared", headDim: 9, nKvHeads: 3, position: 16, nTokens: 17 },
  ] satisfies AttentionCase[];
});

const vectorCases: ConformanceCase[] = [
  { op: "layerNorm", n: 96, nTokens: 3, affine: true },
  { op: "layerNorm", n: 72, nTokens: 2, affine: false },
  { op: "layerNorm", n: 75, nTokens: 5, affine: true },
  { op: "rmsNorm", n: 96, nTokens: 3, affine: true },
  { op: "rmsNorm", n: 72, nTokens: 2, affine: false },
  { op: "rmsNorm", n: 75, nTokens: 5, affine: true },
  ...(["layer", "rms"] as const).flatMap((kind): ConformanceCase[] => [
    { op: "normHeads", kind, nHeads: 5, headDim: 16, nTokens: 3, affine: true },
    { op: "normHeads", kind, nHeads: 3, headDim: 9, nTokens: 2, affine: true },
    { op: "normHeads", kind, nHeads: 16, headDim: 23, nTokens: 4, affine: false },
    { op: "normHeads", kind, nHeads: 1, headDim: 128, nTokens: 1, affine: true },
  ]),
  ...ACTIVATIONS.map((activation): GateCase => ({ op: "gate", activation, up: "none", count: 208 })),
  { op: "gate", activation: "relu", up: "relu", count: 64 },
  { op: "gate", activation: "silu", up: "relu", count: 20 },
  { op: "gate", activation: "silu", up: "none", count: 0 },
  { op: "gate", activation: "swiglu-clamped", up: "none", count: 52 },
  { op: "rotate", nHeads: 3, headDim: 20, dims: 8, position: 7, nTokens: 4 },
  { op: "rotate", nHeads: 5, headDim: 22, dims: 10, position: 3, nTokens: 2, pairs: "neighbours" },
  { op: "rotate", nHeads: 2, headDim: 64, position: 9, nTokens: 3, pairs: "neighbours" },
  { op: "rotate", nHeads: 5, headDim: 16, position: 0, nTokens: 1 },
  { op: "rotate", nHeads: 3, headDim: 22, position: 7, nTokens: 4 },
  { op: "rotate", nHeads: 1, headDim: 64, position: 90, nTokens: 2 },
  { op: "elementwise", count: 200 },
  { op: "elementwise", count: 4 },
  { op: "elementwise", count: 0 },
  { op: "rows", nTokens: 17, n: 5, cols: 96 },
  { op: "rows", nTokens: 9, n: 9, cols: 75 },
  { op: "rows", nTokens: 3, n: 1, cols: 200 },
  { op: "rows", nTokens: 4, n: 0, cols: 16 },
  { op: "selectAbove", n: 200, threshold: 0.3 },
  { op: "selectAbove", n: 5, threshold: 0.25 },
  { op: "selectAbove", n: 0, threshold: 0 },
  { op: "selectAbove", n: 1003, threshold: Number.NEGATIVE_INFINITY },
  { op: "selectAbove", n: 64, threshold: Number.POSITIVE_INFINITY },
  { op: "crc32c", text: "123456789", expected: 0xe3069283 },
  { op: "crc32c", text: "", expected: 0 },
  // RFC 3720, appendix B.4.
  { op: "crc32c", text: "\0".repeat(32), expected: 0x8a9136aa },
  { op: "crc32c", text: "\xff".repeat(32), expected: 0x62a8ab43 },
  { op: "crc32c", text: String.fromCharCode(...Array(32).keys()), expected: 0x46dd794e },
  { op: "crc32cSlots", strideBytes: 512, sizeBytes: 500, slotCount: 40, n: 37 },
  { op: "crc32cSlots", strideBytes: 1536, sizeBytes: 1536, slotCount: 5, n: 4 },
  { op: "crc32cSlots", strideBytes: 512, sizeBytes: 3, slotCount: 3, n: 0 },
];

const trainingCases: ConformanceCase[] = [
  ...(["A·B", "Aᵀ·B", "A·Bᵀ"] as const).flatMap((form): GemmCase[] => [
    { op: "gemm", form, m: 5, n: 16, k: 8 },
    { op: "gemm", form, m: 67, n: 516, k: 36 },
    { op: "gemm", form, m: 1, n: 4, k: 4 },
  ]),
  { op: "gemm", form: "A·B", m: 3, n: 12, k: 7 },
  { op: "float16" },
  { op: "crossEntropy", m: 3, n: 64 },
  { op: "crossEntropy", m: 5, n: 201 },
  { op: "adamW", count: 20, steps: 1 },
  { op: "adamW", count: 64, steps: 50 },
];

/** Every case. A backend conforms if {@link runConformanceCase} returns for each of them. */
export const conformanceCases: readonly ConformanceCase[] = [
  ...linearCases,
  ...blockLinearCases,
  ...ffnCases,
  ...RECORD_DTYPES.map((dtype): FfnExtremesCase => ({ op: "ffn-extremes", dtype })),
  ...attentionCases,
  ...vectorCases,
  ...trainingCases,
];

/** The same of a backend whose activations have eight bits beside blocks. */
export const byteVectorCases: readonly ConformanceCase[] = conformanceCases.map((c) =>
  c.op === "linear" && isBlockDType(c.dtype) ? { ...c, vectorBits: 8 } : c,
);
