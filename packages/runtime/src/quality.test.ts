/** What the demo model is worth: the reference's perplexity, int8 beside f32, and the shipped predictor beside dense. */
import { readFileSync } from "node:fs";
import { memorySource } from "@flashwick/core";
import { readPredictorFile } from "@flashwick/flash-format";
import { predictorBytes } from "@flashwick/predictor";
import { describe, expect, it } from "vitest";
import { openFixture, readGolden } from "./checkpoint.fixture.js";
import { evaluateText } from "./evaluate.js";
import { f16Bytes } from "./train/train-predictors.js";

const demoModels = new URL("../../demo-models/", import.meta.url);
const text = readFileSync(new URL("texts/evaluation.txt", demoModels), "utf8");
/** Enough for the bounds below; the whole text is `flashwick eval`'s. */
const SOME_WINDOWS = 24;

describe("falcon-demo on text that it never saw", () => {
  it("dense perplexity equals the reference's within 0.1 %", async () => {
    const { perplexity } = readGolden("falcon-demo");
    const model = await openFixture("falcon-demo", { dtype: "f16" });
    const result = await evaluateText(model, text);
    expect(result.windows).toBe(perplexity!.windows);
    expect(result.tokens).toBe(perplexity!.tokens);
    expect(Math.abs(result.perplexity / perplexity!.perplexity - 1)).toBeLessThan(0.001);
    await model.close();
  }, 300_000);
});

describe("opt-demo on text that it never saw", () => {
  it("dense perplexity equals the reference's within 0.1 %", async () => {
    const { perplexity } = readGolden("opt-demo");
    const model = await openFixture("opt-demo", { dtype: "f16" });
    const result = await evaluateText(model, text);
    expect(result.windows).toBe(perplexity!.windows);
    expect(result.tokens).toBe(perplexity!.tokens);
    expect(Math.abs(result.perplexity / perplexity!.perplexity - 1)).toBeLessThan(0.001);
    await model.close();
  }, 300_000);

  it("int8 agrees with dense f32: top-1 at least 97 %, mean KL at most 0.01", async () => {
    const model = await openFixture("opt-demo", { dtype: "int8" });
    const against = await openFixture("opt-demo", { dtype: "f32" });
    const result = await evaluateText(model, text, { maxWindows: SOME_WINDOWS, against });
    expect(result.against!.top1Agreement).toBeGreaterThanOrEqual(0.97);
    expect(result.against!.meanKl).toBeLessThanOrEqual(0.01);
    await model.close();
    await against.close();
  }, 300_000);

  it("q4 costs at most 2 % of perplexity against dense f32, and agrees in nine of ten choices", async () => {
    const model = await openFixture("opt-demo", { dtype: "q4" });
    const against = await openFixture("opt-demo", { dtype: "f32" });
    const result = await evaluateText(model, text, { maxWindows: SOME_WINDOWS / 2, against });
    expect(result.perplexity / result.against!.perplexity - 1).toBeLessThanOrEqual(0.02);
    expect(result.against!.top1Agreement).toBeGreaterThanOrEqual(0.9);
    await model.close();
    await against.close();
  }, 300_000);

  it("the shipped predictor: named ÷ active at most 2.5, perplexity +0.3 %, top-1 97 %, 4.5 % of the bytes in f16", async () => {
    const file = readFileSync(new URL("models/opt-demo/opt-demo.predictor.gguf", demoModels));
    const predictor = await readPredictorFile(memorySource(file, "opt-demo.predictor.gguf"));
    const model = await openFixture("opt-demo", { dtype: "f16", predictor });
    const against = await openFixture("opt-demo", { dtype: "f16" });
    const result = await evaluateText(model, text, { maxWindows: SOME_WINDOWS, against });
    expect(result.namedOverActive).toBeLessThanOrEqual(2.5);
    expect(result.perplexity / result.against!.perplexity - 1).toBeLessThanOrEqual(0.003);
    expect(result.against!.top1Agreement).toBeGreaterThanOrEqual(0.97);
    const bytes = predictor.layers.reduce((sum, layer) => sum + predictorBytes(layer), 0);
    expect(bytes / f16Bytes(model.header)).toBeLessThanOrEqual(0.045);
    await model.close();
    await against.close();
  }, 300_000);

  it("200 tokens within half the file: flash bytes per token at most a tenth of the FFN bytes", async () => {
    const file = readFileSync(new URL("models/opt-demo/opt-demo.predictor.gguf", demoModels));
    const predictor = await readPredictorFile(memorySource(file, "opt-demo.predictor.gguf"));
    const probe = await openFixture("opt-demo", { dtype: "f16" });
    const dramBudgetBytes = Math.floor(probe.header.fileBytes / 2);
    await probe.close();
    const model = await openFixture("opt-demo", { dtype: "f16", predictor, dramBudgetBytes });
    const prompt = model.tokenizer.encode("In the beginning", true);
    const generation = model.generate(prompt, { maxTokens: 200, ignoreEos: true });
    let next = await generation.next();
    while (!next.done) next = await generation.next();
    const { stats } = next.value;
    expect(stats.dramBytes.total).toBeLessThanOrEqual(dramBudgetBytes);
    expect(stats.flashBytesPerToken).toBeLessThanOrEqual(stats.naiveFlashBytesPerToken / 10);
    await model.close();
  });
});
