/** The families that are tables of the same kind: what their config.json says, which tensors they have, and what they refuse. */
import { hasExperts, UnsupportedError } from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { residentTensorsOf } from "../../resident-tensors.js";
import { parseCheckpointConfig } from "../checkpoint-config.js";
import { familyNames, ffnSource, residentSource } from "./family.js";

const sizes = {
  ...{ hidden_size: 64, intermediate_size: 192, num_hidden_layers: 4, num_attention_heads: 4 },
  ...{ num_key_value_heads: 2, vocab_size: 512, max_position_embeddings: 256 },
};
const CONFIGS = {
  llama: { model_type: "llama", ...sizes },
  "llama with biases": { model_type: "llama", ...sizes, attention_bias: true, mlp_bias: true, head_dim: 32 },
  mistral: { model_type: "mistral", ...sizes, sliding_window: 16, tie_word_embeddings: true },
  bamboo: { model_type: "bamboo", ...sizes, hidden_act: "relu" },
  qwen2: { model_type: "qwen2", ...sizes },
  qwen3: { model_type: "qwen3", ...sizes, head_dim: 32 },
  gemma3: { model_type: "gemma3_text", ...sizes, head_dim: 32, num_hidden_layers: 12 },
  phi: { model_type: "phi", ...sizes, qk_layernorm: true },
  persimmon: { model_type: "persimmon", ...sizes },
};
/** Experts of 32, so that they differ from dense layers. */
const MIXTURES = {
  mixtral: { model_type: "mixtral", ...sizes, intermediate_size: 32 },
  olmoe: { model_type: "olmoe", ...sizes, intermediate_size: 32, num_experts: 16, num_experts_per_tok: 4 },
  qwen2_moe: {
    ...{ model_type: "qwen2_moe", ...sizes, num_experts: 8, moe_intermediate_size: 32, mlp_only_layers: [1] },
    ...{ shared_expert_intermediate_size: 48 },
  },
  qwen3_moe: { model_type: "qwen3_moe", ...sizes, num_experts: 16, moe_intermediate_size: 32, head_dim: 32 },
  gpt_oss: { model_type: "gpt_oss", ...sizes, intermediate_size: 32, num_local_experts: 8, head_dim: 32 },
};
const read = (config: object) => parseCheckpointConfig(JSON.stringify(config), "config.json");
const layersOf = (config: object) => read(config).geometry.layers;

/** Expects a source of the same size for every tensor that the model file keeps. */
function expectResidentSources({ family, geometry }: ReturnType<typeof read>): void {
  for (const tensor of residentTensorsOf(geometry)) {
    const { names, shape, rows, columns } = residentSource(family, tensor, geometry);
    const width = shape.length === 1 ? 1 : shape.at(-1)! / (columns?.step ?? 1);
    const taken = rows ? rows.reduce((sum, { count }) => sum + count, 0) : shape[0]!;
    expect([tensor.name, taken * width]).toEqual([tensor.name, tensor.rows * tensor.cols]);
    expect(names.length).toBeGreaterThan(0);
  }
}

describe.each(Object.entries(CONFIGS))("%s", (_, config) => {
  it("has a source of the same size for every tensor that the model file keeps", () => {
    const found = read(config);
    const { family, geometry } = found;
    expectResidentSources(found);
    const { gate, up, down } = ffnSource(family, 1, geometry);
    expect(gate !== null).toBe(geometry.layers[1]!.ffn.gated);
    expect([up.shape, down.shape]).toEqual([
      [192, 64],
      [64, 192],
    ]);
  });
});

