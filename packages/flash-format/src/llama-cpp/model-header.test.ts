/** Headers of llama.cpp's files: what they say, and what hostile or damaged ones lead to. */
import { isFlashwickError } from "@flashwick/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  changed,
  type DeclaredTensor,
  f32,
  failureOf,
  ggufFile,
  type Metadata,
  metadataWith,
  openHeader,
  renamed,
  text,
  u32,
} from "./gguf-file.fixture.js";

const D_MODEL = 64;
const D_FF = 96;
const VOCAB = 40;

const METADATA: Metadata = {
  "general.architecture": text("llama"),
  "llama.block_count": u32(2),
  "llama.context_length": u32(128),
  "llama.embedding_length": u32(D_MODEL),
  "llama.feed_forward_length": u32(D_FF),
  "llama.attention.head_count": u32(4),
  "llama.attention.head_count_kv": u32(2),
  "llama.attention.layer_norm_rms_epsilon": f32(1e-5),
};
const metadataOf = (changes: Metadata = {}) => metadataWith(METADATA, changes);

const matrix = (name: string, ...shape: number[]): DeclaredTensor => ({ name: `${name}.weight`, type: "Q8_0", shape });
const norm = (name: string): DeclaredTensor => ({ name: `${name}.weight`, type: "F32", shape: [D_MODEL] });

/** The tensors of the model, matrices as Q8_0. */
const TENSORS: readonly DeclaredTensor[] = [
  matrix("token_embd", D_MODEL, VOCAB),
  norm("output_norm"),
  ...["blk.0.", "blk.1."].flatMap((prefix) => [
    norm(`${prefix}attn_norm`),
    norm(`${prefix}ffn_norm`),
    matrix(`${prefix}attn_q`, D_MODEL, D_MODEL),
    matrix(`${prefix}attn_k`, D_MODEL, D_MODEL / 2),
    matrix(`${prefix}attn_v`, D_MODEL, D_MODEL / 2),
    matrix(`${prefix}attn_output`, D_MODEL, D_MODEL),
    matrix(`${prefix}ffn_gate`, D_MODEL, D_FF),
    matrix(`${prefix}ffn_up`, D_MODEL, D_FF),
    matrix(`${prefix}ffn_down`, D_FF, D_MODEL),
  ]),
];
const fileOf = (metadata: ReturnType<typeof metadataOf>, change?: Parameters<typeof ggufFile>[2]) =>
  ggufFile(metadata, TENSORS, change);

describe("a header of llama.cpp's", () => {
  it("becomes a geometry, resident tensors with types of their own, and matrices in place", async () => {
    const header = await openHeader(fileOf(metadataOf()));
    expect(header.geometry).toMatchObject({ architecture: "llama", dModel: D_MODEL, vocabSize: VOCAB });
    expect(header.geometry.head).toEqual({ tied: true, bias: false });
    const { attention, ffn } = header.geometry.layers[1]!;
    expect(attention).toMatchObject({ nHeads: 4, nKvHeads: 2, headDim: 16, scale: 0.25, windowTokens: null });
    expect(attention.rotary).toEqual({ theta: 10000, dims: 16, pairs: "neighbours", scaling: null });
    expect(ffn).toMatchObject({ dFf: D_FF, gated: true, activation: "silu" });
    expect(header.weights).toEqual({ layout: "matrices", dtype: "q8_0", slotBytes: 384 });
    expect(header.matrices).toHaveLength(2);
    expect(header.matrices[0]!.down).toMatchObject({
      rows: D_MODEL,
      cols: D_FF,
      sizeBytes: (D_MODEL * D_FF * 34) / 32,
    });
    expect(header.tensors.get("blk.0.attn_norm.weight")).toMatchObject({ dtype: "f32", rows: 1, crc32c: null });
    expect([header.records, header.tokenizerKind]).toEqual([[], null]);
  });
  it("says which scaling rotates it", async () => {
    const scaled = { "llama.rope.scaling.type": text("linear"), "llama.rope.scaling.factor": f32(4) };
    const { geometry } = await openHeader(fileOf(metadataOf(scaled)));
    expect(geometry.layers[0]!.attention.rotary!.scaling).toEqual({ kind: "linear", factor: 4 });
  });
});

