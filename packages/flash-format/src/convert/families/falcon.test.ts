import { describe, expect, it } from "vitest";
import { residentTensorsOf } from "../../resident-tensors.js";
import { falconFamily } from "./falcon.js";

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
    expect(geometry(SEVEN_B)).toMatchObject({
      ...{ architecture: "falcon", nLayers: 32, dModel: 4544, dFf: 18176, nHeads: 71, nKvHeads: 1, headDim: 64 },
      ...{ activation: "relu", positions: "rotary", ropeTheta: 10000, parallelBlock: true, ffnNorm: false },
      ...{ biases: false, tiedHead: true, contextLength: 2048, bosTokenId: 11, normEpsilon: 1e-5 },
    });
  });
  it("reads Falcon 40B, and the form of it with one norm", () => {
    expect(geometry(FORTY_B)).toMatchObject({ nKvHeads: 8, parallelBlock: true, ffnNorm: true, activation: "gelu" });
    expect(geometry({ ...FORTY_B, num_ln_in_parallel_attn: 1 }).ffnNorm).toBe(false);
  });
  it("reads Falcon-RW, and the names of the first repositories", () => {
    const { num_hidden_layers: n_layer, num_attention_heads: n_head, ...rest } = RW;
    const expected = {
      positions: "alibi",
      ropeTheta: null,
      parallelBlock: false,
      ffnNorm: true,
      biases: true,
      nKvHeads: 4,
    };
    expect(geometry(RW)).toMatchObject(expected);
    expect(geometry({ ...rest, n_layer, n_head })).toMatchObject({ ...expected, nLayers: 2, nHeads: 4 });
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
});

describe("falconFamily.residentSource", () => {
  it.each([
    ["7B", SEVEN_B],
    ["40B", FORTY_B],
    ["RW", RW],
  ])("takes every row of the fused matrix once: %s", (_, config) => {
    const g = geometry(config);
    const taken = new Set<number>();
    for (const tensor of residentTensorsOf(g).filter(({ name }) => /^blk\.0\.attn_[qkv]\.weight$/.test(name))) {
      const { rows, shape } = falconFamily.residentSource(tensor, g);
      expect(rows!.reduce((sum, { count }) => sum + count, 0)).toBe(tensor.rows);
      for (const { first, count } of rows!) for (let row = first; row < first + count; row++) taken.add(row);
      expect(shape).toEqual([(g.nHeads + 2 * g.nKvHeads) * g.headDim, g.dModel]);
    }
    expect(taken.size).toBe((g.nHeads + 2 * g.nKvHeads) * g.headDim);
  });
});
