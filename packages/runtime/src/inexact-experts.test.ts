/** Mixtures with other experts than their routers': what stays exact, what does not, and what it saves. */

import { bytesOfExpert } from "@flashwick/flash-format";
import { describe, expect, it } from "vitest";
import { type FixtureOptions, ggufBytes, openFixture, openModelBytes, readGolden } from "./checkpoint.fixture.js";
import { cutWindows, evaluateText } from "./evaluate.js";
import type { ChosenRoute } from "./expert-choice.js";
import type { Model } from "./model.js";
import type { GenerateOptions } from "./model-options.js";

const NAME = "olmoe";
const { tokens } = readGolden(`gguf-${NAME}`).cases.at(-1)!;
const PROMPT = tokens.slice(0, 12);
const OPTIONS = { contextTokens: 64, kvPrecision: "f32" as const };
const text = "In the beginning was the word, and the word was with him, and so it went on. ".repeat(12);
const WINDOWS = { windowTokens: 32, maxWindows: 3 };

const open = (more: FixtureOptions = {}) => openModelBytes(ggufBytes(NAME), NAME, { ...OPTIONS, ...more });

/** So much of what lies between the smallest budget and all. */
async function budgetOf(share: number): Promise<number> {
  const model = await open();
  const { smallestBudgetBytes, dram } = model.plan(64);
  await model.close();
  return Math.ceil(smallestBudgetBytes + share * (dram.total - smallestBudgetBytes));
}

async function generated(model: Model, prompt: readonly number[], options: GenerateOptions = {}) {
  const out: number[] = [];
  const run = model.generate(prompt, { maxTokens: 16, ignoreEos: true, ...options });
  for (;;) {
    const next = await run.next();
    if (next.done) return { tokens: out, stats: next.value.stats };
    if (next.value.token !== null) out.push(next.value.token);
  }
}

/** What decoding the same tokens after the prompt reads, and the experts of each layer and token. */
async function decoded(model: Model) {
  const routes: ChosenRoute[] = [];
  const observer = { routed: (_: number, route: ChosenRoute) => void routes.push(route) };
  let flashBytes = 0;
  await model.withSequence(64, async (sequence) => {
    await sequence.prefill(PROMPT);
    for (let token = 40; token < 80; token += 2) {
      flashBytes += (await sequence.decode(token, undefined, observer)).stats.flashBytes;
    }
  });
  return { flashBytes, routes };
}

const hex = (logits: Float32Array) => Buffer.from(logits.slice().buffer).toString("hex");

/** The bits of every token's logits, in steps of these as the engine decodes; and how many tokens count as exact. */
async function allLogits(model: Model, steps: readonly (readonly number[])[]) {
  const all: string[] = [];
  let exactLength = 0;
  await model.withSequence(64, async (sequence) => {
    for (const step of steps) {
      await sequence.extend(step, { logits: "all", onLogits: (_, logits) => void all.push(hex(logits)) });
    }
    exactLength = sequence.exactLength;
  });
  return { all, exactLength };
}

