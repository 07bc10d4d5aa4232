import { parseCheckpointConfig } from "@flashwick/flash-format/convert";
import { describe, expect, it } from "vitest";
import { evenPowersOfTwo, nearestPowerOfTwo, PRESETS, planScale, spreadLayers } from "./geometry-scale.js";

const geometryOf = (config: object) => parseCheckpointConfig(JSON.stringify(config), "config.json").geometry;
const sizes = { num_hidden_layers: 8, hidden_size: 256, num_attention_heads: 4, vocab_size: 4096 };
const opt = { ...sizes, model_type: "opt", ffn_dim: 1024, max_position_embeddings: 1024 };
const source = geometryOf(opt);
const size = { dModel: 512, dFf: 2048, nLayers: 16, nHeads: 8 };

describe("planScale", () => {
  it("plans the presets", () => {
    expect(planScale(source, PRESETS.get("1.3b")!.size)).toMatchObject({
      widthCopies: 8,
      headWidthCopies: 1,
      neuronCopies: 8,
      target: { headDim: 64, nKvHeads: 32 },
      targetGeometry: { embedding: { dim: 2048 }, vocabSize: 4096, dModel: 2048 },
    });
    expect(planScale(source, PRESETS.get("6.7b")!.size)).toMatchObject({
      widthCopies: 16,
      headWidthCopies: 2,
      neuronCopies: 16,
      target: { headDim: 128 },
    });
  });

  it.each([
    ["d-model", { dModel: 600 }],
    ["d-ff", { dFf: 1500 }],
    ["heads", { nHeads: 6 }],
    ["d-model / heads", { nHeads: 16 }],
    ["layers", { nLayers: 7 }],
    ["layers", { dModel: 256, nHeads: 4 }],
    ["nLayers", { nLayers: 16.5 }],
  ])("refuses %s that is not made of copies", (name, change) => {
    expect(() => planScale(source, { ...size, ...change })).toThrow(
      expect.objectContaining({ code: "INPUT_INVALID", details: expect.objectContaining({ name }) }),
    );
  });

  it("plans a Falcon: one head of keys and values, both parts of a block in one layer, heads no wider", () => {
    const falcon = geometryOf({ ...sizes, model_type: "falcon", activation: "relu" });
    const plan = planScale(falcon, PRESETS.get("falcon-7b")!.size);
    expect(plan).toMatchObject({
      widthCopies: 18,
      neuronCopies: 18,
      headWidthCopies: 1,
      target: { nKvHeads: 1, headDim: 64 },
    });
    expect(plan.layers.every(({ attends, hasFfn }) => attends === hasFfn)).toBe(true);
    expect(plan.layers.filter(({ attends }) => attends).length).toBe(8);
    expect(() => planScale(falcon, { ...size, nHeads: 4 })).toThrow(/keep their width/);
  });

  it("plans a gated Llama: Llama 2's 7B is 16 copies of a width of 256 and of 688 neurons, with heads twice as wide", () => {
    const llama = {
      ...sizes,
      model_type: "llama",
      intermediate_size: 688,
      hidden_act: "relu",
      tie_word_embeddings: true,
    };
    expect(planScale(geometryOf(llama), PRESETS.get("llama-2-7b")!.size)).toMatchObject({
      ...{ gated: true, widthCopies: 16, neuronCopies: 16, headWidthCopies: 2 },
      target: { nKvHeads: 32, headDim: 128 },
    });
    for (const change of [
      { hidden_act: "silu" },
      { num_key_value_heads: 2 },
      { attention_bias: true },
      { tie_word_embeddings: false },
      { model_type: "bamboo" },
      { hidden_act: "fatrelu", hidden_act_param: 0.01 },
    ]) {
      expect(() => planScale(geometryOf({ ...llama, ...change }), { ...size, dFf: 1376 })).toThrow(
        expect.objectContaining({ code: "UNSUPPORTED_FEATURE" }),
      );
    }
  });

  it("factors of copies are powers of two and add up to one", () => {
    for (let count = 2; count < 70; count++) {
      const factors = evenPowersOfTwo(count);
      expect(factors.reduce((sum, factor) => sum + factor, 0)).toBe(nearestPowerOfTwo(count));
      expect(factors.length).toBe(count);
      expect(factors.every((factor) => [0.5, 1, 2].includes(factor))).toBe(true);
    }
  });

  it("refuses a checkpoint of another form", () => {
    expect(() => planScale(geometryOf({ ...opt, do_layer_norm_before: false }), size)).toThrow(
      expect.objectContaining({ code: "UNSUPPORTED_FEATURE" }),
    );
  });
});

describe("spreadLayers", () => {
  it("attends in the first and has the FFN in the last of each layer's stretch", () => {
    const layers = spreadLayers(2, 5).map(({ sourceLayer, attends, hasFfn }) => [sourceLayer, +attends, +hasFfn]);
    expect(layers).toEqual([
      [0, 1, 0],
      [0, 0, 0],
      [0, 0, 1],
      [1, 1, 0],
      [1, 0, 1],
    ]);
  });
});
