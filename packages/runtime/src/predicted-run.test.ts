/** The cost model's word, held against the engine: bytes and reads, which no clock disturbs. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { isFlashwickError, memorySource, type Predictor } from "@flashwick/core";
import { readPredictorFile } from "@flashwick/flash-format";
import { beforeAll, describe, expect, it } from "vitest";
import { type FixtureOptions, ggufBytes, openFixture, openModelBytes } from "./checkpoint.fixture.js";
import { measureSparsity } from "./measure-sparsity.js";
import { Model } from "./model.js";
import { profile } from "./profile.fixture.js";

const demo = fileURLToPath(new URL("../../demo-models/", import.meta.url));
/** Enough tokens for a mean: one token names up to twice as many neurons as another. */
const LENGTH = { promptTokens: 32, warmUpTokens: 32, decodeTokens: 192 };
const TOKENS = LENGTH.promptTokens + LENGTH.warmUpTokens + LENGTH.decodeTokens;
const MiB = 2 ** 20;

let predictor: Predictor;
let words: number[];
beforeAll(async () => {
  const bytes = new Uint8Array(readFileSync(`${demo}models/opt-demo/opt-demo.predictor.gguf`));
  predictor = await readPredictorFile(memorySource(bytes, "opt-demo.predictor.gguf"));
  const model = await openFixture("opt-demo");
  words = model.tokenizer.encode(readFileSync(`${demo}texts/evaluation.txt`, "utf8"), true).slice(4000, 4000 + TOKENS);
  await model.close();
});

async function openDemo(options: FixtureOptions): Promise<Model> {
  const plain = await openFixture("opt-demo", { dtype: "f16", predictor, kvPrecision: "int8", ...options });
  return new Model({ ...plain.parts, profile, overlap: false }, { ...plain.options, predictor } as FixtureOptions);
}

/** Flash bytes and reads of a decoded token, on average. */
async function decode(
  model: Model,
): Promise<{ bytes: number; reads: number; predicted: ReturnType<Model["predict"]> }> {
  const recorded = await measureSparsity(model, [words], { source: "the text itself" });
  return await model.withSequence(TOKENS, async (sequence) => {
    await sequence.prefill(words.slice(0, LENGTH.promptTokens));
    let [bytes, reads] = [0, 0];
    for (const [i, token] of words.slice(LENGTH.promptTokens).entries()) {
      const { stats } = await sequence.decode(token);
      if (i < LENGTH.warmUpTokens) continue;
      bytes += stats.flashBytes / LENGTH.decodeTokens;
      reads += stats.flashReads / LENGTH.decodeTokens;
    }
    return { bytes, reads, predicted: model.predict(sequence.engine.parts.plan, LENGTH, { sparsity: recorded }) };
  });
}

describe("Model.predict of a file of llama.cpp's whose layers stream", () => {
  it.each(["llama", "qwen3", "gemma3", "falcon-7b"])("names the engine's bytes and reads: %s", async (name) => {
    const contextTokens = 24;
    const open = (budget: object) => openModelBytes(ggufBytes(name), name, { contextTokens, ...budget });
    const resident = await open({});
    const { smallestBudgetBytes, dram } = resident.plan(contextTokens);
    await resident.close();
    let streamed = 0;
    for (const share of [0, 0.3, 0.6]) {
      const dramBudgetBytes = Math.ceil(smallestBudgetBytes + share * (dram.total - smallestBudgetBytes));
      const plain = await open({ dramBudgetBytes });
      const model = new Model({ ...plain.parts, profile, overlap: false }, plain.options);
      await model.withSequence(contextTokens, async (sequence) => {
        await sequence.prefill([1, 2, 3]);
        const { stats } = await sequence.decode(4);
        const length = { promptTokens: 3, decodeTokens: 1 };
        const { plan } = sequence.engine.parts;
        const predicted = model.predict(plan, length)!;
        // Of an embedding that is not resident a token reads a row, which nobody prices.
        const embedding = model.header.tensors.get("token_embd.weight")!;
        const isByRow = !model.header.geometry.head.tied && !plan.rowTablesResident;
        const rowBytes = isByRow ? embedding.sizeBytes / embedding.rows : 0;
        expect(predicted.readsPerToken).toBe(stats.flashReads - (isByRow ? 1 : 0));
        // A reader of memory widens no read to sectors.
        expect(predicted.flashBytesPerToken).toBe(stats.flashBytes - rowBytes);
        streamed += stats.flashBytes;
      });
      await model.close();
    }
    expect(streamed).toBeGreaterThan(0);
  });
});

