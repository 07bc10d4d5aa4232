/** Turns of a conversation, requests after each other, and what is left of one that ended early. */
import { getEventListeners } from "node:events";
import { memorySource } from "@flashwick/core";
import { openModelFile } from "@flashwick/flash-format";
import { type FlashReader, memoryReader } from "@flashwick/flash-io";
import { describe, expect, it } from "vitest";
import { modelBytes, openFixture } from "./checkpoint.fixture.js";
import { Model } from "./model.js";
import type { GenerateOptions, ModelOptions } from "./model-options.js";
import { kernelsOf } from "./node/open-model.js";
import { noisePredictor } from "./noise-predictor.fixture.js";
import type { Sequence } from "./sequence.js";

const NAME = "opt-tiny-sharded";
const turnTokens = (turn: number) => [3 + turn, 40 + turn, 7];

async function generate(model: Model, prompt: string | readonly number[], options: GenerateOptions = {}) {
  const run = model.generate(prompt, { maxTokens: 6, ignoreEos: true, ...options });
  for (;;) {
    const next = await run.next();
    if (next.done) return next.value;
  }
}

/** A model whose reader counts what is read where. */
async function openCounted(options: ModelOptions) {
  const bytes = await modelBytes(NAME, "f16");
  const file = await openModelFile(memorySource(bytes, NAME));
  const plain = memoryReader(bytes, NAME);
  const reads: { offset: number; sizeBytes: number }[] = [];
  const reader: FlashReader = {
    ...plain,
    start(memory, runs, signal) {
      reads.push(...runs);
      plain.start(memory, runs, signal);
    },
  };
  const { kernels } = kernelsOf("wasm");
  const predictor = noisePredictor(file.header);
  const parts = { file, reader, kernels, backend: "wasm", predictor, clock: () => performance.now() };
  return { model: new Model(parts, options), reads, file };
}

it("ten turns load the resident weights once, and each computes only what is new", async () => {
  const { model, reads, file } = await openCounted({ contextTokens: 128, kvPrecision: "f16", maxSequences: 1 });
  const tensors = [...file.header.tensors.values()];
  const residentReads = () =>
    reads.filter(({ offset }) => tensors.some((t) => offset >= t.offset && offset < t.offset + t.sizeBytes)).length;
  const sequence = await model.openSequence();
  const first = await generate(model, turnTokens(0), { sequence });
  expect(first.stats.reusedTokens).toBe(0);
  const afterFirst = residentReads();
  expect(afterFirst).toBeGreaterThan(0);
  let length = sequence.length;
  for (let turn = 1; turn < 10; turn++) {
    const { stats, promptTokens } = await generate(model, turnTokens(turn), { sequence });
    expect(stats.loadedBytes).toBe(0);
    expect(stats.reusedTokens).toBe(length);
    // The last token of the turn before was chosen, and nothing came after it: it is computed now.
    expect(promptTokens).toBe(turnTokens(turn).length + 1);
    expect(sequence.length).toBe(length + promptTokens + 5);
    length = sequence.length;
  }
  expect(residentReads()).toBe(afterFirst);
  await model.close();
});

it("a sequence holds the whole text of a conversation, the tokens that nothing came after included", async () => {
  const { model } = await openCounted({ contextTokens: 128, kvPrecision: "f16" });
  const sequence = await model.openSequence();
  const text: number[] = [];
  for (let turn = 0; turn < 3; turn++) {
    text.push(...turnTokens(turn));
    const { tokens } = await generate(model, turnTokens(turn), { sequence, speculate: turn === 1 ? "lookup" : "off" });
    text.push(...tokens);
  }
  expect([...sequence.tokens, ...sequence.pending]).toEqual(text);
  await model.close();
});

it("a fork of a conversation forgot the last token of the text, and went on as if it had never been said", async () => {
  const { model } = await openCounted({ contextTokens: 128, kvPrecision: "f16", maxSequences: 2 });
  const sequence = await model.openSequence();
  await generate(model, turnTokens(0), { sequence });
  const fork = sequence.fork();
  const { tokens } = await generate(model, turnTokens(1), { sequence });
  expect((await generate(model, turnTokens(1), { sequence: fork })).tokens).toEqual(tokens);
  expect([...fork.tokens, ...fork.pending]).toEqual([...sequence.tokens, ...sequence.pending]);
  await model.close();
});

it("a text that was asked for while another one was new on its sequence began with a token of its own, in the middle", async () => {
  const model = await openFixture("opt-demo", { contextTokens: 64, maxSequences: 2 });
  const ask = (sequence: Sequence, prompt: string) => generate(model, prompt, { sequence, maxTokens: 4 });
  const [sequence, inTurns] = [await model.openSequence(), await model.openSequence()];
  await Promise.all([ask(sequence, "The sea"), ask(sequence, " and the sky")]);
  await ask(inTurns, "The sea");
  await ask(inTurns, " and the sky");
  expect(sequence.tokens).toEqual(inTurns.tokens);
  await model.close();
});

