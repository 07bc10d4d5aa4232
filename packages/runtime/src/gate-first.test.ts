/** Files with resident gates: dense, oracle and gate first are one model bit for bit, whatever DRAM holds and whoever computes. */
import { describe, expect, it } from "vitest";
import { type FixtureOptions, openFixture, readGolden } from "./checkpoint.fixture.js";
import type { Model } from "./model.js";
import type { GenerateOptions } from "./model-options.js";
import { noisePredictor } from "./noise-predictor.fixture.js";
import { forEachLogits } from "./score.js";

const PROMPT = [2, 300, 45, 7, 499, 12, 64, 64, 3, 210];
/** A ReLU, a ReLU with a threshold, and two ReLUs. */
const GATED = ["llama-tiny-relu", "prosparse-tiny", "bamboo-tiny"] as const;
const FORMS = [
  { name: "llama-tiny-relu", dtype: "f16", gateDtype: "q4_0" },
  { name: "llama-tiny-relu", dtype: "q4", gateDtype: "int8" },
  { name: "prosparse-tiny", dtype: "int8", gateDtype: "q8_0" },
  { name: "bamboo-tiny", dtype: "f32", gateDtype: "f16" },
] as const;

async function open(name: string, options: FixtureOptions): Promise<Model> {
  return await openFixture(name, { kvPrecision: "f32", ...options });
}

/** All logits of the prompt, scored at once. */
async function scored(name: string, options: FixtureOptions): Promise<Float32Array[]> {
  const model = await open(name, options);
  const all: Float32Array[] = [];
  await forEachLogits(model, PROMPT, {}, (_, logits) => all.push(logits.slice()));
  await model.close();
  return all;
}

/** The same, some of it as a prompt and the rest decoded one by one. */
async function decoded(name: string, options: FixtureOptions): Promise<Float32Array[]> {
  const model = await open(name, options);
  const all = await model.withSequence(PROMPT.length, async (sequence) => {
    const first = await sequence.prefill(PROMPT.slice(0, 4));
    const rest: Float32Array[] = [first.logits.slice()];
    for (const token of PROMPT.slice(4)) rest.push((await sequence.decode(token)).logits.slice());
    return rest;
  });
  await model.close();
  return all;
}

async function budgetsOf(name: string, options: FixtureOptions): Promise<(number | undefined)[]> {
  const model = await open(name, options);
  const { smallestBudgetBytes: least } = model.plan(PROMPT.length);
  await model.close();
  return [least, least + 20_000, least + 100_000, undefined];
}

async function textOf(name: string, options: FixtureOptions, how: GenerateOptions): Promise<number[]> {
  const model = await open(name, options);
  const tokens: number[] = [];
  for await (const { token } of model.generate(PROMPT, { maxTokens: 32, ignoreEos: true, ...how })) {
    if (token !== null) tokens.push(token);
  }
  await model.close();
  return tokens;
}

it.each(FORMS)(
  "$name, gates of $gateDtype beside records of $dtype: dense, oracle and gate first are equal bit for bit",
  async ({ name, ...form }) => {
    const dense = await scored(name, { ...form, mode: "dense" });
    for (const mode of ["dense", "oracle", "gate-first"] as const) {
      expect(await scored(name, { ...form, mode })).toEqual(dense);
      for (const dramBudgetBytes of await budgetsOf(name, { ...form, mode })) {
        for (const overlap of mode === "gate-first" ? [true, false] : [true]) {
          expect(await decoded(name, { ...form, mode, dramBudgetBytes, overlap })).toEqual(dense.slice(3));
        }
      }
    }
  },
);

