/**
 * Mixtures of experts against saved references of an independent implementation (transformers, float32), from checkpoints and from files of llama.cpp's.
 * gpt-oss.gguf is written as llama.cpp's converter does, in BF16, and holds without loss the checkpoint whose reference is named.
 */
import { describe, expect, it } from "vitest";
import { type FixtureOptions, type Golden, ggufBytes, openModelBytes, readGolden } from "./checkpoint.fixture.js";
import type { ForwardObserver } from "./forward-observer.js";
import { expectGreedy, farthestLogit } from "./golden.fixture.js";
import type { Model } from "./model.js";
import type { GenerateOptions } from "./model-options.js";
import { scoreTokens } from "./score.js";
import { ModelDrafter } from "./speculation/model-drafter.js";

/** Activations are rounded to 15 bits before they meet blocks. */
const BLOCKS = { tolerance: 2e-2, margin: 0.05 };

/** float32 in another order of summation. */
const FLOATS = { tolerance: 2e-3, margin: 0.01 };

const FILES = [
  ...["mixtral", "olmoe", "qwen3moe"].map((file) => ({ file, name: `gguf-${file}`, ...BLOCKS })),
  { file: "gpt-oss", name: "gpt-oss-tiny", ...FLOATS },
];

const MODELS = [
  ...FILES.map(({ file, ...reference }) => ({
    ...{ ...reference, title: `${file}.gguf` },
    open: (options: FixtureOptions) => openModelBytes(ggufBytes(file), file, options),
  })),
];

async function logitsOf(model: Model, tokens: readonly number[]): Promise<number[]> {
  const scored = await scoreTokens(model, tokens, { top: 8, probe: [1, 2, 3] });
  return scored.flatMap(({ logSumExp, top, probe }) => [logSumExp, ...top.flat(), ...probe.flat()]);
}

/** The bits of every token's logits, in steps of these. */
async function allLogits(model: Model, steps: readonly (readonly number[])[]): Promise<string[]> {
  const all: string[] = [];
  const onLogits = (_: number, logits: Float32Array) =>
    void all.push(Buffer.from(logits.slice().buffer).toString("hex"));
  await model.withSequence(32, async (sequence) => {
    for (const tokens of steps) await sequence.extend(tokens, { logits: "all", onLogits });
  });
  return all;
}

async function generatedTokens(model: Model, prompt: readonly number[], options: GenerateOptions): Promise<number[]> {
  const tokens: number[] = [];
  for await (const { token } of model.generate(prompt, { maxTokens: 40, ignoreEos: true, ...options })) {
    if (token !== null) tokens.push(token);
  }
  return tokens;
}

