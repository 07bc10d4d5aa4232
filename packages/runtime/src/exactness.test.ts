/** Invariants 1 and 2 of the design: deterministic, and exact when told to be; bit for bit, over everything that may vary. */
import { describe, expect, it } from "vitest";
import { type FixtureOptions, openFixture } from "./checkpoint.fixture.js";
import { forEachLogits } from "./score.js";

const PROMPT = [2, 300, 45, 7, 499, 12, 64, 64, 3, 210];

/** All logits of a sequence, scored at once. */
async function scored(options: FixtureOptions, tokens = PROMPT): Promise<Float32Array[]> {
  const model = await openFixture("opt-tiny-sharded", options);
  const all: Float32Array[] = [];
  await forEachLogits(model, tokens, {}, (_, logits) => all.push(logits.slice()));
  await model.close();
  return all;
}

/** All logits of the same sequence: the first token by prefill, the others decoded one by one. */
async function decoded(options: FixtureOptions, tokens = PROMPT): Promise<Float32Array[]> {
  const model = await openFixture("opt-tiny-sharded", options);
  const all = await model.withSession(tokens.length, async (session) => {
    const first = await session.prefill(tokens.slice(0, 1));
    const rest: Float32Array[] = [first.logits];
    for (const token of tokens.slice(1)) rest.push((await session.decode(token)).logits.slice());
    return rest;
  });
  await model.close();
  return all;
}

async function smallestBudget(options: FixtureOptions): Promise<number> {
  const model = await openFixture("opt-tiny-sharded", options);
  const { smallestBudgetBytes } = model.plan(PROMPT.length);
  await model.close();
  return smallestBudgetBytes;
}

for (const dtype of ["f32", "f16", "bf16", "int8"] as const) {
  describe(`opt-tiny-sharded as ${dtype}, logits bit for bit`, () => {
    it("at once equals token by token", async () => {
      expect(await decoded({ dtype })).toEqual(await scored({ dtype }));
    });
    it("oracle equals dense", async () => {
      const dense = await scored({ dtype });
      expect(await scored({ dtype, mode: "oracle" })).toEqual(dense);
      expect(await decoded({ dtype, mode: "oracle" })).toEqual(dense);
    });
    it("split layout equals bundled", async () => {
      expect(await decoded({ dtype, layout: "split", mode: "oracle" })).toEqual(await scored({ dtype }));
    });
    it("any budget equals everything resident, at the same precision of keys and values", async () => {
      const options: FixtureOptions = { dtype, mode: "oracle", kvPrecision: "f32" };
      const dense = await scored({ dtype, kvPrecision: "f32" });
      const smallest = await smallestBudget(options);
      for (const dramBudgetBytes of [smallest, smallest + 20_000, smallest + 100_000]) {
        expect(await decoded({ ...options, dramBudgetBytes })).toEqual(dense);
        expect(await scored({ ...options, dramBudgetBytes })).toEqual(dense);
        expect(await decoded({ ...options, mode: "dense", dramBudgetBytes: dramBudgetBytes + 50_000 })).toEqual(dense);
      }
    });
    it("any policy and window equals any other", async () => {
      const options: FixtureOptions = { dtype, mode: "oracle", kvPrecision: "f32" };
      const dense = await scored({ dtype, kvPrecision: "f32" });
      const dramBudgetBytes = (await smallestBudget(options)) + 30_000;
      for (const policy of ["window", "lru", "pinned"] as const) {
        for (const windowTokens of [1, 2, 5]) {
          expect(await decoded({ ...options, dramBudgetBytes, policy, windowTokens })).toEqual(dense);
        }
      }
    });
  });
}

describe("several arenas", () => {
  it("give the same logits as one", async () => {
    const one = await decoded({ dtype: "f16", mode: "oracle" });
    expect(await decoded({ dtype: "f16", mode: "oracle", maxArenaBytes: 900_000 })).toEqual(one);
  });
});