describe("fewer experts", () => {
  it("are the model's own where they are as many as its routers choose", async () => {
    const exact = await open();
    const { chosen } = exact.header.geometry.layers[0]!.experts!;
    const same = await open({ expertsPerToken: chosen });
    const expected = await allLogits(exact, [PROMPT]);
    expect(expected.exactLength).toBe(PROMPT.length);
    expect(await allLogits(same, [PROMPT])).toEqual(expected);
    for (const model of [exact, same]) await model.close();
  });

  it("give a token the same bits alone and in a batch, streamed and resident; none of them count as exact", async () => {
    const resident = await open({ expertsPerToken: 1 });
    const together = await allLogits(resident, [PROMPT]);
    const streamed = await open({ expertsPerToken: 1, dramBudgetBytes: await budgetOf(0.2), lookahead: true });
    const apart = PROMPT.map((token) => [token]);
    expect(await allLogits(streamed, apart)).toEqual(together);
    expect(together.exactLength).toBe(0);
    const exact = await open();
    const other = await allLogits(exact, [PROMPT]);
    expect(other.all).not.toEqual(together.all);
    for (const model of [resident, streamed, exact]) await model.close();
  });

  it("are used of prompts, whose beginning is reused all the same; drafts leave the text as it is", async () => {
    const model = await open({ expertsPerToken: 1 });
    const exact = await open();
    const first = await generated(model, PROMPT);
    expect(first.tokens).not.toEqual((await generated(exact, PROMPT)).tokens);
    const again = await generated(model, PROMPT);
    expect(again.tokens).toEqual(first.tokens);
    expect(again.stats.reusedTokens).toBe(PROMPT.length - 1);
    expect((await generated(model, PROMPT, { speculate: "lookup" })).tokens).toEqual(first.tokens);
    for (const opened of [model, exact]) await opened.close();
  });

  it("need less of a cache, and the plan knows it", async () => {
    const [exact, fewer] = [await open(), await open({ expertsPerToken: 1 })];
    const { neededBudgetBytes } = fewer.cacheFit()!;
    expect(neededBudgetBytes).toBeLessThan(exact.cacheFit()!.neededBudgetBytes);
    const small = await open({ expertsPerToken: 1, dramBudgetBytes: neededBudgetBytes });
    expect(small.cacheFit()!.fits).toBe(true);
    for (const model of [exact, fewer, small]) await model.close();
  });

  it.each([0, 1.5, 9, Number.NaN])("refuses %s of a model whose routers choose others", async (expertsPerToken) => {
    await expect(open({ expertsPerToken })).rejects.toMatchObject({ code: "INPUT_INVALID" });
    await expect(open({ expertsPerToken })).rejects.toThrow(/expertsPerToken is .*, expected an integer from 1 to the/);
  });

  it("refuses a model without experts", async () => {
    await expect(openFixture("opt-tiny-sharded", { expertsPerToken: 1 })).rejects.toThrow(/no mixture of experts/);
  });
});

describe("a margin for resident experts", () => {
  it("leaves prompts and batches exact, and marks what it decodes as inexact", async () => {
    const dramBudgetBytes = await budgetOf(0.3);
    const exact = await open({ dramBudgetBytes });
    const lenient = await open({ dramBudgetBytes, residentMargin: 0.5, lookahead: false });
    const expected = await allLogits(exact, [PROMPT]);
    const batch = await allLogits(lenient, [PROMPT]);
    expect(batch.all).toEqual(expected.all);
    const prompted = await generated(lenient, PROMPT, { maxTokens: 1 });
    expect(prompted.tokens).toEqual((await generated(exact, PROMPT, { maxTokens: 1 })).tokens);
    const sequence = await lenient.openSequence();
    await sequence.prefill(PROMPT);
    await sequence.decode(3);
    expect([sequence.length, sequence.exactLength]).toEqual([PROMPT.length + 1, PROMPT.length]);
    sequence.release();
    for (const model of [exact, lenient]) await model.close();
  });

  it("reads less for others than the routers' experts, but for the first of them", async () => {
    const dramBudgetBytes = await budgetOf(0.3);
    const exact = await open({ dramBudgetBytes, lookahead: false });
    const lenient = await open({ dramBudgetBytes, residentMargin: 0.5, lookahead: false });
    const plain = await decoded(exact);
    const { flashBytes, routes } = await decoded(lenient);
    expect(flashBytes).toBeLessThan(0.8 * plain.flashBytes);
    for (const { used, wanted } of plain.routes) expect(used).toBe(wanted);
    let others = 0;
    for (const { used, wanted } of routes) {
      const first = wanted.experts[wanted.weights.indexOf(Math.max(...wanted.weights))]!;
      expect(used.experts).toContain(first);
      others += used.experts.filter((expert) => !wanted.experts.includes(expert)).length;
    }
    expect(others).toBeGreaterThan(0);
    for (const model of [exact, lenient]) await model.close();
  });

  it("changes no bit where all experts are resident, or the first of the router's are all that is used", async () => {
    const exact = await open();
    const expected = await generated(exact, PROMPT);
    const { chosen } = exact.header.geometry.layers[0]!.experts!;
    const dramBudgetBytes = await budgetOf(0.3);
    for (const more of [{}, { dramBudgetBytes, routerKeep: chosen }]) {
      const lenient = await open({ residentMargin: 1, ...more });
      expect((await generated(lenient, PROMPT)).tokens).toEqual(expected.tokens);
      await lenient.close();
    }
    await exact.close();
  });

  it("refuses drafts, which could not be verified together", async () => {
    const model = await open({ residentMargin: 0.5 });
    await expect(generated(model, PROMPT, { speculate: "lookup" })).rejects.toThrow(/residentMargin 0.5/);
    await model.close();
  });

  it.each([
    [{ residentMargin: -0.1 }, /residentMargin is -0.1, expected a number of at least 0/],
    [{ residentMargin: Number.NaN }, /residentMargin is NaN/],
    [{ routerKeep: -1 }, /routerKeep is -1, expected an integer of at least 0/],
    [{ routerKeep: 0.5 }, /routerKeep is 0.5/],
  ])("refuses %o", async (more, message) => {
    await expect(open(more)).rejects.toThrow(message);
  });
});

