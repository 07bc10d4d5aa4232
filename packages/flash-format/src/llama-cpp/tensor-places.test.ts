/** Tensors that files of llama.cpp have under other names, or as rows of a larger one: Phi-2 and Falcon. */
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

const [D_MODEL, D_FF, VOCAB, N_HEADS, N_KV_HEADS, HEAD_DIM] = [64, 96, 40, 4, 2, 16];
const FUSED_ROWS = (N_HEADS + 2 * N_KV_HEADS) * HEAD_DIM;

function metadataOf(architecture: "phi2" | "falcon", changes: Metadata = {}) {
  const keys: Metadata = {
    block_count: u32(2),
    context_length: u32(128),
    embedding_length: u32(D_MODEL),
    feed_forward_length: u32(D_FF),
    "attention.head_count": u32(N_HEADS),
    "attention.head_count_kv": u32(N_KV_HEADS),
    "attention.layer_norm_epsilon": f32(1e-5),
    "rope.dimension_count": u32(architecture === "phi2" ? 8 : HEAD_DIM),
    ...changes,
  };
  const own = Object.entries(keys).map(([key, value]) => [`${architecture}.${key}`, value]);
  return metadataWith({ "general.architecture": text(architecture), ...Object.fromEntries(own) });
}

const matrix = (name: string, ...shape: number[]): DeclaredTensor => ({ name: `${name}.weight`, type: "Q8_0", shape });
const vector = (name: string, length: number): DeclaredTensor => ({ name, type: "F32", shape: [length] });
const norm = (name: string) => [vector(`${name}.weight`, D_MODEL), vector(`${name}.bias`, D_MODEL)];
const layers = (of: (prefix: string) => DeclaredTensor[]) => ["blk.0.", "blk.1."].flatMap(of);

const phi2 = [
  matrix("token_embd", D_MODEL, VOCAB),
  ...norm("output_norm"),
  matrix("output", D_MODEL, VOCAB),
  vector("output.bias", VOCAB),
  ...layers((prefix) => [
    ...norm(`${prefix}attn_norm`),
    matrix(`${prefix}attn_qkv`, D_MODEL, FUSED_ROWS),
    vector(`${prefix}attn_qkv.bias`, FUSED_ROWS),
    matrix(`${prefix}attn_output`, D_MODEL, D_MODEL),
    vector(`${prefix}attn_output.bias`, D_MODEL),
    matrix(`${prefix}ffn_up`, D_MODEL, D_FF),
    vector(`${prefix}ffn_up.bias`, D_FF),
    matrix(`${prefix}ffn_down`, D_FF, D_MODEL),
    vector(`${prefix}ffn_down.bias`, D_MODEL),
  ]),
];

const falcon = [
  matrix("token_embd", D_MODEL, VOCAB),
  ...norm("output_norm"),
  ...layers((prefix) => [
    ...norm(`${prefix}attn_norm`),
    ...norm(`${prefix}attn_norm_2`),
    matrix(`${prefix}attn_qkv`, D_MODEL, FUSED_ROWS),
    matrix(`${prefix}attn_output`, D_MODEL, D_MODEL),
    matrix(`${prefix}ffn_up`, D_MODEL, D_FF),
    matrix(`${prefix}ffn_down`, D_FF, D_MODEL),
  ]),
];

describe("phi2", () => {
  it("is a Phi: a parallel block behind one layer norm, no gate, part of each head turned in halves", async () => {
    const { geometry, matrices, weights } = await openHeader(ggufFile(metadataOf("phi2"), phi2));
    const { attention, ffn, norms, parallel } = geometry.layers[1]!;
    expect(geometry).toMatchObject({ architecture: "phi", head: { tied: false, bias: true } });
    expect(geometry.finalNorm).toMatchObject({ kind: "layer", bias: true });
    expect(attention).toMatchObject({ headDim: HEAD_DIM, rotary: { dims: 8, pairs: "halves" } });
    expect(attention.biases).toEqual({ query: true, key: true, value: true, output: true });
    expect(ffn).toMatchObject({ gated: false, activation: "gelu-tanh", biases: { gate: false, up: true, down: true } });
    expect([parallel, norms.beforeFfn, Object.hasOwn(matrices[0]!, "gate")]).toEqual([true, null, false]);
    expect(weights).toMatchObject({ layout: "matrices", slotBytes: 320 });
  });
  it("reads queries, keys and values as rows of one matrix, and their biases as elements of one vector", async () => {
    const { matrices, tensors } = await openHeader(ggufFile(metadataOf("phi2"), phi2));
    const { query, key, value } = matrices[0]!;
    const rowBytes = (D_MODEL / 32) * 34;
    expect(query).toMatchObject({ name: "blk.0.attn_q.weight", rows: 64, sizeBytes: 64 * rowBytes });
    expect([key.offset - query.offset, value.offset - key.offset]).toEqual([64 * rowBytes, 32 * rowBytes]);
    const bias = (name: string) => tensors.get(`blk.0.attn_${name}.bias`)!;
    expect(bias("v")).toMatchObject({ rows: 1, cols: 32, sizeBytes: 128 });
    expect([bias("k").offset - bias("q").offset, bias("v").offset - bias("k").offset]).toEqual([256, 128]);
  });
});

