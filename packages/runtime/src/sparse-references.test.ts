/**
 * Every family whose FFN leaves zeros, gated or not: the oracle, threshold −∞ and the dense model are one model bit for bit, and what counts as active is
 * what an independent implementation has.
 */
import { describe, expect, it } from "vitest";
import { type FixtureOptions, openFixture, readGolden, SPARSE_REFERENCES } from "./checkpoint.fixture.js";
import type { Model } from "./model.js";
import type { GenerateOptions } from "./model-options.js";
import { noisePredictor } from "./noise-predictor.fixture.js";
import { forEachLogits } from "./score.js";

const PROMPT = [2, 300, 45, 7, 499, 12, 64, 64, 3, 210];
const LEAST = Number.NEGATIVE_INFINITY;
const KV = { kvPrecision: "f32" } as const;

async function open(name: string, options: FixtureOptions): Promise<Model> {
  if (options.mode !== "predicted") return await openFixture(name, { ...KV, ...options });
  const plain = await openFixture(name);
  const predictor = noisePredictor(plain.header);
  await plain.close();
  return await openFixture(name, { ...KV, predictor, ...options });
}

/** All logits of the prompt, scored at once. */
async function scored(name: string, options: FixtureOptions): Promise<Float32Array[]> {
  const model = await open(name, options);
  const all: Float32Array[] = [];
  await forEachLogits(model, PROMPT, {}, (_, logits) => all.push(logits.slice()));
  await model.close();
  return all;
}

/** The same, decoded one by one. */
async function decoded(name: string, options: FixtureOptions): Promise<Float32Array[]> {
  const model = await open(name, options);
  const all: Float32Array[] = [];
  await model.withSequence(PROMPT.length, async (sequence) => {
    for (const token of PROMPT) all.push((await sequence.decode(token)).logits.slice());
  });
  await model.close();
  return all;
}

async function budgetsOf(name: string, options: FixtureOptions): Promise<number[]> {
  const model = await open(name, options);
  const { smallestBudgetBytes: least } = model.plan(PROMPT.length);
  await model.close();
  return [least, least + 20_000, least + 100_000];
}

async function textOf(name: string, options: FixtureOptions, how: GenerateOptions): Promise<number[]> {
  const model = await open(name, options);
  const tokens: number[] = [];
  for await (const { token } of model.generate(PROMPT, { maxTokens: 40, ignoreEos: true, ...how })) {
    if (token !== null) tokens.push(token);
  }
  await model.close();
  return tokens;
}

const EXACT: readonly FixtureOptions[] = [{ mode: "oracle" }, { mode: "predicted", threshold: LEAST }];
/** Rows of phi-tiny-relu, of 80, are no whole blocks of q4. */
const dtypesOf = (name: string) => [
  ...(["f32", "f16", "bf16", "int8"] as const),
  ...(name === "phi-tiny-relu" ? [] : (["q4"] as const)),
];
const layoutsOf = (name: string) => (UNGATED.has(name) ? (["bundled", "split"] as const) : (["bundled"] as const));
const UNGATED: ReadonlySet<string> = new Set(["phi-tiny-relu", "persimmon-tiny"]);

describe.each(SPARSE_REFERENCES)("%s", (name) => {
  it.each(dtypesOf(name))("as %s: oracle, threshold -Infinity and dense are equal bit for bit", async (dtype) => {
    const dense = await scored(name, { dtype, mode: "dense" });
    expect(await decoded(name, { dtype, mode: "dense" })).toEqual(dense);
    for (const exact of EXACT) {
      const options = { dtype, ...exact };
      expect(await scored(name, options)).toEqual(dense);
      for (const layout of layoutsOf(name)) {
        for (const dramBudgetBytes of await budgetsOf(name, { ...options, layout })) {
          expect(await decoded(name, { ...options, layout, dramBudgetBytes })).toEqual(dense);
        }
      }
    }
  });

  it("a predictor of noise is not the dense model, and decodes what it scores, reads ahead or not", async () => {
    const options: FixtureOptions = { dtype: "f16", mode: "predicted" };
    const expected = await scored(name, options);
    expect(expected).not.toEqual(await scored(name, { dtype: "f16", mode: "dense" }));
    for (const dramBudgetBytes of await budgetsOf(name, options)) {
      for (const lookahead of [false, true]) {
        for (const overlap of [false, true]) {
          expect(await decoded(name, { ...options, dramBudgetBytes, lookahead, overlap })).toEqual(expected);
        }
      }
    }
  });

  it("drafts of the sparse path and of the text leave the dense model's text", async () => {
    const expected = await textOf(name, { dtype: "f16", mode: "dense" }, {});
    const predicted: FixtureOptions = { dtype: "f16", mode: "predicted" };
    expect(await textOf(name, predicted, { lossless: true, draftTokens: 4 })).toEqual(expected);
    expect(await textOf(name, predicted, { speculate: "lookup" })).toEqual(await textOf(name, predicted, {}));
    expect(await textOf(name, { dtype: "f16", mode: "dense" }, { speculate: "lookup" })).toEqual(expected);
    const sampled = { temperature: 0.8, seed: 3 };
    expect(await textOf(name, predicted, { lossless: true, ...sampled })).toEqual(
      await textOf(name, { dtype: "f16", mode: "dense" }, sampled),
    );
  });

  it("the active neurons are the reference's, by layer and position", async () => {
    const { cases } = readGolden(name);
    for (const { tokens, activePerLayer, activeLastPosition } of cases) {
      const model = await open(name, { mode: "oracle" });
      const sets: Uint32Array[][] = activePerLayer.map(() => []);
      const observer = { named: (layer: number, named: Uint32Array) => void sets[layer]!.push(named.slice()) };
      await model.withSequence(tokens.length, async (sequence) => {
        for (const token of tokens) await sequence.decode(token, undefined, observer);
      });
      await model.close();
      expect(sets.map((layer) => layer.map(({ length }) => length))).toEqual(activePerLayer);
      expect(sets.map((layer) => [...layer.at(-1)!])).toEqual(activeLastPosition);
    }
  });
});
