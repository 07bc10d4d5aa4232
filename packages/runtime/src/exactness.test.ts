/** Invariants 1 and 2 of the design: deterministic, and exact when told to be; bit for bit, over everything that may vary. */
import { describe, expect, it } from "vitest";
import { type FixtureOptions, openFixture } from "./checkpoint.fixture.js";
import { noisePredictor } from "./noise-predictor.fixture.js";
import { forEachLogits } from "./score.js";

const PROMPT = [2, 300, 45, 7, 499, 12, 64, 64, 3, 210];

/** All logits of a sequence, scored at once. */
async function scored(name: string, options: FixtureOptions, tokens = PROMPT): Promise<Float32Array[]> {
  const model = await openFixture(name, options);
  const all: Float32Array[] = [];
  await forEachLogits(model, tokens, {}, (_, logits) => all.push(logits.slice()));
  await model.close();
  return all;
}

/** All logits of the same sequence: the first token by prefill, the others decoded one by one. */
async function decoded(name: string, options: FixtureOptions, tokens = PROMPT): Promise<Float32Array[]> {
  const model = await openFixture(name, options);
  const all = await model.withSequence(tokens.length, async (sequence) => {
    const first = await sequence.prefill(tokens.slice(0, 1));
    const rest: Float32Array[] = [first.logits];
    for (const token of tokens.slice(1)) rest.push((await sequence.decode(token)).logits.slice());
    return rest;
  });
  await model.close();
  return all;
}

async function smallestBudget(name: string, options: FixtureOptions): Promise<number> {
  const model = await openFixture(name, options);
  const { smallestBudgetBytes } = model.plan(PROMPT.length);
  await model.close();
  return smallestBudgetBytes;
}

/** One block after the other, and both at once: names before attention. */
const CASES = ["opt-tiny-sharded", "falcon-tiny-mqa"].flatMap((name) =>
  (["f32", "f16", "bf16", "int8", "q4"] as const).map((dtype) => ({ name, dtype })),
);

for (const { name, dtype } of CASES) {
  describe(`${name} as ${dtype}, logits bit for bit`, () => {
    it("at once equals token by token", async () => {
      expect(await decoded(name, { dtype })).toEqual(await scored(name, { dtype }));
    });
    it("oracle equals dense", async () => {
      const dense = await scored(name, { dtype });
      expect(await scored(name, { dtype, mode: "oracle" })).toEqual(dense);
      expect(await decoded(name, { dtype, mode: "oracle" })).toEqual(dense);
    });
    it("split layout equals bundled", async () => {
      expect(await decoded(name, { dtype, layout: "split", mode: "oracle" })).toEqual(await scored(name, { dtype }));
    });
    it("any budget equals everything resident, at the same precision of keys and values", async () => {
      const options: FixtureOptions = { dtype, mode: "oracle", kvPrecision: "f32" };
      const dense = await scored(name, { dtype, kvPrecision: "f32" });
      const smallest = await smallestBudget(name, options);
      for (const dramBudgetBytes of [smallest, smallest + 20_000, smallest + 100_000]) {
        expect(await decoded(name, { ...options, dramBudgetBytes })).toEqual(dense);
        expect(await scored(name, { ...options, dramBudgetBytes })).toEqual(dense);
        expect(await decoded(name, { ...options, mode: "dense", dramBudgetBytes: dramBudgetBytes + 50_000 })).toEqual(
          dense,
        );
      }
    });
    it("any policy and window equals any other", async () => {
      const options: FixtureOptions = { dtype, mode: "oracle", kvPrecision: "f32" };
      const dense = await scored(name, { dtype, kvPrecision: "f32" });
      const dramBudgetBytes = (await smallestBudget(name, options)) + 30_000;
      for (const policy of ["window", "lru", "pinned"] as const) {
        for (const windowTokens of [1, 2, 5]) {
          expect(await decoded(name, { ...options, dramBudgetBytes, policy, windowTokens })).toEqual(dense);
        }
      }
    });
  });
}

describe.each(["falcon-tiny-gqa", "falcon-tiny-alibi"])("%s, whose GELU leaves no zeros", (name) => {
  it("at once equals token by token bit for bit, in any budget", async () => {
    const dense = await scored(name, { kvPrecision: "f32" });
    const smallest = await smallestBudget(name, { kvPrecision: "f32" });
    for (const dramBudgetBytes of [undefined, smallest, smallest + 60_000]) {
      expect(await decoded(name, { kvPrecision: "f32", dramBudgetBytes })).toEqual(dense);
    }
  });
  it.each(["oracle", "predicted"] as const)("refuses %s mode, and says why", async (mode) => {
    const plain = await openFixture(name);
    const predictor = noisePredictor(plain.header);
    await plain.close();
    await expect(openFixture(name, { mode, predictor })).rejects.toMatchObject({
      code: "UNSUPPORTED_ACTIVATION",
      message: expect.stringContaining("no activation at zero"),
    });
  });
});

describe.each(["opt-tiny-sharded", "falcon-tiny-mqa"])("several arenas of %s", (name) => {
  it("give the same logits as one", async () => {
    const one = await decoded(name, { dtype: "f16", mode: "oracle" });
    expect(await decoded(name, { dtype: "f16", mode: "oracle", maxArenaBytes: 900_000 })).toEqual(one);
  });
});