describe("Llama", () => {
  it("norms before attention and a gated FFN, with heads as config.json or the width has them", () => {
    const [layer] = layersOf(CONFIGS.llama);
    const norm = { kind: "rms", epsilon: 1e-6, weight: true, bias: false };
    expect(layer).toEqual({
      attention: {
        ...{ nHeads: 4, nKvHeads: 2, headDim: 16, scale: 1 / 4, queryKeyNorm: null, alibi: false, windowTokens: null },
        biases: { query: false, key: false, value: false, output: false },
        rotary: { theta: 10000, dims: 16, pairs: "halves", scaling: null },
      },
      ffn: {
        ...{ dFf: 192, gated: true, activation: "silu", threshold: 0, upActivation: "none" },
        biases: { gate: false, up: false, down: false },
      },
      norms: {
        ...{ beforeAttention: norm, afterAttention: null, attentionSum: null },
        ...{ beforeFfn: norm, afterFfn: null, ffnSum: null },
      },
      parallel: false,
    });
    expect(layersOf({ ...CONFIGS.llama, head_dim: 24 })[0]!.attention.headDim).toBe(24);
    expect(layersOf({ ...CONFIGS.llama, num_key_value_heads: null })[0]!.attention.nKvHeads).toBe(4);
    expect(read({ ...CONFIGS.llama, tie_word_embeddings: true }).geometry.head.tied).toBe(true);
  });

  it.each([
    ["relu", {}, { activation: "relu", threshold: 0 }],
    ["fatrelu", { hidden_act_param: 0.01 }, { activation: "fatrelu", threshold: 0.01 }],
    ["gelu_pytorch_tanh", {}, { activation: "gelu-tanh", threshold: 0 }],
  ])("knows the activation %s", (hidden_act, more, expected) => {
    expect(layersOf({ ...CONFIGS.llama, hidden_act, ...more })[0]!.ffn).toMatchObject(expected);
  });

  it.each([
    [{ rope_type: "default" }, null],
    [
      { type: "linear", factor: 4 },
      { kind: "linear", factor: 4 },
    ],
    [
      { rope_type: "llama3", factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 48 },
      { kind: "llama3", factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContext: 48 },
    ],
    [
      { rope_type: "yarn", factor: Math.E },
      {
        ...{ kind: "yarn", factor: Math.E, originalContext: 256, betaFast: 32, betaSlow: 1 },
        ...{ attentionFactor: 1.1, truncate: true },
      },
    ],
  ])("reads rope_scaling %j", (rope_scaling, scaling) => {
    expect(layersOf({ ...CONFIGS.llama, rope_scaling })[0]!.attention.rotary?.scaling ?? null).toEqual(scaling);
  });

  it.each([
    ["hidden_act", "tanh", "UNSUPPORTED_ACTIVATION"],
    ["hidden_act", "fatrelu", "CHECKPOINT_CONFIG"],
    ["rope_scaling", { rope_type: "longrope", factor: 4 }, "UNSUPPORTED_FEATURE"],
    ["rope_scaling", { rope_type: "yarn", factor: 4, mscale: 1 }, "UNSUPPORTED_FEATURE"],
    ["rope_scaling", { rope_type: "linear", factor: -1 }, "CHECKPOINT_CONFIG"],
    ["num_key_value_heads", 3, "CHECKPOINT_CONFIG"],
    ["num_attention_heads", 5, "CHECKPOINT_CONFIG"],
    ["rms_norm_eps", 0, "CHECKPOINT_CONFIG"],
  ])("refuses %s = %j", (field, value, code) => {
    expect(() => read({ ...CONFIGS.llama, [field]: value })).toThrowError(expect.objectContaining({ code }));
  });
  it("a factor of rope_scaling made of lists within lists ended in an error without a type, out of stack", () => {
    const config = JSON.stringify({ ...CONFIGS.llama, rope_scaling: { rope_type: "longrope", factor: "deep" } });
    const deep = config.replace('"deep"', "[".repeat(50_000) + "]".repeat(50_000));
    expect(() => parseCheckpointConfig(deep, "config.json")).toThrowError(
      expect.objectContaining({ code: "UNSUPPORTED_FEATURE" }),
    );
  });
});

it("Mistral has a window in every layer, by default of 4096, or none where it is null", () => {
  const windows = (change: object) => layersOf({ ...CONFIGS.mistral, ...change }).map((l) => l.attention.windowTokens);
  expect(windows({})).toEqual([16, 16, 16, 16]);
  expect(windows({ sliding_window: null })).toEqual([null, null, null, null]);
  expect(windows({ sliding_window: undefined })).toEqual([4096, 4096, 4096, 4096]);
});

