import { describe, expect, it } from "vitest";
import { residentTensorsOf } from "../../resident-tensors.js";
import { falconFamily } from "./falcon.js";
import { residentSource } from "./family.js";

const SEVEN_B = {
  ...{ model_type: "falcon", hidden_size: 4544, num_hidden_layers: 32, num_attention_heads: 71, vocab_size: 65024 },
  ...{ activation: "relu", multi_query: true, num_kv_heads: 71, parallel_attn: true, rope_theta: 10000 },
};
const FORTY_B = {
  ...{ model_type: "falcon", hidden_size: 8192, num_hidden_layers: 60, num_attention_heads: 128, vocab_size: 65024 },
  ...{ new_decoder_architecture: true, num_kv_heads: 8, multi_query: true },
};
const RW = {
  ...{ model_type: "falcon", hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 4, vocab_size: 512 },
  ...{ alibi: true, bias: true, multi_query: false, parallel_attn: false },
};
const geometry = (config: object) => falconFamily.readGeometry(config, "config.json");

describe("falconFamily.readGeometry", () => {
  it("reads Falcon 7B, whose num_kv_heads says nothing", () => {
    const { layers, ...g } = geometry(SEVEN_B);
    const norm = { kind: "layer", epsilon: 1e-5, weight: true, bias: true };
    expect(g).toMatchObject({
      ...{ architecture: "falcon", dModel: 4544, contextLength: 2048, bosTokenId: 11, finalNorm: norm },
      ...{ embedding: { dim: 4544, scale: 1, positions: null }, head: { tied: true, bias: false } },
    });
    expect([layers.length, new Set(layers).size]).toEqual([32, 1]);
    expect(layers[0]).toMatchObject({
      attention: {
        ...{ nHeads: 71, nKvHeads: 1, headDim: 64, scale: 1 / 8, alibi: false, windowTokens: null },
        rotary: { theta: 10000, dims: 64, pairs: "halves", scaling: null },
        biases: { query: false, key: false, value: false, output: false },
      },
      ffn: { dFf: 18176, gated: false, activation: "relu", biases: { gate: false, up: false, down: false } },
      norms: { beforeAttention: norm, beforeFfn: null, attentionSum: null, ffnSum: null },
      parallel: true,
    });
  });
  it("reads Falcon 40B, and the form of it with one norm", () => {
    const [layer] = geometry(FORTY_B).layers;
    expect([layer!.attention.nKvHeads, layer!.parallel, layer!.ffn.activation]).toEqual([8, true, "gelu"]);
    expect(layer!.norms.beforeFfn).not.toBeNull();
    expect(geometry({ ...FORTY_B, num_ln_in_parallel_attn: 1 }).layers[0]!.norms.beforeFfn).toBeNull();
  });
  it("reads Falcon-RW, and the names of the first repositories", () => {
    const { num_hidden_layers: n_layer, num_attention_heads: n_head, ...rest } = RW;
    const { layers } = geometry(RW);
    expect(layers[0]!.attention).toMatchObject({ alibi: true, rotary: null, nKvHeads: 4, biases: { query: true } });
    expect([layers[0]!.parallel, layers[0]!.norms.beforeFfn?.kind]).toEqual([false, "layer"]);
    expect(geometry({ ...rest, n_layer, n_head })).toEqual(geometry(RW));
  });
  it.each([
    ["hidden_size", 0],
    ["num_hidden_layers", undefined],
    ["num_attention_heads", 70],
    ["vocab_size", "many"],
    ["layer_norm_epsilon", 0],
    ["rope_theta", -1],
    ["num_ln_in_parallel_attn", 3],
  ])("refuses %s = %j, naming the field", (field, value) => {
    expect(() => geometry({ ...SEVEN_B, [field]: value })).toThrowError(
      expect.objectContaining({ code: "CHECKPOINT_CONFIG", message: expect.stringContaining(`field ${field}`) }),
    );
  });
  it.each([
    ["activation", "silu", "UNSUPPORTED_ACTIVATION"],
    ["rope_scaling", { type: "linear", factor: 2 }, "UNSUPPORTED_FEATURE"],
  ])("does not know %s = %j", (field, value, code) => {
    expect(() => geometry({ ...SEVEN_B, [field]: value })).toThrowError(expect.objectContaining({ code }));
  });
  it("a field that nests too deep ran out of stack: it is refused like any other", () => {
    const deep: unknown = JSON.parse("[".repeat(100_000) + "]".repeat(100_000));
    expect(() => geometry({ ...SEVEN_B, rope_scaling: deep })).toThrowError(
      expect.objectContaining({ code: "UNSUPPORTED_FEATURE", message: expect.stringContaining('found [[["…"]]]') }),
    );
  });
});

describe("residentSource", () => {
  it.each([
    ["7B", SEVEN_B],
    ["40B", FORTY_B],
    ["RW", RW],
  ])("takes every row of the fused matrix once: %s", (_, config) => {
    const g = geometry(config);
    const { nHeads, nKvHeads, headDim } = g.layers[0]!.attention;
    const taken = new Set<number>();
    for (const tensor of residentTensorsOf(g).filter(({ name }) => /^blk\.0\.attn_[qkv]\.weight$/.test(name))) {
      const { rows, shape } = residentSource(falconFamily, tensor, g);
      expect(rows!.reduce((sum, { count }) => sum + count, 0)).toBe(tensor.rows);
      for (const { first, count } of rows!) for (let row = first; row < first + count; row++) taken.add(row);
      expect(shape).toEqual([(nHeads + 2 * nKvHeads) * headDim, g.dModel]);
    }
    expect(taken.size).toBe((nHeads + 2 * nKvHeads) * headDim);
  });
});