/** What decoding the windows of the evaluation reads of experts, a token. */
async function bytesOfExperts(model: Model): Promise<number> {
  const windows = cutWindows(
    model.tokenizer.encode(text, false),
    WINDOWS.windowTokens,
    model.header.geometry.bosTokenId,
  );
  const sizes = model.header.experts.map((layer) => bytesOfExpert(layer!));
  let bytes = 0;
  let tokens = 0;
  for (const window of windows.slice(0, WINDOWS.maxWindows)) {
    await model.withSequence(64, async (sequence) => {
      const missesOf = () => sequence.engine.caches.map(({ counters }) => counters.misses);
      const before = missesOf();
      for (const token of window) await sequence.decode(token);
      for (const [layer, misses] of missesOf().entries()) bytes += (misses - before[layer]!) * sizes[layer]!;
      tokens += window.length;
    });
  }
  return bytes / tokens;
}

describe("an evaluation", () => {
  it("counts the flash bytes that decoding reads", async () => {
    const dramBudgetBytes = await budgetOf(0.3);
    const model = await open({ dramBudgetBytes, lookahead: false });
    const result = await evaluateText(model, text, WINDOWS);
    expect([result.recall, result.missedMass, result.namedOverActive]).toEqual([1, 0, 1]);
    const { chosen, count } = model.header.geometry.layers[0]!.experts!;
    for (const share of result.namedShareByLayer) expect(share).toBeCloseTo(chosen / count, 12);
    // A margin too small to change anything: token by token.
    const decoding = await open({ dramBudgetBytes, lookahead: false, residentMargin: 1e-12 });
    expect(await evaluateText(decoding, text, WINDOWS)).toEqual(result);
    const again = await open({ dramBudgetBytes, lookahead: false });
    expect(await bytesOfExperts(again)).toBeCloseTo(result.flashBytesPerToken, 6);
    for (const opened of [model, decoding, again]) await opened.close();
  });

  it("says what a margin and fewer experts cost and save beside the model as its routers have it", async () => {
    const dramBudgetBytes = await budgetOf(0.3);
    const exact = await open({ dramBudgetBytes, lookahead: false });
    const plain = await evaluateText(exact, text, WINDOWS);
    for (const more of [{ residentMargin: 0.5 }, { expertsPerToken: 1 }]) {
      const model = await open({ dramBudgetBytes, lookahead: false, ...more });
      const result = await evaluateText(model, text, { ...WINDOWS, against: exact });
      expect(result.flashBytesPerToken).toBeLessThan(plain.flashBytesPerToken);
      expect(result.against!.perplexity).toBe(plain.perplexity);
      expect(result.against!.meanKl).toBeGreaterThan(0);
      expect(result.recall).toBeLessThan(1);
      expect(result.missedMass).toBeGreaterThan(0);
      await model.close();
    }
    const fewer = await open({ dramBudgetBytes, expertsPerToken: 1 });
    const lenient = await open({ dramBudgetBytes, residentMargin: 0.5 });
    await expect(evaluateText(lenient, text, { ...WINDOWS, against: "dense" })).rejects.toThrow(/with its own/);
    await lenient.close();
    const shared = await evaluateText(fewer, text, { ...WINDOWS, against: "dense" });
    expect(shared.against!.perplexity).toBe(plain.perplexity);
    for (const opened of [exact, fewer]) await opened.close();
  });
});