it("Bamboo is Mistral with ReLU on both projections, and with no other function", () => {
  const [layer] = layersOf(CONFIGS.bamboo);
  expect(layer).toMatchObject({
    ffn: { gated: true, activation: "relu", threshold: 0, upActivation: "relu" },
    attention: { windowTokens: 4096 },
  });
  expect(read({ ...CONFIGS.bamboo, architectures: ["BambooForCausalLM"] }).geometry.architecture).toBe("bamboo");
  for (const hidden_act of ["silu", undefined]) {
    expect(() => read({ ...CONFIGS.bamboo, hidden_act })).toThrowError(
      expect.objectContaining({ code: "UNSUPPORTED_ACTIVATION", message: expect.stringContaining("silu") }),
    );
  }
});

it("Qwen has windows only if told to, then from a layer on or as listed, and equal layers are one object", () => {
  const windowed = { ...CONFIGS.qwen2, use_sliding_window: true, sliding_window: 8 };
  const windows = (change: object) => layersOf({ ...windowed, ...change }).map((l) => l.attention.windowTokens);
  expect(windows({ use_sliding_window: false })).toEqual([null, null, null, null]);
  expect(windows({ max_window_layers: 2 })).toEqual([null, null, 8, 8]);
  const layer_types = ["full_attention", "sliding_attention", "full_attention", "sliding_attention"];
  expect(windows({ layer_types })).toEqual([null, 8, null, 8]);
  expect(new Set(layersOf({ ...windowed, layer_types })).size).toBe(2);
  const { biases } = layersOf(CONFIGS.qwen2)[0]!.attention;
  expect(biases).toEqual({ query: true, key: true, value: true, output: false });
  expect(layersOf(CONFIGS.qwen3)[0]!.attention.queryKeyNorm).toMatchObject({ over: "head", norm: { kind: "rms" } });
});

describe("Gemma 3", () => {
  it("has windows and a base of their own in all but every sixth layer, or as listed", () => {
    const { geometry } = read(CONFIGS.gemma3);
    const full = geometry.layers.map(({ attention }) => [attention.windowTokens, attention.rotary?.theta]);
    const [sliding, all] = [
      [4096, 10_000],
      [null, 1_000_000],
    ];
    expect(full).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12].map((i) => (i % 6 === 0 ? all : sliding)));
    expect(geometry.embedding.scale).toBe(8);
    expect(geometry.head.tied).toBe(true);
    const scaled = layersOf({ ...CONFIGS.gemma3, rope_scaling: { rope_type: "linear", factor: 8 } });
    expect(scaled.slice(4, 6).map(({ attention }) => attention.rotary?.scaling?.kind ?? null)).toEqual([
      null,
      "linear",
    ]);
  });

  it("adds the one that its norms' weights lack, and to nothing else", () => {
    const { family, geometry } = read(CONFIGS.gemma3);
    const added = residentTensorsOf(geometry).filter((tensor) => residentSource(family, tensor, geometry).plus === 1);
    expect(added.length).toBe(12 * 6 + 1);
    expect(added.every(({ name }) => name.endsWith("_norm.weight"))).toBe(true);
  });

  it.each(["attn_logit_softcapping", "final_logit_softcapping"])("refuses %s", (field) => {
    expect(() => read({ ...CONFIGS.gemma3, [field]: 30 })).toThrowError(UnsupportedError);
  });
});

it("Phi and Persimmon turn part of each head, and only Phi's head has a bias", () => {
  const phi = read({ ...CONFIGS.phi, partial_rotary_factor: 0.4, hidden_size: 80 }).geometry;
  expect(phi.layers[0]!.attention.rotary?.dims).toBe(8);
  expect([phi.head.bias, phi.layers[0]!.parallel, phi.layers[0]!.norms.beforeFfn]).toEqual([true, true, null]);
  const persimmon = read(CONFIGS.persimmon).geometry;
  expect(persimmon.layers[0]!.attention).toMatchObject({ rotary: { dims: 8 }, queryKeyNorm: { over: "head" } });
  expect([persimmon.head.bias, persimmon.layers[0]!.ffn.activation]).toEqual([false, "relu2"]);
});

