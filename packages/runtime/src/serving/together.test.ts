/** Random crowds of requests: each text is what it is alone, in every mode and budget, whichever others come, dawdle or leave; and nothing is left over. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type FixtureOptions, ggufBytes, openFixture, openModelBytes } from "../checkpoint.fixture.js";
import type { Model } from "../model.js";
import { noisePredictor } from "../noise-predictor.fixture.js";
import type { PrefixStore } from "./prefix-store.js";
import type { ServedRequest } from "./served-request.js";
import { type FinishedText, type Guest, generateAlone, serveGuest } from "./serving.fixture.js";

const NAME = "opt-tiny-sharded";
const CONTEXT = 96;
/** Of keys and values; `auto` would depend on the budget. */
const KV = { contextTokens: CONTEXT, kvPrecision: "f16" } as const;
const QUEUE = { maxQueue: 1000 };
/** Prompts begin like one of these, so that many share a prefix. */
const STEMS = [0, 1, 2].map((stem) => Array.from({ length: 60 }, (_, i) => (i * (31 + 2 * stem) + 7 * stem) % 90));

const requests: fc.Arbitrary<ServedRequest> = fc
  .record({
    stem: fc.constantFrom(...STEMS),
    length: fc.integer({ min: 0, max: 60 }),
    more: fc.array(fc.integer({ min: 3, max: 89 }), { minLength: 1, maxLength: 8 }),
    maxTokens: fc.oneof(fc.integer({ min: 0, max: 12 }), fc.constant(64)),
    temperature: fc.constantFrom(0, 0.9),
    seed: fc.integer({ min: 0, max: 3 }),
    ignoreEos: fc.boolean(),
  })
  .map(({ stem, length, more, ...request }) => ({ ...request, prompt: [...stem.slice(0, length), ...more] }));

const guests: fc.Arbitrary<Guest> = fc.record({
  request: requests,
  comesAfter: fc.integer({ min: 0, max: 60 }),
  dawdles: fc.constantFrom(0, 0, 0, 1, 7),
  leaves: fc.option(fc.record({ after: fc.integer({ min: 1, max: 8 }), by: fc.constantFrom("break", "abort") }), {
    freq: 2,
  }),
});

/** Texts of requests alone, each computed once. */
function memoized(model: Model): (request: ServedRequest) => Promise<FinishedText> {
  const texts = new Map<string, Promise<FinishedText>>();
  let last: Promise<unknown> = Promise.resolve();
  return (request) => {
    const key = JSON.stringify(request);
    const text = texts.get(key) ?? last.then(() => generateAlone(model, request));
    last = text;
    texts.set(key, text);
    return text;
  };
}

async function expectAsAlone(
  crowd: readonly Guest[],
  model: Model,
  alone: ReturnType<typeof memoized>,
  prefixStore?: PrefixStore,
) {
  const scheduler = await model.openScheduler({ ...QUEUE, ...(prefixStore && { prefixStore }) });
  const served = await Promise.all(crowd.map((guest) => serveGuest(scheduler, guest)));
  await scheduler.drain();
  expect(scheduler.load).toMatchObject({ running: 0, waiting: 0 });
  await scheduler.close();
  for (const [i, { tokens, whole }] of served.entries()) {
    const expected = await alone(crowd[i]!.request);
    if (whole) expect(whole).toEqual(expected);
    else expect(tokens).toEqual(expected.tokens.slice(0, crowd[i]!.leaves!.after));
  }
}

async function openOpt(options: FixtureOptions): Promise<Model> {
  if (options.mode !== "predicted") return await openFixture(NAME, { ...KV, ...options });
  const plain = await openFixture(NAME);
  await plain.close();
  return await openFixture(NAME, { ...KV, predictor: noisePredictor(plain.header), ...options });
}

const openGguf = (name: string) => (options: FixtureOptions) =>
  openModelBytes(ggufBytes(name), name, { ...KV, contextTokens: 64, ...options });