describe("Model.predict", () => {
  it.each([
    ["60 % of the file", { dramBudgetBytes: 9 * MiB }],
    ["70 %", { dramBudgetBytes: 10.5 * MiB }],
    ["80 %", { dramBudgetBytes: 12 * MiB }],
    ["70 %, a window of four", { dramBudgetBytes: 10.5 * MiB, windowTokens: 4 }],
    ["70 %, least recently used", { dramBudgetBytes: 10.5 * MiB, policy: "lru" as const }],
    ["70 %, over gaps", { dramBudgetBytes: 10.5 * MiB, mergeGapBytes: 4096 }],
    ["70 %, split records", { dramBudgetBytes: 10.5 * MiB, layout: "split" as const }],
  ])(
    "flash bytes and reads within 8 % of the engine's, from a recording of the text: %s",
    { timeout: 60_000 },
    async (_, options) => {
      const model = await openDemo(options);
      const { bytes, reads, predicted } = await decode(model);
      await model.close();
      expect(Math.abs(predicted!.flashBytesPerToken / bytes - 1)).toBeLessThan(0.08);
      expect(Math.abs(predicted!.readsPerToken / reads - 1)).toBeLessThan(0.08);
    },
  );
  it.each([
    ["60 % of the file", { dramBudgetBytes: 9 * MiB }],
    ["80 %, a window of four", { dramBudgetBytes: 12 * MiB, windowTokens: 4 }],
    [
      "70 %, least recently used, over gaps",
      { dramBudgetBytes: 10.5 * MiB, policy: "lru" as const, mergeGapBytes: 4096 },
    ],
    ["70 %, split records", { dramBudgetBytes: 10.5 * MiB, layout: "split" as const }],
  ])(
    "a recording replayed gives the engine's flash bytes and reads within one per cent: %s",
    { timeout: 60_000 },
    async (_, options) => {
      const model = await openDemo(options);
      const byLayer: Uint32Array[][] = Array.from({ length: model.header.geometry.layers.length }, () => []);
      const onNamed = (layer: number, named: Uint32Array) => void byLayer[layer]!.push(named);
      await measureSparsity(model, [words], { source: "the text itself", onNamed });
      const sets = words.map((_, t) => byLayer.map((of) => of[t]!));
      const { promptTokens, warmUpTokens } = LENGTH;
      const counted = await model.withSequence(TOKENS, async (sequence) => {
        await sequence.prefill(words.slice(0, promptTokens));
        let [bytes, reads] = [0, 0];
        for (const [i, token] of words.slice(promptTokens).entries()) {
          const { stats } = await sequence.decode(token);
          if (i < warmUpTokens) continue;
          bytes += stats.flashBytes / LENGTH.decodeTokens;
          reads += stats.flashReads / LENGTH.decodeTokens;
        }
        const replayed = model.replay(sequence.engine.parts.plan, { sets, promptTokens }, warmUpTokens)!;
        return { bytes, reads, replayed };
      });
      await model.close();
      const { bytes, reads, replayed } = counted;
      // The prompt was recorded sparse and prefilled dense: keys and values differ a little, and with them some sets.
      expect(Math.abs(replayed.flashBytesPerToken / bytes - 1)).toBeLessThan(0.01);
      expect(Math.abs(replayed.readsPerToken / reads - 1)).toBeLessThan(0.01);
      expect(replayed.tokenMs).toBeGreaterThan(0);
      expect(replayed.tokenMsQuantiles.p99).toBeGreaterThanOrEqual(replayed.tokenMsQuantiles.p50);
    },
  );
  it("says nothing without a profile, nor of a predictor whose habits nobody knows", async () => {
    const model = await openDemo({});
    const plan = model.plan(64);
    expect(model.predict(plan, LENGTH)).not.toBeNull();
    expect(new Model({ ...model.parts, profile: null }).predict(plan, LENGTH)).toBeNull();
    const unknown = { ...model.parts, predictor: { ...predictor, sparsity: null } };
    expect(new Model(unknown).predict(plan, LENGTH)).toBeNull();
    await model.close();
  });
});

describe("the smallest budget", () => {
  it("that a plan names works in the engine, and one KiB less is refused with that number", async () => {
    const smallest = (await openDemo({})).plan(40).smallestBudgetBytes;
    const model = await openDemo({ dramBudgetBytes: smallest });
    // Memories grow by pages of 64 KiB.
    const result = await model.withSequence(40, async (sequence) => {
      const { logits } = await sequence.prefill(words.slice(0, 8));
      for (const token of words.slice(8, 12)) await sequence.decode(token);
      return { logits, arenaBytes: sequence.engine.arenaBytes };
    });
    expect(result.logits.every(Number.isFinite)).toBe(true);
    expect(result.arenaBytes).toBeLessThanOrEqual(smallest + 65536);
    await model.close();
    const refusal = await openDemo({ dramBudgetBytes: smallest - 1024 })
      .then(async (small) => small.withSequence(40, async () => null))
      .catch((error: unknown) => error);
    expect(isFlashwickError(refusal) && [refusal.code, refusal.details.smallestBudgetBytes]).toEqual([
      "BUDGET_TOO_SMALL",
      smallest,
    ]);
  });
});