describe.each(Object.entries(MIXTURES))("%s, a mixture", (_, config) => {
  it("has a source of the same size for every tensor that the model file keeps", () => {
    expectResidentSources(read(config));
  });

  it("has in each form every matrix of every expert once, in the order of a record", () => {
    const { family, geometry } = read(config);
    const layer = geometry.layers.findIndex(({ experts }) => experts);
    for (const form of familyNames(family, geometry).expertForms(layer)) {
      const slices = form(geometry.layers[layer]!.experts!.count - 1);
      expect(slices.flatMap(({ roles }) => roles)).toEqual(["gate", "up", "down"]);
      for (const { source, expert, scales, roles } of slices) {
        const ofOne = expert === null ? source.shape : source.shape.slice(1);
        // A byte of blocks holds two elements.
        const elements = ofOne.reduce((product, size) => product * size, scales ? 2 : 1);
        expect(elements).toBe(roles.length * 32 * 64);
      }
    }
  });

  it("refuses no experts a token", () => {
    expect(() => read({ ...config, num_experts_per_tok: 0 })).toThrowError(
      expect.objectContaining({ code: "CHECKPOINT_CONFIG" }),
    );
  });

  it("refuses more experts a token than there are, naming the field", () => {
    expect(() => read({ ...config, num_experts_per_tok: 200 })).toThrowError(
      expect.objectContaining({
        ...{ code: "CHECKPOINT_CONFIG", details: expect.objectContaining({ field: "num_experts_per_tok" }) },
      }),
    );
  });

  it("passes over keys that it does not know", () => {
    const known = read(config).geometry;
    expect(read({ ...config, router_aux_loss_coef: 0.1, output_router_logits: true, surprise: 1 }).geometry).toEqual(
      known,
    );
  });
});

