import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { describe, expect, it } from "vitest";
import { demoModels, mixtureDemo } from "./index.js";

const { checkpointDir, predictorPath, cardPath, texts } = demoModels["opt-demo"];
const read = (path: string) => new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(path));

describe("opt-demo", () => {
  it("is the checkpoint that the card describes, byte for byte", () => {
    const weights = readFileSync(join(checkpointDir, "model.safetensors"));
    const sha256 = createHash("sha256").update(weights).digest("hex");
    expect(read(cardPath)).toContain(sha256);
    const headerBytes = Number(weights.readBigUInt64LE());
    const header = JSON.parse(weights.subarray(8, 8 + headerBytes).toString()) as Record<string, { shape?: number[] }>;
    const sizes = Object.values(header).map(({ shape }) => shape?.reduce((product, n) => product * n, 1) ?? 0);
    expect(sizes.reduce((sum, n) => sum + n, 0)).toBe(7_629_824);
  });

  it("has the geometry that the card names", () => {
    expect(JSON.parse(read(join(checkpointDir, "config.json")))).toMatchObject({
      model_type: "opt",
      num_hidden_layers: 8,
      hidden_size: 256,
      ffn_dim: 1024,
      vocab_size: 4096,
      max_position_embeddings: 1024,
      activation_function: "relu",
    });
  });

  it("gives absolute paths, and a place for the predictor beside the checkpoint", () => {
    for (const path of [checkpointDir, predictorPath, cardPath, ...Object.values(texts)]) {
      expect(isAbsolute(path)).toBe(true);
    }
    expect(statSync(join(predictorPath, "..")).isDirectory()).toBe(true);
  });

  it("keeps the texts for figures apart from the text for training", () => {
    const [train, calibration, evaluation] = [texts.train, texts.calibration, texts.evaluation].map(read) as [
      string,
      string,
      string,
    ];
    for (const [text, others] of [
      [calibration, [train, evaluation]],
      [evaluation, [train, calibration]],
    ] as const) {
      const samples = Array.from({ length: 100 }, (_, i) => text.slice(i * 1500, i * 1500 + 200));
      expect(samples.every((sample) => sample.length === 200)).toBe(true);
      expect(samples.filter((sample) => others.some((other) => other.includes(sample)))).toEqual([]);
    }
  });
});

describe("gated-demo", () => {
  const gated = demoModels["gated-demo"];

  it("is the checkpoint that the card describes, byte for byte", () => {
    const weights = readFileSync(join(gated.checkpointDir, "model.safetensors"));
    expect(read(cardPath)).toContain(createHash("sha256").update(weights).digest("hex"));
    expect(weights.length).toBeLessThan(16 * 2 ** 20);
  });

  it("has the geometry that the card names, and its predictor beside it", () => {
    expect(JSON.parse(read(join(gated.checkpointDir, "config.json")))).toMatchObject({
      ...{ model_type: "llama", num_hidden_layers: 8, hidden_size: 256, intermediate_size: 688, hidden_act: "relu" },
      ...{ vocab_size: 4096, max_position_embeddings: 1024, num_attention_heads: 4, tie_word_embeddings: true },
    });
    expect(statSync(gated.predictorPath).isFile()).toBe(true);
  });
});

describe("olmoe-demo", () => {
  const weights = readFileSync(join(mixtureDemo.checkpointDir, "model.safetensors"));

  it("is the checkpoint that the card describes, byte for byte", () => {
    expect(read(mixtureDemo.cardPath)).toContain(createHash("sha256").update(weights).digest("hex"));
    expect(weights.length).toBeLessThan(16 * 2 ** 20);
  });

  it("has the geometry that the card names, and the tensors that it asks for", () => {
    const config = JSON.parse(read(join(mixtureDemo.checkpointDir, "config.json")));
    expect(config).toMatchObject({
      ...{ model_type: "olmoe", num_hidden_layers: 8, hidden_size: 128, intermediate_size: 128, vocab_size: 4096 },
      ...{ num_experts: 16, num_experts_per_tok: 2, norm_topk_prob: false, tie_word_embeddings: true },
      ...{ num_attention_heads: 4, num_key_value_heads: 4, max_position_embeddings: 1024 },
    });
    const header = JSON.parse(weights.subarray(8, 8 + Number(weights.readBigUInt64LE())).toString());
    const experts = Object.keys(header).filter((name) => name.includes(".experts."));
    expect(experts.length).toBe(config.num_hidden_layers * config.num_experts * 3);
    expect(header["model.layers.7.mlp.experts.15.down_proj.weight"]).toMatchObject({ dtype: "F16", shape: [128, 128] });
    expect(header["model.layers.0.mlp.gate.weight"].shape).toEqual([16, 128]);
  });

  it("has opt-demo's tokenizer, byte for byte", () => {
    const tokenizer = (folder: string) => readFileSync(join(folder, "tokenizer.json"));
    expect(tokenizer(mixtureDemo.checkpointDir).equals(tokenizer(checkpointDir))).toBe(true);
  });
});
