/**
 * Mixtures of experts against saved references of an independent implementation (transformers, float32), from checkpoints and from files of llama.cpp's.
 */
import { describe, expect, it } from "vitest";
import { type FixtureOptions, type Golden, ggufBytes, openModelBytes, readGolden } from "./checkpoint.fixture.js";
import { expectGreedy, farthestLogit } from "./golden.fixture.js";
import type { Model } from "./model.js";
import { scoreTokens } from "./score.js";

/** Activations are rounded to 15 bits before they meet blocks. */
const BLOCKS = { tolerance: 2e-2, margin: 0.05 };

const FILES = ["mixtral", "olmoe", "qwen3moe"];

const MODELS = [
  ...FILES.map((name) => ({
    ...{ name: `gguf-${name}`, title: `${name}.gguf`, ...BLOCKS },
    open: (options: FixtureOptions) => openModelBytes(ggufBytes(name), name, options),
  })),
];

async function logitsOf(model: Model, tokens: readonly number[]): Promise<number[]> {
  const scored = await scoreTokens(model, tokens, { top: 8, probe: [1, 2, 3] });
  return scored.flatMap(({ logSumExp, top, probe }) => [logSumExp, ...top.flat(), ...probe.flat()]);
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

  it("a token by itself has the bits that it has in a batch", async () => {
    const tokens = golden.cases.at(-1)!.tokens.slice(0, 12);
    const model = await open({ contextTokens: 32 });
    const together: Float32Array[] = [];
    const apart: Float32Array[] = [];
    await model.withSequence(tokens.length, async (sequence) => {
      const keep = (into: Float32Array[]) => ({
        logits: "all" as const,
        onLogits: (_: number, logits: Float32Array) => void into.push(logits.slice()),
      });
      await sequence.extend(tokens, keep(together));
      sequence.rollback(0);
      for (const token of tokens) await sequence.extend([token], keep(apart));
    });
    expect(apart).toEqual(together);
    await model.close();
  });
});
