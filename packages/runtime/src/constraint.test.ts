/** Texts under a grammar, and log probabilities: alone, with drafts of every kind, and beside others. */
import { describe, expect, it } from "vitest";
import { openFixture } from "./checkpoint.fixture.js";
import type { GeneratedToken } from "./generation.js";
import type { Model } from "./model.js";
import type { GenerateOptions } from "./model-options.js";
import { noisePredictor } from "./noise-predictor.fixture.js";
import { scoreTokens } from "./score.js";
import { readText } from "./serving/serving.fixture.js";
import { ModelDrafter } from "./speculation/model-drafter.js";
import { TurningGrammar } from "./turning-grammar.fixture.js";

const NAME = "opt-tiny-sharded";
const KV = { contextTokens: 96, kvPrecision: "f16" } as const;
/** Ends as it began, so that there is something to look up. */
const PROMPT = [5, 9, 77, 3, 12, 60, 5, 9, 77, 3, 12];
const SAMPLINGS: readonly GenerateOptions[] = [{ temperature: 0 }, { temperature: 0.9, seed: 4 }];

async function generate(model: Model, options: GenerateOptions) {
  const items: GeneratedToken[] = [];
  const run = model.generate(PROMPT, { maxTokens: 60, ignoreEos: true, ...options });
  for (;;) {
    const next = await run.next();
    if (next.done) return { ...next.value, logprobs: items.flatMap(({ logprob }) => logprob ?? []) };
    items.push(next.value);
  }
}

const openDense = () => openFixture(NAME, { ...KV, mode: "dense", maxSequences: 2 });

async function openPredicted(): Promise<Model> {
  const plain = await openFixture(NAME);
  await plain.close();
  return await openFixture(NAME, { ...KV, predictor: noisePredictor(plain.header), maxSequences: 2 });
}

/** The kinds of drafts, each with a model that takes them. */
const DRAFTS: readonly (readonly [string, () => Promise<Model>, (model: Model) => Promise<GenerateOptions>])[] = [
  ["lookup, dense", openDense, async () => ({ speculate: "lookup", draftTokens: 4 })],
  ["lookup, predicted", openPredicted, async () => ({ speculate: "lookup", draftTokens: 4 })],
  ["the sparse path", openPredicted, async () => ({ lossless: true, draftTokens: 4 })],
  [
    "another model",
    openDense,
    async (model) => ({
      speculate: new ModelDrafter(await openFixture(NAME, { dtype: "int8", kvPrecision: "f16" }), model),
      draftTokens: 4,
    }),
  ],
];

describe.each(DRAFTS)("drafts by %s", (_, open, optionsOf) => {
  it.each(SAMPLINGS)("follow the grammar, and the text is the undrafted one: %o", async (sampling) => {
    const model = await open();
    const drafting = await optionsOf(model);
    const undrafted = drafting.lossless ? await openDense() : model;
    const plain = await generate(undrafted, { ...sampling, constraint: new TurningGrammar(40) });
    const constraint = new TurningGrammar(40);
    const { tokens, finishReason, stats } = await generate(model, { ...sampling, ...drafting, constraint });
    expect(tokens).toEqual(plain.tokens);
    expect(tokens.map((token) => token % 3)).toEqual(tokens.map((_, i) => i % 3));
    expect([tokens.length, finishReason]).toEqual([40, "eos"]);
    expect(constraint.accepted).toEqual(tokens);
    const { drafted, accepted } = stats.speculation!;
    expect(accepted).toBeLessThanOrEqual(drafted);
    if (typeof drafting.speculate === "object") await drafting.speculate.close();
    for (const opened of new Set([model, undrafted])) await opened.close();
  });
});

it("drafts of a model are chosen under the grammar, and taken back", async () => {
  const model = await openDense();
  const drafter = new ModelDrafter(await openFixture(NAME, { dtype: "int8", kvPrecision: "f16" }), model);
  const constraint = new TurningGrammar(40);
  const { stats } = await generate(model, { speculate: drafter, draftTokens: 4, constraint });
  expect(constraint.rolledBack).toBeGreaterThan(stats.speculation!.accepted);
  expect(stats.speculation!.accepted).toBeGreaterThan(0);
  await drafter.close();
  await model.close();
});

it("a text ends where the grammar lets it end, and where nothing else may follow", async () => {
  const model = await openDense();
  const { geometry } = model.header;
  const { eosTokenId } = geometry;
  const long = await generate(model, { constraint: new TurningGrammar(7) });
  expect([long.tokens.length, long.finishReason]).toEqual([7, "eos"]);
  const cut = await generate(model, { constraint: new TurningGrammar(7), maxTokens: 5 });
  expect([cut.tokens.length, cut.finishReason]).toEqual([5, "length"]);
  expect(cut.tokens).toEqual(long.tokens.slice(0, 5));
  const ends = new TurningGrammar(30, eosTokenId);
  const { tokens } = await generate(model, { constraint: ends, temperature: 3, seed: 1, ignoreEos: false });
  expect(tokens).not.toContain(eosTokenId);
  expect(ends.accepted).toEqual(tokens);
  await model.close();
});

