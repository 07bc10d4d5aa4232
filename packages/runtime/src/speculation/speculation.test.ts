/** Drafts by lookup and by another model: verified together, and the text is what it would have been. */
import { describe, expect, it } from "vitest";
import { openFixture } from "../checkpoint.fixture.js";
import type { Model } from "../model.js";
import type { GenerateOptions } from "../model-options.js";
import { noisePredictor } from "../noise-predictor.fixture.js";
import { lookUp } from "./lookup-drafter.js";
import { ModelDrafter } from "./model-drafter.js";

const NAME = "opt-tiny-sharded";
/** Ends as it began, so that there is something to look up. */
const PROMPT = [5, 9, 77, 3, 12, 60, 5, 9, 77, 3, 12];

async function generate(model: Model, options: GenerateOptions = {}) {
  const run = model.generate(PROMPT, { maxTokens: 80, ignoreEos: true, ...options });
  for (;;) {
    const next = await run.next();
    if (next.done) return next.value;
  }
}

async function openPredicted(options: Parameters<typeof openFixture>[1] = {}) {
  const plain = await openFixture(NAME);
  await plain.close();
  return await openFixture(NAME, { predictor: noisePredictor(plain.header), kvPrecision: "f16", ...options });
}

describe("lookUp", () => {
  it("proposes what followed the most recent occurrence of the longest end", () => {
    const text = [1, 2, 3, 4, 5, 1, 2, 3, 6, 7, 1, 2, 3];
    expect(lookUp(text, 2)).toEqual([6, 7]);
    expect(lookUp(text, 9)).toEqual([6, 7, 1, 2, 3]);
    expect(lookUp([4, 1, 2, 3, 8, 1, 2, 3, 9, 4, 1, 2, 3], 1)).toEqual([8]);
  });
  it("has nothing to say where nothing came back, or only by chance", () => {
    expect(lookUp([1, 2, 3, 4, 5, 6], 4)).toEqual([]);
    expect(lookUp([1, 2, 3, 9, 1, 2], 4)).toEqual([]);
    expect(lookUp([], 4)).toEqual([]);
  });
});

describe.each<[string, () => Promise<Model>]>([
  ["dense", () => openFixture(NAME, { mode: "dense", kvPrecision: "f16" })],
  ["predicted", () => openPredicted()],
  ["predicted, within little", () => openPredicted({ dramBudgetBytes: 700_000 })],
  ["oracle", () => openFixture(NAME, { mode: "oracle", kvPrecision: "f16" })],
])("%s, drafts by lookup", (_, open) => {
  it.each([{ temperature: 0 }, { temperature: 0.8, seed: 4 }])("the same text: %o", async (sampling) => {
    const model = await open();
    const plain = await generate(model, sampling);
    expect(plain.stats.speculation).toBeNull();
    for (const speculate of ["lookup", "auto"] as const) {
      const { tokens, stats } = await generate(model, { ...sampling, speculate });
      expect(tokens).toEqual(plain.tokens);
      expect(stats.speculation!.drafter).toBe("lookup");
      expect(stats.speculation!.accepted).toBeLessThanOrEqual(stats.speculation!.drafted);
    }
    await model.close();
  });
});

it("a text that repeats itself is drafted several tokens a step", async () => {
  const model = await openPredicted();
  const { stats } = await generate(model, { speculate: "lookup", draftTokens: 5, maxTokens: 100 });
  // Greedy text of so small a model ends in a loop.
  expect(stats.speculation!.accepted).toBeGreaterThan(10);
  expect(stats.speculation!.tokensPerStep).toBeGreaterThan(1.2);
  await model.close();
});

describe("drafts by another model", () => {
  it("the same text, for the sparse path and the dense", async () => {
    for (const target of [await openPredicted(), await openFixture(NAME, { mode: "dense", kvPrecision: "f16" })]) {
      const plain = await generate(target);
      const drafter = new ModelDrafter(await openFixture(NAME, { dtype: "int8", kvPrecision: "f16" }), target);
      const { tokens, stats } = await generate(target, { speculate: drafter, draftTokens: 4 });
      expect(tokens).toEqual(plain.tokens);
      expect(stats.speculation).toMatchObject({ drafter: "draft" });
      expect(stats.speculation!.accepted).toBeGreaterThan(0);
      await drafter.close();
      await target.close();
    }
  });
  it("of another vocabulary are refused", async () => {
    const target = await openPredicted();
    const other = await openFixture("opt-demo", { dtype: "f16" });
    expect(() => new ModelDrafter(other, target)).toThrow(
      /opt-demo has 4096 tokens, but the model that it is to draft for has 512/,
    );
    await other.close();
    await target.close();
  });
});

it("wishes that make no sense are refused before anything is computed", async () => {
  const model = await openPredicted();
  for (const [options, message] of [
    [{ speculate: "lookup", draftTokens: 0 }, /draftTokens is 0, expected an integer of at least 1, or auto/],
    [{ speculate: "sometimes" as "auto" }, /speculate is "sometimes", expected off, auto, lookup or a drafter/],
    [{ speculate: "auto", lossless: true }, /leave out speculate, or lossless/],
  ] satisfies [GenerateOptions, RegExp][]) {
    await expect(generate(model, options)).rejects.toThrow(message);
  }
  await model.close();
});