describe("a header that cannot be run", () => {
  const cases: [string, Uint8Array, string, string][] = [
    [
      "another architecture",
      fileOf(metadataOf({ "general.architecture": text("mamba") })),
      "UNSUPPORTED_ARCHITECTURE",
      "qwen3",
    ],
    [
      "a scaling that is not known",
      fileOf(metadataOf({ "llama.rope.scaling.type": text("longrope") })),
      "UNSUPPORTED_FEATURE",
      "longrope",
    ],
    [
      "a type that kernels lack",
      fileOf(metadataOf(), changed("blk.0.ffn_up.weight", { type: 16 })),
      "UNSUPPORTED_FEATURE",
      "type 16",
    ],
    [
      "norms that are not F32",
      fileOf(metadataOf(), changed("blk.0.ffn_norm.weight", { type: "F16" })),
      "UNSUPPORTED_FEATURE",
      "F32",
    ],
    [
      "a key missing",
      fileOf(metadataOf({ "llama.feed_forward_length": null })),
      "FORMAT_MISSING",
      "feed_forward_length",
    ],
    ["absurd counts", fileOf(metadataOf({ "llama.block_count": u32(2 ** 31) })), "FORMAT_INVALID", "block_count"],
    [
      "heads that do not divide",
      fileOf(metadataOf({ "llama.attention.head_count_kv": u32(3) })),
      "FORMAT_INVALID",
      "head_count_kv",
    ],
    [
      "rotation of more than a head",
      fileOf(metadataOf({ "llama.rope.dimension_count": u32(18) })),
      "FORMAT_INVALID",
      "rope.dimension_count",
    ],
    [
      "a tensor missing",
      fileOf(metadataOf(), renamed("blk.1.ffn_down.weight", "blk.1.other")),
      "FORMAT_MISSING",
      "blk.1.ffn_down.weight",
    ],
    [
      "a tensor of another shape",
      fileOf(metadataOf(), changed("blk.1.attn_q.weight", { shape: [D_MODEL, 32] })),
      "FORMAT_INVALID",
      "shape",
    ],
    [
      "rows that are no whole blocks",
      fileOf(metadataOf(), changed("blk.1.ffn_up.weight", { type: "Q4_K" })),
      "FORMAT_INVALID",
      "whole Q4_K blocks",
    ],
    [
      "a tensor past the end",
      fileOf(metadataOf(), changed("output_norm.weight", { offset: 2 ** 40 })),
      "FORMAT_TRUNCATED",
      "output_norm.weight",
    ],
  ];
  it.each(cases)("for %s is refused by name", async (_, bytes, code, part) => {
    const failure = await failureOf(openHeader(bytes));
    expect([failure.code, failure.message]).toEqual([code, expect.stringContaining(part)]);
  });

  it("is to be fetched again, not converted", async () => {
    const failure = await failureOf(openHeader(fileOf(metadataOf({ "llama.feed_forward_length": text("96") }))));
    expect(failure.message).toMatch(/feed_forward_length": expected an integer, found string; .*fetch it again$/);
  });

  it("with any bit flipped gives a model or a typed error", async () => {
    const bytes = fileOf(metadataOf());
    const { dataOffset } = await openHeader(bytes);
    await fc.assert(
      fc.asyncProperty(fc.nat(dataOffset - 1), fc.nat(7), async (at, bit) => {
        const copy = bytes.slice();
        copy[at]! ^= 1 << bit;
        const failure = await openHeader(copy).then(
          () => null,
          (error: unknown) => error,
        );
        if (failure !== null) expect(isFlashwickError(failure)).toBe(true);
      }),
      { numRuns: 400 },
    );
  });
  it("cut off anywhere is a typed error", async () => {
    const bytes = fileOf(metadataOf());
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 64), async (length) => {
        expect((await failureOf(openHeader(bytes.slice(0, length)))).code).toMatch(/^FORMAT_/);
      }),
      { numRuns: 100 },
    );
  });
});
