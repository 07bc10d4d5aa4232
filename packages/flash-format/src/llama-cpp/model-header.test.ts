/** Headers of llama.cpp's files: what they say, and what hostile or damaged ones lead to. */
import { isFlashwickError, memorySource } from "@flashwick/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { GgufTensor, GgufValue } from "../gguf.js";
import { encodeGgufHeader } from "../gguf-encoder.js";
import { openModelFile } from "../read-model.js";

const D_MODEL = 64;
const D_FF = 96;
const VOCAB = 40;

const u32 = (value: number): GgufValue => ({ type: "u32", value });
const f32 = (value: number): GgufValue => ({ type: "f32", value });
const text = (value: string): GgufValue => ({ type: "string", value });

function metadataOf(changes: Readonly<Record<string, GgufValue | null>> = {}): Map<string, GgufValue> {
  const metadata = new Map<string, GgufValue>([
    ["general.architecture", text("llama")],
    ["llama.block_count", u32(2)],
    ["llama.context_length", u32(128)],
    ["llama.embedding_length", u32(D_MODEL)],
    ["llama.feed_forward_length", u32(D_FF)],
    ["llama.attention.head_count", u32(4)],
    ["llama.attention.head_count_kv", u32(2)],
    ["llama.attention.layer_norm_rms_epsilon", f32(1e-5)],
  ]);
  for (const [key, value] of Object.entries(changes)) {
    if (value === null) metadata.delete(key);
    else metadata.set(key, value);
  }
  return metadata;
}

/** The tensors of the model, matrices as Q8_0, and where they lie. */
function tensorsOf(): { tensors: GgufTensor[]; dataBytes: number } {
  const tensors: GgufTensor[] = [];
  let offset = 0;
  const add = (name: string, type: GgufTensor["type"], ...shape: number[]) => {
    tensors.push({ name, type, shape, offset });
    const elements = shape.reduce((product, n) => product * n, 1);
    offset += Math.ceil((type === "Q8_0" ? (elements / 32) * 34 : 4 * elements) / 32) * 32;
  };
  add("token_embd.weight", "Q8_0", D_MODEL, VOCAB);
  add("output_norm.weight", "F32", D_MODEL);
  for (const layer of [0, 1]) {
    const prefix = `blk.${layer}.`;
    for (const name of ["attn_norm", "ffn_norm"]) add(`${prefix}${name}.weight`, "F32", D_MODEL);
    add(`${prefix}attn_q.weight`, "Q8_0", D_MODEL, D_MODEL);
    add(`${prefix}attn_k.weight`, "Q8_0", D_MODEL, D_MODEL / 2);
    add(`${prefix}attn_v.weight`, "Q8_0", D_MODEL, D_MODEL / 2);
    add(`${prefix}attn_output.weight`, "Q8_0", D_MODEL, D_MODEL);
    add(`${prefix}ffn_gate.weight`, "Q8_0", D_MODEL, D_FF);
    add(`${prefix}ffn_up.weight`, "Q8_0", D_MODEL, D_FF);
    add(`${prefix}ffn_down.weight`, "Q8_0", D_FF, D_MODEL);
  }
  return { tensors, dataBytes: offset };
}

function fileOf(
  metadata: ReadonlyMap<string, GgufValue>,
  change: (tensors: GgufTensor[]) => GgufTensor[] = (tensors) => tensors,
): Uint8Array {
  const { tensors, dataBytes } = tensorsOf();
  const header = encodeGgufHeader({ metadata, tensors: change(tensors) }).bytes;
  const dataOffset = Math.ceil(header.length / 32) * 32;
  const file = new Uint8Array(dataOffset + dataBytes);
  file.set(header);
  return file;
}

const open = async (bytes: Uint8Array) => (await openModelFile(memorySource(bytes, "model.gguf"))).header;
const failureOf = async (bytes: Uint8Array) => {
  const failure = await open(bytes).then(
    () => null,
    (error: unknown) => error,
  );
  expect(isFlashwickError(failure)).toBe(true);
  return failure as { code: string; message: string };
};
const renamed = (from: string, to: string) => (tensors: GgufTensor[]) =>
  tensors.map((tensor) => (tensor.name === from ? { ...tensor, name: to } : tensor));
const changed = (name: string, changes: Partial<GgufTensor>) => (tensors: GgufTensor[]) =>
  tensors.map((tensor) => (tensor.name === name ? { ...tensor, ...changes } : tensor));

describe("a header of llama.cpp's", () => {
  it("becomes a geometry, resident tensors with types of their own, and matrices in place", async () => {
    const header = await open(fileOf(metadataOf()));
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
    const { geometry } = await open(fileOf(metadataOf(scaled)));
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
    ["a mixture of experts", fileOf(metadataOf({ "llama.expert_count": u32(8) })), "UNSUPPORTED_FEATURE", "8 experts"],
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
    const failure = await failureOf(bytes);
    expect([failure.code, failure.message]).toEqual([code, expect.stringContaining(part)]);
  });

  it("with any bit flipped gives a model or a typed error", async () => {
    const bytes = fileOf(metadataOf());
    const { dataOffset } = await open(bytes);
    await fc.assert(
      fc.asyncProperty(fc.nat(dataOffset - 1), fc.nat(7), async (at, bit) => {
        const copy = bytes.slice();
        copy[at]! ^= 1 << bit;
        const failure = await open(copy).then(
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
        expect((await failureOf(bytes.slice(0, length))).code).toMatch(/^FORMAT_/);
      }),
      { numRuns: 100 },
    );
  });
});