describe("routers", () => {
  const routed = (config: object) => layersOf(config).map(({ experts }) => experts ?? null);
  const all = (normalised: boolean) => ({ softmax: "all", normalised, bias: false });

  it("Mixtral takes two of eight and divides by their sum, always", () => {
    const experts = { count: 8, chosen: 2, router: all(true), shared: null };
    expect(routed({ ...MIXTURES.mixtral, norm_topk_prob: false })).toEqual([experts, experts, experts, experts]);
    expect(layersOf(MIXTURES.mixtral)[0]!.attention.windowTokens).toBeNull();
    expect(layersOf({ ...MIXTURES.mixtral, sliding_window: 16 })[0]!.attention.windowTokens).toBe(16);
    expect(layersOf(MIXTURES.mixtral)[0]!.attention.rotary!.theta).toBe(1e6);
    expect(layersOf(MIXTURES.mixtral)[0]!.norms.beforeFfn!.epsilon).toBe(1e-5);
  });

  it("OLMoE divides only if told to, norms queries and keys over their width, and clips nothing", () => {
    expect(routed(MIXTURES.olmoe)[0]).toEqual({ count: 16, chosen: 4, router: all(false), shared: null });
    expect(routed({ ...MIXTURES.olmoe, norm_topk_prob: true })[0]!.router).toEqual(all(true));
    expect(layersOf(MIXTURES.olmoe)[0]!.attention.queryKeyNorm).toMatchObject({ over: "width" });
    expect(read({ ...MIXTURES.olmoe, clip_qkv: null }).geometry.layers).toHaveLength(4);
    expect(() => read({ ...MIXTURES.olmoe, clip_qkv: 8 })).toThrowError(/field clip_qkv: expected null, found 8/);
    const { num_experts: _, num_experts_per_tok: __, ...bare } = MIXTURES.olmoe;
    expect(routed(bare)[0]).toMatchObject({ count: 64, chosen: 8 });
  });

  it("Qwen's layers are mixtures unless listed or out of step, and Qwen2's have a gated shared expert", () => {
    const shared = { dFf: 48, gated: true };
    const layers = layersOf(MIXTURES.qwen2_moe);
    expect(layers.map(({ experts, ffn }) => [experts?.shared ?? null, ffn.dFf])).toEqual([
      ...[
        [shared, 32],
        [null, 192],
      ],
      ...[
        [shared, 32],
        [shared, 32],
      ],
    ]);
    expect(new Set(layers).size).toBe(2);
    expect(layers[0]!.experts).toMatchObject({ count: 8, chosen: 4, router: all(false) });
    expect(layers[1]!.attention.biases).toEqual({ query: true, key: true, value: true, output: false });
    const mixed = (change: object) => routed({ ...MIXTURES.qwen3_moe, ...change }).map((layer) => layer !== null);
    expect(mixed({})).toEqual([true, true, true, true]);
    expect(mixed({ decoder_sparse_step: 2 })).toEqual([false, true, false, true]);
    expect(mixed({ decoder_sparse_step: 2, mlp_only_layers: [3] })).toEqual([false, true, false, false]);
    expect(routed(MIXTURES.qwen3_moe)[0]).toEqual({ count: 16, chosen: 8, router: all(false), shared: null });
    expect(layersOf(MIXTURES.qwen3_moe)[0]!.attention.queryKeyNorm).toMatchObject({ over: "head" });
    expect(() => read({ ...MIXTURES.qwen3_moe, use_sliding_window: true })).toThrowError(/use_sliding_window/);
  });

  it("a Qwen of dense layers alone is no mixture, and has records of neurons", () => {
    const { family, geometry } = read({ ...MIXTURES.qwen3_moe, mlp_only_layers: [0, 1, 2, 3] });
    expect(hasExperts(geometry)).toBe(false);
    expect(ffnSource(family, 3, geometry).up.shape).toEqual([192, 64]);
  });

  it("gpt-oss chooses before it weighs, with biases, sinks, windows in every other layer and YaRN", () => {
    const [first, second, third] = layersOf(MIXTURES.gpt_oss);
    expect(first!.experts).toEqual({
      ...{ count: 8, chosen: 4, shared: null },
      router: { softmax: "chosen", normalised: false, bias: true },
    });
    expect([first, second, third].map((layer) => layer!.attention.windowTokens)).toEqual([128, null, 128]);
    expect(first).toBe(third);
    const { sinks, biases, rotary, scale } = first!.attention;
    expect({ sinks, biases, scale }).toEqual({
      ...{ sinks: true, scale: 1 / Math.sqrt(32) },
      biases: { query: true, key: true, value: true, output: true },
    });
    expect(rotary!.scaling).toEqual({
      ...{ kind: "yarn", factor: 32, originalContext: 256, betaFast: 32, betaSlow: 1, truncate: false },
      attentionFactor: 0.1 * Math.log(32) + 1,
    });
    expect(first!.ffn).toMatchObject({
      ...{ activation: "swiglu-clamped", upActivation: "none", dFf: 32 },
      biases: { gate: true, up: true, down: true },
    });
    const layer_types = ["full_attention", "full_attention", "full_attention", "sliding_attention"];
    const listed = layersOf({ ...MIXTURES.gpt_oss, layer_types, sliding_window: 16 });
    expect(listed.map(({ attention }) => attention.windowTokens)).toEqual([null, null, null, 16]);
    expect(() => read({ ...MIXTURES.gpt_oss, swiglu_limit: 5 })).toThrowError(/swiglu_limit: expected 7, found 5/);
    expect(() => read({ ...MIXTURES.gpt_oss, hidden_act: "gelu" })).toThrowError(/hidden_act: expected silu/);
  });

  it("gpt-oss may be quantised in MXFP4, and nothing else may be", () => {
    const mxfp4 = { quantization_config: { quant_method: "mxfp4", modules_to_not_convert: [] } };
    expect(read({ ...MIXTURES.gpt_oss, ...mxfp4 })).toMatchObject({ expertDType: "mxfp4", dtype: "bf16" });
    expect(read({ ...MIXTURES.gpt_oss, ...mxfp4, dtype: "float32" }).dtype).toBe("f32");
    expect(read(MIXTURES.gpt_oss)).toMatchObject({ expertDType: null, dtype: null });
    for (const config of [
      { ...MIXTURES.olmoe, ...mxfp4 },
      { ...MIXTURES.gpt_oss, quantization_config: { quant_method: "awq" } },
      { ...MIXTURES.gpt_oss, quantization_config: "toString" },
    ]) {
      expect(() => read(config)).toThrowError(/quantization_config/);
    }
  });
});

it("what does not run is refused by name, with the list of what does", () => {
  for (const model_type of ["deepseek_v3", "bloom", "mamba"]) {
    expect(() => read({ model_type, ...sizes })).toThrowError(
      expect.objectContaining({
        code: "UNSUPPORTED_ARCHITECTURE",
        message: expect.stringMatching(
          new RegExp(`opt .*falcon .*llama .*gemma3_text .*persimmon .*"${model_type}"`, "s"),
        ),
      }),
    );
  }
});