describe("falcon", () => {
  it("of 40B norms attention's input by the second norm, and the FFN's by the first", async () => {
    const file = ggufFile(metadataOf("falcon"), falcon);
    const { geometry, tensors } = await openHeader(file);
    expect(geometry.layers[0]!).toMatchObject({ parallel: true, ffn: { activation: "gelu", gated: false } });
    expect(geometry.layers[0]!.attention.biases.query).toBe(false);
    const attention = tensors.get("blk.0.attn_norm.weight")!;
    const ffn = tensors.get("blk.0.ffn_norm.weight")!;
    // attn_norm with its bias stands before attn_norm_2 in the file.
    expect(attention.offset - ffn.offset).toBe(2 * 4 * D_MODEL);
  });
});

describe("a fused file", () => {
  const phiWith = (change: Parameters<typeof ggufFile>[2]) => ggufFile(metadataOf("phi2"), phi2, change);
  const cases: [string, Uint8Array, code: string, part: string][] = [
    [
      "whose matrix has rows for other heads",
      phiWith(changed("blk.1.attn_qkv.weight", { shape: [D_MODEL, 3 * D_MODEL] })),
      "FORMAT_INVALID",
      'tensor "blk.1.attn_qkv.weight": expected shape [64, 128]',
    ],
    [
      "whose bias is shorter than the rows",
      phiWith(changed("blk.0.attn_qkv.bias", { shape: [FUSED_ROWS - 1] })),
      "FORMAT_INVALID",
      "blk.0.attn_qkv.bias",
    ],
    [
      "with the bias of one layer only",
      phiWith(renamed("blk.1.attn_qkv.bias", "x")),
      "FORMAT_MISSING",
      "attn_qkv.bias",
    ],
    [
      "with rows that are no whole blocks",
      phiWith(changed("blk.0.attn_qkv.weight", { type: "Q6_K" })),
      "FORMAT_INVALID",
      "whole Q6_K blocks",
    ],
    [
      "whose matrix ends past the file",
      phiWith(changed("blk.0.attn_qkv.weight", { offset: 2 ** 40 })),
      "FORMAT_TRUNCATED",
      "attn_qkv.weight",
    ],
    [
      "with two norms in one layer only",
      ggufFile(metadataOf("falcon"), falcon, renamed("blk.1.attn_norm_2.weight", "x")),
      "FORMAT_MISSING",
      "blk.1.attn_norm_2.weight",
    ],
    [
      "without the epsilon of layer norms",
      ggufFile(metadataOf("phi2", { "attention.layer_norm_epsilon": null }), phi2),
      "FORMAT_MISSING",
      "layer_norm_epsilon",
    ],
  ];
  it.each(cases)("%s is refused by name", async (_, bytes, code, part) => {
    const failure = await failureOf(openHeader(bytes));
    expect([failure.code, failure.message]).toEqual([code, expect.stringContaining(part)]);
  });

  it("of any heads opens where its shapes fit them, with rows inside the file, and else is a typed error", async () => {
    const count = fc.integer({ min: 0, max: 9 });
    const property = fc.asyncProperty(
      count,
      count,
      fc.integer({ min: 0, max: 20 }),
      fc.integer({ min: -1, max: 1 }),
      check,
    );
    await fc.assert(property, { numRuns: 300 });

    async function check(nHeads: number, nKvHeads: number, headDim: number, excess: number) {
      const total = Math.max(0, (nHeads + 2 * nKvHeads) * headDim + excess);
      const declared = phi2.map((tensor) => {
        if (tensor.name.endsWith("attn_qkv.weight")) return { ...tensor, shape: [D_MODEL, total] };
        if (tensor.name.endsWith("attn_qkv.bias")) return { ...tensor, shape: [total] };
        if (!tensor.name.endsWith("attn_output.weight")) return tensor;
        return { ...tensor, type: "F16" as const, shape: [nHeads * headDim, D_MODEL] };
      });
      const sizes = {
        "attention.head_count": u32(nHeads),
        "attention.head_count_kv": u32(nKvHeads),
        "attention.key_length": u32(headDim),
      };
      const bytes = ggufFile(metadataOf("phi2", sizes), declared);
      const isWhole = nHeads > 0 && nKvHeads > 0 && nHeads % nKvHeads === 0 && headDim >= 8 && excess === 0;
      if (!isWhole) return void (await failureOf(openHeader(bytes)));
      const { query, key, value } = (await openHeader(bytes)).matrices[1]!;
      expect(key.offset).toBe(query.offset + query.sizeBytes);
      expect(value.offset).toBe(key.offset + key.sizeBytes);
      expect(value.offset + value.sizeBytes).toBeLessThanOrEqual(bytes.length);
    }
  });
});