const MODELS: readonly (readonly [string, (options: FixtureOptions) => Promise<Model>])[] = [
  ["opt, dense", (options) => openOpt({ ...options, mode: "dense" })],
  ["opt, predicted", (options) => openOpt({ ...options, mode: "predicted" })],
  ["opt, oracle", (options) => openOpt({ ...options, mode: "oracle" })],
  ["opt, dense, by slow reads", (options) => openOpt({ ...options, mode: "dense", slowReads: true })],
  ["opt, predicted, by slow reads", (options) => openOpt({ ...options, mode: "predicted", slowReads: true })],
  ["llama of llama.cpp, dense", openGguf("llama")],
  ["olmoe of llama.cpp, a mixture", openGguf("olmoe")],
  ["olmoe with fewer experts", (options) => openGguf("olmoe")({ ...options, expertsPerToken: 1 })],
];

/** The smallest budget, some more, and all. */
async function budgets(open: (options: FixtureOptions) => Promise<Model>, maxSequences: number): Promise<number[]> {
  const model = await open({ maxSequences });
  const { smallestBudgetBytes, dram } = model.plan(1);
  await model.close();
  return [0, 0.3, 1].map((share) => Math.ceil(smallestBudgetBytes + share * (dram.total - smallestBudgetBytes)));
}

describe.each(MODELS)("%s", (_, open) => {
  it.each([1, 2, 4])("%i sequences: every text is what it is alone", { timeout: 120_000 }, async (maxSequences) => {
    const single = await open({});
    const limit = single.contextTokens! - 9;
    const alone = memoized(single);
    for (const dramBudgetBytes of await budgets(open, maxSequences)) {
      const model = await open({ maxSequences, dramBudgetBytes });
      const crowds = fc.array(guests, { minLength: 2, maxLength: 9 });
      await fc.assert(
        fc.asyncProperty(crowds, async (crowd) => {
          const fitting = crowd.map(({ request, ...guest }) => ({
            ...guest,
            request: { ...request, prompt: request.prompt.slice(-limit) },
          }));
          await expectAsAlone(fitting, model, alone);
        }),
        { numRuns: 8 },
      );
      await model.close();
    }
    await single.close();
  });
});

it("prompts that are stored and read again change no text", { timeout: 120_000 }, async () => {
  const pages = new Map<string, Uint8Array>();
  const prefixStore: PrefixStore = {
    has: async (key) => pages.has(key),
    read: async (key) => pages.get(key) ?? null,
    // A small store, which forgets at random.
    write: async (key, bytes) => {
      if (pages.size > 20) pages.delete([...pages.keys()][bytes[0]! % pages.size]!);
      pages.set(key, bytes);
    },
  };
  const model = await openOpt({ mode: "predicted", maxSequences: 3 });
  const single = await openOpt({ mode: "predicted" });
  const alone = memoized(single);
  const crowds = fc.array(guests, { minLength: 3, maxLength: 9 });
  const property = fc.asyncProperty(crowds, (crowd) => expectAsAlone(crowd, model, alone, prefixStore));
  await fc.assert(property, { numRuns: 20 });
  expect(pages.size).toBeGreaterThan(0);
  for (const opened of [model, single]) await opened.close();
});

it("after 200 random requests all sequences and all pages are free again", { timeout: 120_000 }, async () => {
  const model = await openOpt({ mode: "predicted", maxSequences: 4 });
  const sequence = await model.openSequence();
  const { engine } = sequence;
  sequence.release();
  const { freePages } = engine;
  expect(freePages).toBe((4 * CONTEXT) / 16);
  const scheduler = await model.openScheduler(QUEUE);
  const crowd = fc.sample(guests, { numRuns: 200, seed: 3 });
  const served = await Promise.all(crowd.map((guest) => serveGuest(scheduler, guest)));
  expect(served.filter(({ whole }) => whole).length).toBeGreaterThan(50);
  expect(served.filter(({ whole }) => !whole).length).toBeGreaterThan(20);
  await scheduler.close();
  expect([engine.freePages, engine.openSequences]).toEqual([freePages, 0]);
  await model.close();
});