it("an abort keeps what was loaded and computed", async () => {
  const { model } = await openCounted({ contextTokens: 128, kvPrecision: "f16" });
  const sequence = await model.openSequence();
  await generate(model, turnTokens(0), { sequence });
  const controller = new AbortController();
  const reason = new Error("enough");
  const seen: number[] = [];
  const aborted = (async () => {
    const options = { sequence, maxTokens: 40, ignoreEos: true, signal: controller.signal };
    for await (const { token } of model.generate(turnTokens(1), options)) {
      seen.push(token!);
      if (seen.length === 3) controller.abort(reason);
    }
  })();
  await expect(aborted).rejects.toBe(reason);
  expect([...sequence.tokens, ...sequence.pending].slice(-3)).toEqual(seen);
  const { stats } = await generate(model, turnTokens(2), { sequence });
  expect(stats.loadedBytes).toBe(0);
  expect(stats.reusedTokens).toBeGreaterThan(12);
  await model.close();
});

it("an abort of a plain request keeps the engine: the next one loads nothing and gives the same tokens", async () => {
  const { model } = await openCounted({ kvPrecision: "f16" });
  const whole = await generate(model, turnTokens(0), { maxTokens: 20 });
  expect(whole.stats.loadedBytes).toBeGreaterThan(0);
  const controller = new AbortController();
  const options = { maxTokens: 20, ignoreEos: true, signal: controller.signal };
  await expect(
    (async () => {
      for await (const _ of model.generate(turnTokens(0), options)) controller.abort(new Error("enough"));
    })(),
  ).rejects.toThrow("enough");
  const again = await generate(model, turnTokens(0), { maxTokens: 20 });
  expect(again.tokens).toEqual(whole.tokens);
  expect(again.stats.loadedBytes).toBe(0);
  await model.close();
});

it("unload frees the engine, and the next request loads it again", async () => {
  const { model } = await openCounted({ kvPrecision: "f16" });
  const before = await generate(model, turnTokens(0));
  await model.unload();
  await model.unload();
  const after = await generate(model, turnTokens(0));
  expect(after.tokens).toEqual(before.tokens);
  expect(after.stats.loadedBytes).toBe(before.stats.loadedBytes);
  await model.close();
});

describe("a request that is left alone", () => {
  it("does not block the next one silently: it is refused with what to do", async () => {
    const model = await openFixture(NAME, { idleTimeoutMs: 20 });
    const left = model.generate(turnTokens(0));
    await left.next();
    await expect(generate(model, turnTokens(1))).rejects.toMatchObject({
      code: "INPUT_BUSY",
      message: expect.stringMatching(/has taken no token for 0.02 s; read its generator to the end/),
    });
    await left.return(undefined as never);
    expect((await generate(model, turnTokens(1))).tokens.length).toBe(6);
    await model.close();
  });
  it("goes on when its caller comes back, and the one that waited follows", async () => {
    const model = await openFixture(NAME);
    const slow = model.generate(turnTokens(0), { maxTokens: 3, ignoreEos: true });
    await slow.next();
    const waiting = generate(model, turnTokens(1));
    for (let step = await slow.next(); !step.done; step = await slow.next());
    expect((await waiting).tokens.length).toBe(6);
    await model.close();
  });
  it("can be given up while it waits for its turn, by its own signal", async () => {
    const model = await openFixture(NAME);
    const left = model.generate(turnTokens(0));
    await left.next();
    const controller = new AbortController();
    const waiting = generate(model, turnTokens(1), { signal: controller.signal });
    controller.abort(new Error("no time"));
    await expect(waiting).rejects.toThrow("no time");
    await model.close();
  });
});

it("a closed model leaves no listener on its signal", async () => {
  const { signal } = new AbortController();
  const model = await openFixture(NAME, { signal });
  expect(getEventListeners(signal, "abort")).toHaveLength(1);
  await model.close();
  expect(getEventListeners(signal, "abort")).toHaveLength(0);
});

it("the model's own signal ends what it is doing, and closes it", async () => {
  const controller = new AbortController();
  const model = await openFixture(NAME, { signal: controller.signal });
  const reason = new Error("the program ends");
  const run = (async () => {
    for await (const _ of model.generate(turnTokens(0), { maxTokens: 50, ignoreEos: true })) controller.abort(reason);
  })();
  await expect(run).rejects.toBe(reason);
  await expect(generate(model, turnTokens(0))).rejects.toBe(reason);
});