it("a grammar that allows nothing is an error that says so", async () => {
  const model = await openDense();
  const constraint = new TurningGrammar(40);
  constraint.mask = (logits) => void (constraint.accepted.length === 4 && logits.fill(Number.NEGATIVE_INFINITY));
  constraint.accept = (token) => void constraint.accepted.push(token);
  await expect(generate(model, { constraint })).rejects.toMatchObject({
    code: "INPUT_INVALID",
    message: expect.stringMatching(/allows no token after 4 tokens of text/),
  });
  await model.close();
});

describe("log probabilities", () => {
  it("are the model's own, whatever chose the token: as its scores say", async () => {
    const model = await openDense();
    for (const options of [...SAMPLINGS, { constraint: new TurningGrammar(60) }]) {
      const { tokens, logprobs } = await generate(model, { ...options, topLogprobs: 3, maxTokens: 20 });
      const scored = await scoreTokens(model, [...PROMPT, ...tokens], { top: 3 });
      expect(logprobs.map(({ token }) => token)).toEqual(tokens);
      for (const [i, { logprob, top }] of logprobs.entries()) {
        const before = scored[PROMPT.length - 1 + i]!;
        expect(logprob).toBe(scored[PROMPT.length + i]!.logprob);
        expect(top).toEqual(before.top.map(([token, logit]) => ({ token, logprob: logit - before.logSumExp })));
      }
    }
    await model.close();
  });

  it("of drafted tokens are those of undrafted ones; none are given unless they are wanted", async () => {
    const model = await openDense();
    const plain = await generate(model, { topLogprobs: 2 });
    const drafted = await generate(model, { topLogprobs: 2, speculate: "lookup", draftTokens: 4 });
    expect(drafted.logprobs).toEqual(plain.logprobs);
    expect(plain.logprobs.length).toBe(60);
    expect((await generate(model, { topLogprobs: 0 })).logprobs.every(({ top }) => top.length === 0)).toBe(true);
    expect((await generate(model, {})).logprobs).toEqual([]);
    await expect(generate(model, { topLogprobs: 513 })).rejects.toThrow(
      /topLogprobs is 513, expected an integer from 0/,
    );
    await model.close();
  });
});

describe("beside other texts", () => {
  it("grammars and log probabilities are each text's own", async () => {
    const model = await openPredicted();
    const options = { ignoreEos: true, temperature: 0.9, topLogprobs: 2 };
    const alone = [
      await generate(model, { ...options, constraint: new TurningGrammar(40) }),
      await generate(model, options),
    ];
    const scheduler = await model.openScheduler();
    const constraints = [new TurningGrammar(40), undefined];
    const served = await Promise.all(
      constraints.map(async (constraint) => {
        const logprobs: unknown[] = [];
        const request = { ...options, prompt: PROMPT, maxTokens: 60, ...(constraint && { constraint }) };
        const onToken = ({ logprob }: { readonly logprob: unknown }) => void (logprob && logprobs.push(logprob));
        return { ...(await readText(scheduler.generate(request), onToken)), logprobs };
      }),
    );
    for (const [i, { tokens, finishReason, logprobs }] of served.entries()) {
      const { tokens: expected, finishReason: reason, logprobs: expectedLogprobs } = alone[i]!;
      expect({ tokens, finishReason, logprobs }).toEqual({
        ...{ tokens: expected, finishReason: reason, logprobs: expectedLogprobs },
      });
    }
    expect(constraints[0]!.accepted).toEqual(served[0]!.tokens);
    await scheduler.close();
    await model.close();
  });

  it("a grammar that fails ends its own text only", async () => {
    const model = await openDense();
    const scheduler = await model.openScheduler();
    const constraint = new TurningGrammar(40);
    const broken = new Error("the grammar is broken");
    constraint.mask = () => {
      if (constraint.accepted.length === 3) throw broken;
    };
    constraint.accept = (token) => void constraint.accepted.push(token);
    const request = { prompt: PROMPT, maxTokens: 20, ignoreEos: true };
    const other = readText(scheduler.generate(request));
    await expect(readText(scheduler.generate({ ...request, constraint }))).rejects.toBe(broken);
    expect((await other).tokens).toEqual((await other).summary.tokens);
    expect((await other).tokens.length).toBe(20);
    await scheduler.close();
    await model.close();
  });
});