describe.each(GATED)("%s with resident gates", (name) => {
  it("of the records' own type: it is the model whose records have the gates, bit for bit", async () => {
    for (const dtype of ["f32", "f16", "int8"] as const) {
      const inRecords = await scored(name, { dtype, mode: "dense" });
      expect(await scored(name, { dtype, gateDtype: dtype })).toEqual(inRecords);
      expect(await decoded(name, { dtype, gateDtype: dtype })).toEqual(inRecords.slice(3));
    }
  });

  it("in records of two halves: the same bits", async () => {
    const form = { dtype: "f16", gateDtype: "q8_0" } as const;
    const dense = await scored(name, { ...form, mode: "dense" });
    for (const dramBudgetBytes of await budgetsOf(name, { ...form, layout: "split" })) {
      expect(await decoded(name, { ...form, layout: "split", dramBudgetBytes })).toEqual(dense.slice(3));
    }
  });

  it("any policy and window gives the same bits", async () => {
    const form = { dtype: "f16", gateDtype: "q4_0" } as const;
    const dense = await scored(name, { ...form, mode: "dense" });
    const dramBudgetBytes = (await budgetsOf(name, form))[1];
    for (const policy of ["window", "lru", "pinned"] as const) {
      for (const windowTokens of [1, 3]) {
        expect(await decoded(name, { ...form, dramBudgetBytes, policy, windowTokens })).toEqual(dense.slice(3));
      }
    }
  });

  it("names exactly what the reference has active, where its gates are as precise", async () => {
    const { cases } = readGolden(name);
    for (const { tokens, activePerLayer, activeLastPosition } of cases) {
      const model = await open(name, { dtype: "f32", gateDtype: "f32", mode: "gate-first" });
      const sets: Uint32Array[][] = activePerLayer.map(() => []);
      const observer = { named: (layer: number, named: Uint32Array) => void sets[layer]!.push(named.slice()) };
      await model.withSequence(tokens.length, async (sequence) => {
        for (const token of tokens) await sequence.decode(token, undefined, observer);
      });
      const { upActivation } = model.header.geometry.layers[0]!.ffn;
      await model.close();
      for (const [layer, active] of activeLastPosition.entries()) {
        const named = sets[layer]!.at(-1)!;
        // Of dReLU some have an open gate and a closed up projection.
        if (upActivation === "none") expect([...named]).toEqual([...active]);
        else expect([...named]).toEqual(expect.arrayContaining([...active]));
      }
    }
  });

  it("is the default, and names fewer neurons than there are", async () => {
    const model = await open(name, { dtype: "f16", gateDtype: "q8_0" });
    expect(model.mode).toBe("gate-first");
    const { layers } = model.header.geometry;
    const stats = await model.withSequence(PROMPT.length, async (sequence) => {
      await sequence.prefill(PROMPT.slice(0, -1));
      return (await sequence.decode(PROMPT.at(-1)!)).stats;
    });
    await model.close();
    expect(stats.neuronsNamed).toBeGreaterThan(0);
    expect(stats.neuronsNamed).toBeLessThan(layers.length * layers[0]!.ffn.dFf);
  });

  it("drafts from the text leave the text as it is, and a predictor can draft for the dense model", async () => {
    const form = { dtype: "f16", gateDtype: "q4_0" } as const;
    const expected = await textOf(name, { ...form, mode: "dense" }, {});
    expect(await textOf(name, { ...form, mode: "gate-first" }, {})).toEqual(expected);
    expect(await textOf(name, { ...form, mode: "gate-first" }, { speculate: "lookup" })).toEqual(expected);
    const plain = await open(name, form);
    const predictor = noisePredictor(plain.header);
    await plain.close();
    const predicted = { ...form, mode: "predicted", predictor } as const;
    expect(await textOf(name, predicted, { lossless: true, draftTokens: 4 })).toEqual(expected);
  });
});

it("gate-first mode of a file whose gates are in its records is refused, and says why", async () => {
  await expect(openFixture("llama-tiny-relu", { mode: "gate-first" })).rejects.toMatchObject({
    code: "UNSUPPORTED_FEATURE",
    message: expect.stringContaining("--gate-first"),
  });
});

it.each([
  ["opt-tiny-sharded", "neurons without one"],
  ["llama-tiny", "silu"],
])("%s gets no resident gates: found %s", async (name, found) => {
  await expect(openFixture(name, { gateDtype: "q8_0" })).rejects.toMatchObject({
    code: "UNSUPPORTED_FEATURE",
    message: expect.stringContaining(found),
  });
});
