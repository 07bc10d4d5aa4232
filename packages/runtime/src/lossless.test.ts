/** The sparse path drafts and the dense model verifies: the text is the dense model's, token by token, greedy or sampled. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { memorySource, type PredictorSource, type RecordDType, type RunStats } from "@flashwick/core";
import { openPredictorFile } from "@flashwick/flash-format";
import { describe, expect, it } from "vitest";
import { modelBytes, openFixture } from "./checkpoint.fixture.js";
import type { Model } from "./model.js";
import type { GenerateOptions } from "./model-options.js";
import { noisePredictor } from "./noise-predictor.fixture.js";

const TOKENS = 512;
const PROMPT = [2, 300, 45, 7, 499];
const SAMPLINGS: readonly GenerateOptions[] = [
  { temperature: 0 },
  ...[1, 2, 3].map((seed) => ({ temperature: 0.8, seed })),
];

async function shippedPredictor(name: string): Promise<PredictorSource> {
  const path = `../../demo-models/models/${name}/${name}.predictor.gguf`;
  return await openPredictorFile(memorySource(readFileSync(fileURLToPath(new URL(path, import.meta.url))), name));
}

async function generate(model: Model, options: GenerateOptions): Promise<{ tokens: number[]; stats: RunStats }> {
  const tokens: number[] = [];
  const run = model.generate(PROMPT, { maxTokens: TOKENS, ignoreEos: true, ...options });
  for (;;) {
    const next = await run.next();
    if (next.done) return { tokens, stats: next.value.stats };
    if (next.value.token !== null) tokens.push(next.value.token);
  }
}

/** The precision that the smallest of the budgets has room for; where it is `auto`, a budget may change it, and with it dense runs, too. */
const KV = { kvPrecision: "int8" } as const;
/** Tens of thousands of tokens. */
const PATIENCE_MS = 600_000;

describe.each(["opt-demo", "falcon-demo"])("%s", (name) => {
  const title = "as %s: 512 tokens, greedy and by three seeds, equal the dense run's";
  it.each<RecordDType>(["f16", "int8"])(title, { timeout: PATIENCE_MS }, async (dtype) => {
    const dense = await openFixture(name, { dtype, ...KV, mode: "dense" });
    const expected: number[][] = [];
    for (const sampling of SAMPLINGS) expected.push((await generate(dense, sampling)).tokens);
    await dense.close();
    const fileBytes = (await modelBytes(name, dtype)).length;
    const predictor = await shippedPredictor(name);
    for (const share of [0.6, 1]) {
      const model = await openFixture(name, { dtype, ...KV, predictor, dramBudgetBytes: share * fileBytes });
      for (const [i, sampling] of SAMPLINGS.entries()) {
        const { tokens, stats } = await generate(model, { ...sampling, lossless: true, draftTokens: 6 });
        expect(tokens).toEqual(expected[i]);
        const { drafter, drafted, accepted, steps } = stats.speculation!;
        expect(drafter).toBe("sparse");
        // Every token but the last is one of a step: an accepted draft, or the one that is chosen after those.
        expect(accepted + steps).toBeGreaterThanOrEqual(TOKENS - 1);
        expect(drafted).toBeGreaterThanOrEqual(accepted);
      }
      await model.close();
    }
  });
});

describe("a predictor of noise", () => {
  const NAME = "opt-tiny-sharded";
  const SHORT = { maxTokens: 60 };

  async function open(options: Parameters<typeof openFixture>[1] = {}) {
    const plain = await openFixture(NAME);
    await plain.close();
    return await openFixture(NAME, { ...KV, predictor: noisePredictor(plain.header), ...options });
  }

  it("drafts badly, and the text is the dense model's all the same, however many drafts", async () => {
    const dense = await open({ mode: "dense", predictor: null });
    const sampled = { ...SHORT, temperature: 1, seed: 5 };
    const expected = (await generate(dense, sampled)).tokens;
    await dense.close();
    const model = await open();
    for (const draftTokens of ["auto", 1, 2, 5, 40] as const) {
      expect((await generate(model, { ...sampled, lossless: true, draftTokens })).tokens).toEqual(expected);
    }
    expect((await generate(model, sampled)).tokens).not.toEqual(expected);
    await model.close();
  });
  it("a budget that has room for one token at a time drafts nothing, and still works", async () => {
    const probe = await open();
    const { smallestBudgetBytes } = probe.plan(PROMPT.length + SHORT.maxTokens);
    await probe.close();
    const model = await open({ dramBudgetBytes: smallestBudgetBytes });
    const { tokens, stats } = await generate(model, { ...SHORT, lossless: true });
    expect(stats.speculation).toMatchObject({ drafted: 0, accepted: 0 });
    const dense = await open({ mode: "dense", predictor: null });
    expect(tokens).toEqual((await generate(dense, SHORT)).tokens);
    await dense.close();
    await model.close();
  });
  it("after an abort in the middle of drafting the same model goes on, with the same text", async () => {
    const model = await open();
    const expected = (await generate(model, { ...SHORT, lossless: true })).tokens;
    for (const steps of [1, 7, 30]) {
      const controller = new AbortController();
      const reason = new Error("enough");
      let named = 0;
      const observer = { named: () => void (++named === 3 * steps && controller.abort(reason)) };
      const aborted = generate(model, {
        ...SHORT,
        lossless: true,
        observer,
        signal: controller.signal,
        draftTokens: 4,
      });
      // What verifies names nothing: only drafts do, which the observer does not see.
      await aborted.catch((error) => expect(error).toBe(reason));
      expect((await generate(model, { ...SHORT, lossless: true })).tokens).toEqual(expected);
    }
    await model.close();
  });
  it("is refused where the output depends on the cache, or nothing is predicted", async () => {
    const lenient = await open({ residentMargin: 1 });
    await expect(generate(lenient, { lossless: true })).rejects.toThrow(/residentMargin 1/);
    await expect(generate(lenient, { speculate: "auto" })).rejects.toThrow(/residentMargin 1/);
    await lenient.close();
    const dense = await open({ mode: "dense", predictor: null });
    await expect(generate(dense, { lossless: true })).rejects.toThrow(
      /needs a predictor or a pruning plan, but the mode is dense/,
    );
    await dense.close();
  });
});