describe.each(MODELS)("$title", ({ name, open, tolerance, margin }) => {
  const golden: Golden = readGolden(name);

  it.each(["reference", "wasm"] as const)(
    `on %s gives the reference's logits within ${tolerance}`,
    async (backend) => {
      const model = await open({ backend });
      for (const { tokens, positions } of golden.cases) {
        expect(await farthestLogit(model, tokens, positions, margin)).toBeLessThan(tolerance);
      }
      await model.close();
    },
    60_000,
  );

  it(`continues greedily as the reference does where its margin exceeds ${margin}`, async () => {
    const model = await open({});
    await expectGreedy(model, golden, margin);
    await model.close();
  });

  it("streamed gives the bits of resident, in every budget from the smallest on, with every policy", async () => {
    const tokens = golden.cases.at(-1)!.tokens.slice(0, 24);
    const options = { contextTokens: 32, kvPrecision: "f32" as const };
    const resident = await open(options);
    const expected = await logitsOf(resident, tokens);
    await resident.close();
    for (const [share, cacheScope, policy] of [
      [0, "layer", "window"],
      [0, "pool", "least-stale"],
      [0.2, "layer", "lfu"],
      [0.3, "pool", "lru"],
      [0.5, "layer", "s3-fifo"],
      [0.6, "pool", "lfu"],
      [0.9, "layer", "pinned"],
    ] as const) {
      const whole = await open({ ...options, cacheScope });
      // A pool's slots are all of the largest expert's size.
      const { smallestBudgetBytes, dram } = whole.plan(32);
      await whole.close();
      const dramBudgetBytes = Math.ceil(smallestBudgetBytes + share * (dram.total - smallestBudgetBytes));
      const model = await open({ ...options, dramBudgetBytes, cacheScope, policy });
      expect(await logitsOf(model, tokens), `${share} ${cacheScope} ${policy}`).toEqual(expected);
      await model.close();
    }
  });

  it("a token by itself has the bits that it has in a batch, whatever DRAM holds and whoever looks ahead", async () => {
    const tokens = golden.cases.at(-1)!.tokens.slice(0, 16);
    const options = { contextTokens: 32, kvPrecision: "f32" as const };
    const resident = await open(options);
    const together = await allLogits(resident, [tokens]);
    await resident.close();
    for (const more of [
      {},
      { lookahead: true },
      { lookahead: true, cacheScope: "pool" },
      { overlap: false },
    ] as const) {
      const whole = await open({ ...options, ...more });
      const { smallestBudgetBytes, dram } = whole.plan(32);
      await whole.close();
      for (const share of [0, 0.4]) {
        const dramBudgetBytes = Math.ceil(smallestBudgetBytes + share * (dram.total - smallestBudgetBytes));
        const model = await open({ ...options, dramBudgetBytes, ...more });
        const apart = await allLogits(
          model,
          tokens.map((token) => [token]),
        );
        expect(apart, `${share} ${JSON.stringify(more)}`).toEqual(together);
        await model.close();
      }
    }
  });

  it("an observer hears a token's experts while the cache is as it was before: those it lacks are the misses", async () => {
    const tokens = golden.cases.at(-1)!.tokens.slice(0, 24);
    const options = { contextTokens: 32, kvPrecision: "f32" as const };
    const whole = await open(options);
    const { smallestBudgetBytes, dram } = whole.plan(32);
    await whole.close();
    const dramBudgetBytes = Math.ceil((smallestBudgetBytes + dram.total) / 2);
    const model = await open({ ...options, dramBudgetBytes });
    let [used, missing] = [0, 0];
    const named: ForwardObserver["named"] = (layer, experts, engine) => {
      const held = new Set(engine.residentNeurons(layer));
      used += experts.length;
      missing += experts.filter((expert) => !held.has(expert)).length;
    };
    const counted = await model.withSequence(32, async (sequence) => {
      let [hits, misses] = [0, 0];
      for (const token of tokens) {
        const { stats } = await sequence.decode(token, undefined, { named });
        hits += stats.cacheHits;
        misses += stats.cacheMisses;
      }
      return { hits, misses };
    });
    expect(counted).toEqual({ hits: used - missing, misses: missing });
    expect(missing).toBeGreaterThan(0);
    expect(missing).toBeLessThan(used);
    await model.close();
  });

  it("drafts leave the text as it is", async () => {
    const prompt = golden.cases.at(-1)!.tokens.slice(0, 20);
    const options = { contextTokens: 64, kvPrecision: "f16" as const };
    const resident = await open(options);
    const { smallestBudgetBytes, dram } = resident.plan(64);
    const dramBudgetBytes = Math.ceil((smallestBudgetBytes + dram.total) / 2);
    const streamed = await open({ ...options, dramBudgetBytes });
    const drafter = new ModelDrafter(await open(options), streamed);
    for (const sampling of [{ temperature: 0 }, { temperature: 0.8, seed: 4 }]) {
      const plain = await generatedTokens(resident, prompt, sampling);
      for (const speculate of ["lookup", drafter] as const) {
        expect(await generatedTokens(streamed, prompt, { ...sampling, speculate, draftTokens: 4 })).toEqual(plain);
      }
    }
    for (const opened of [resident, drafter, streamed]) await opened.close();
  });
});
