import { type LayerGeometry, normsBefore } from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { residentTensorsOf } from "../../resident-tensors.js";
import { TINY_CONFIG } from "../checkpoint-fixture.js";
import { residentSource } from "./family.js";
import { optFamily } from "./opt.js";

function geometry(change: Record<string, unknown> = {}) {
  return optFamily.readGeometry({ ...TINY_CONFIG, ...change }, "config.json");
}

describe("optFamily.readGeometry", () => {
  it("reads OPT-125M", () => {
    const config = {
      ...{ model_type: "opt", num_hidden_layers: 12, hidden_size: 768, ffn_dim: 3072, num_attention_heads: 12 },
      ...{
        vocab_size: 50272,
        max_position_embeddings: 2048,
        word_embed_proj_dim: 768,
        bos_token_id: 2,
        eos_token_id: 2,
      },
    };
    const norm = { kind: "layer", epsilon: 1e-5, weight: true, bias: true } as const;
    const layer: LayerGeometry = {
      attention: {
        ...{ nHeads: 12, nKvHeads: 12, headDim: 64, scale: 1 / 8, queryKeyNorm: null, rotary: null },
        ...{ alibi: false, windowTokens: null, biases: { query: true, key: true, value: true, output: true } },
      },
      ffn: {
        ...{ dFf: 3072, gated: false, activation: "relu", threshold: 0, upActivation: "none" },
        biases: { gate: false, up: true, down: true },
      },
      norms: normsBefore(norm, norm),
      parallel: false,
    };
    expect(optFamily.readGeometry(config, "config.json")).toEqual({
      ...{ architecture: "opt", dModel: 768, vocabSize: 50272, contextLength: 2048 },
      embedding: { dim: 768, scale: 1, positions: { offset: 2 } },
      layers: new Array(12).fill(layer),
      finalNorm: norm,
      head: { tied: true, bias: false },
      ...{ bosTokenId: 2, eosTokenId: 2 },
    });
  });

  it("norms sums and has no final norm in the post-norm form, and has none where it was removed", () => {
    const { layers, finalNorm } = geometry({ do_layer_norm_before: false });
    const { attentionSum, ffnSum, ...others } = layers[0]!.norms;
    expect([finalNorm, ...Object.values(others)]).toEqual([null, null, null, null, null]);
    expect([attentionSum?.kind, ffnSum?.kind]).toEqual(["layer", "layer"]);
    const removed = geometry({ _remove_final_layer_norm: true });
    expect([removed.finalNorm, removed.layers[0]!.norms.beforeFfn?.kind]).toEqual([null, "layer"]);
  });

  it("reads the flags of the other forms", () => {
    expect(geometry({ word_embed_proj_dim: 4 }).embedding.dim).toBe(4);
    expect(geometry({ word_embed_proj_dim: null }).embedding.dim).toBe(8);
    expect(geometry({ tie_word_embeddings: false }).head.tied).toBe(false);
    const { attention, ffn } = geometry({ enable_bias: false }).layers[0]!;
    expect([...Object.values(attention.biases), ...Object.values(ffn.biases)]).not.toContain(true);
    const bare = { weight: false, bias: false };
    expect(geometry({ layer_norm_elementwise_affine: false }).layers[0]!.norms.beforeFfn).toMatchObject(bare);
    expect(geometry({ eos_token_id: [7, 2], bos_token_id: null })).toMatchObject({ eosTokenId: 7, bosTokenId: null });
  });

  it.each([
    ["hidden_size", 0],
    ["hidden_size", 2 ** 40],
    ["hidden_size", "64"],
    ["num_hidden_layers", 1e9],
    ["num_hidden_layers", 1.5],
    ["ffn_dim", -4],
    ["ffn_dim", undefined],
    ["vocab_size", null],
    ["max_position_embeddings", Number.NaN],
    ["num_attention_heads", 3],
    ["word_embed_proj_dim", 0],
    ["enable_bias", "yes"],
    ["eos_token_id", -1],
  ])("refuses %s = %j, naming the field", (field, value) => {
    expect(() => geometry({ [field]: value })).toThrowError(
      expect.objectContaining({
        code: "CHECKPOINT_CONFIG",
        message: expect.stringContaining(`config.json: field ${field}`),
      }),
    );
  });

  it.each(["gelu", "swish", "tanh"])("refuses the activation %s", (activation) => {
    expect(() => geometry({ activation_function: activation })).toThrowError(
      expect.objectContaining({ code: "UNSUPPORTED_ACTIVATION", message: expect.stringContaining(`"${activation}"`) }),
    );
  });
});

describe("residentSource", () => {
  it.each([
    ["as usual", {}],
    [
      "projected, post-norm, untied",
      { word_embed_proj_dim: 4, do_layer_norm_before: false, tie_word_embeddings: false },
    ],
  ])("has a source of the same size for every tensor that the model file keeps: %s", (_what, change) => {
    const g = geometry(change);
    for (const tensor of residentTensorsOf(g)) {
      const { names, shape } = residentSource(optFamily, tensor, g);
      expect([tensor.name, shape.reduce((a, b) => a * b)]).toEqual([tensor.name, tensor.rows * tensor.cols]);
      expect(names.length).toBeGreaterThan(0);
    }
  });
});
