/** Places, queue and turns of a scheduler: in which order texts are served, what ends them, and what other texts notice of it. */
import { DeviceLostError, IoError, memorySource } from "@flashwick/core";
import { openModelFile } from "@flashwick/flash-format";
import { type FlashReader, memoryReader } from "@flashwick/flash-io";
import { describe, expect, it } from "vitest";
import { type FixtureOptions, modelBytes, openFixture } from "../checkpoint.fixture.js";
import { Model } from "../model.js";
import type { ModelOptions } from "../model-options.js";
import { kernelsOf } from "../node/open-model.js";
import { noisePredictor } from "../noise-predictor.fixture.js";
import { HANDOVER_TOKENS } from "./handover.js";
import type { ServedRequest, ServedToken } from "./served-request.js";
import { generateAlone, readText, turns } from "./serving.fixture.js";

const NAME = "opt-tiny-sharded";
const KV = { contextTokens: 96, kvPrecision: "f16" } as const;
const request = (first: number, more: Partial<ServedRequest> = {}): ServedRequest => ({
  prompt: [first, 40, 7],
  maxTokens: 12,
  ignoreEos: true,
  ...more,
});
const longPrompt = (first: number, length: number) => Array.from({ length }, (_, i) => (first + 13 * i) % 90);

const open = (options: FixtureOptions = {}) => openFixture(NAME, { ...KV, maxSequences: 2, ...options });

/** A model that reads flash for every token, whose reads fail with `fault.error` while there is one. */
async function openFaulty(fault: { error: Error | null }, options: ModelOptions = {}): Promise<Model> {
  const bytes = await modelBytes(NAME, "f16");
  const file = await openModelFile(memorySource(bytes, NAME));
  const plain = memoryReader(bytes, NAME);
  const reader: FlashReader = {
    ...plain,
    wait: () => (fault.error ? Promise.reject(fault.error) : plain.wait()),
  };
  const { kernels } = kernelsOf("wasm");
  const predictor = noisePredictor(file.header);
  const parts = { file, reader, kernels, backend: "wasm", predictor, clock: () => performance.now() };
  const { smallestBudgetBytes } = new Model(parts, { ...KV, maxSequences: 2 }).plan(1);
  return new Model(parts, { ...KV, maxSequences: 2, dramBudgetBytes: smallestBudgetBytes, ...options });
}

describe("places", () => {
  it("are given in order; a request that finds the queue full is told at once when to try again", async () => {
    const model = await open();
    const scheduler = await model.openScheduler({ maxQueue: 1 });
    const runs = [1, 2, 3].map((first) => scheduler.generate(request(first)));
    const firsts = runs.map((run) => run.next());
    expect(scheduler.load).toEqual({ running: 0, waiting: 3, sequences: 2 });
    await expect(scheduler.generate(request(4)).next()).rejects.toMatchObject({
      name: "QueueFullError",
      code: "QUEUE_FULL",
      details: { waiting: 3, retryAfterSeconds: expect.any(Number) },
    });
    await Promise.all(firsts.slice(0, 2));
    expect(scheduler.load).toEqual({ running: 2, waiting: 1, sequences: 2 });
    await expect(scheduler.generate(request(4)).next()).rejects.toMatchObject({ code: "QUEUE_FULL" });
    await runs[0]!.return(undefined as never);
    expect((await firsts[2])!.done).toBe(false);
    await scheduler.close();
    await model.close();
  });

  it("a request that is not asked for its first token takes no place", async () => {
    const model = await open();
    const scheduler = await model.openScheduler({ maxQueue: 0 });
    for (let i = 0; i < 5; i++) scheduler.generate(request(i));
    expect(scheduler.load).toMatchObject({ running: 0, waiting: 0 });
    await scheduler.close();
    await model.close();
  });

  it("a long prompt delays a running text by one batch at a time", async () => {
    const probe = await open();
    const { smallestBudgetBytes } = probe.plan(1);
    await probe.close();
    const model = await open({ mode: "dense", dramBudgetBytes: smallestBudgetBytes });
    const { batchTokens } = model.plan(1);
    const scheduler = await model.openScheduler();
    const seen: string[] = [];
    const short = scheduler.generate(request(1, { maxTokens: 90 }));
    await short.next();
    const reading = readText(short, () => seen.push("short"));
    const joins = scheduler.generate(request(2, { prompt: longPrompt(2, 64), maxTokens: 1 }));
    await joins.next();
    const batches = Math.ceil(64 / batchTokens);
    expect(batches).toBeGreaterThan(4);
    expect(seen.length).toBeGreaterThanOrEqual(batches - 1);
    expect((await reading).tokens.length).toBe(89);
    await scheduler.close();
    await model.close();
  });
});

describe("a consumer that takes nothing", () => {
  it("pauses its own text after some tokens, and no other", async () => {
    const model = await open();
    const wants = request(1, { maxTokens: 60 });
    const expected = await generateAlone(model, wants);
    const scheduler = await model.openScheduler();
    const slow = scheduler.generate(wants);
    const { token: first } = (await slow.next()).value as ServedToken;
    const other = await readText(scheduler.generate(request(2, { maxTokens: 90 })));
    expect(other.tokens.length).toBe(90);
    // The other one has had 90 steps: this one has not gone on all the time.
    expect(scheduler.load.running).toBe(1);
    const rest = await readText(slow);
    expect([first, ...rest.tokens]).toEqual(expected.tokens);
    expect(expected.tokens.length).toBeGreaterThan(HANDOVER_TOKENS + 2);
    await scheduler.close();
    await model.close();
  });
});

describe("a text that is left", () => {
  it.each(["break", "abort"] as const)("by %s has freed its pages and its sequence when that returns", async (how) => {
    const model = await open();
    const sequence = await model.openSequence();
    const { engine } = sequence;
    sequence.release();
    const scheduler = await model.openScheduler();
    const { freePages } = engine;
    const controller = new AbortController();
    const reason = new Error("enough");
    const run = scheduler.generate(request(1, { prompt: longPrompt(1, 40), signal: controller.signal }));
    await run.next();
    expect(engine.freePages).toBe(freePages - 3);
    if (how === "break") {
      await run.return(undefined as never);
    } else {
      controller.abort(reason);
      await expect(run.next()).rejects.toBe(reason);
    }
    expect([engine.freePages, engine.openSequences, scheduler.load.running]).toEqual([freePages, 0, 0]);
    await scheduler.close();
    await model.close();
  });

  it("while it waits leaves the queue", async () => {
    const model = await open({ maxSequences: 1 });
    const scheduler = await model.openScheduler();
    const first = scheduler.generate(request(1));
    await first.next();
    const controller = new AbortController();
    const reason = new Error("no time");
    const waiting = scheduler.generate(request(2, { signal: controller.signal })).next();
    await turns(3);
    expect(scheduler.load.waiting).toBe(1);
    controller.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    expect(scheduler.load.waiting).toBe(0);
    await expect(scheduler.generate(request(3, { signal: controller.signal })).next()).rejects.toBe(reason);
    expect((await readText(first)).finishReason).toBe("length");
    await scheduler.close();
    await model.close();
  });

  it("in the middle of a step leaves with it, whoever leaves meanwhile", async () => {
    const probe = await open({ maxSequences: 3 });
    const { smallestBudgetBytes, dram } = probe.plan(1);
    await probe.close();
    // Wide steps that read.
    const dramBudgetBytes = Math.ceil(0.7 * smallestBudgetBytes + 0.3 * dram.total);
    const model = await open({ maxSequences: 3, dramBudgetBytes, slowReads: true });
    expect(model.plan(1).batchTokens).toBeGreaterThan(3);
    const stays = request(2, { maxTokens: 40 });
    const expected = await generateAlone(model, stays);
    const scheduler = await model.openScheduler();
    const other = readText(scheduler.generate(stays));
    for (let at = 0; at < 8; at++) {
      const ended = scheduler.generate(request(3, { maxTokens: 1 }));
      await ended.next();
      const controller = new AbortController();
      const leaves = scheduler.generate(request(4, { maxTokens: 60, signal: controller.signal }));
      await leaves.next();
      await turns(at);
      controller.abort(new Error("gone"));
      await ended.return(undefined as never);
      await expect(leaves.next()).rejects.toThrow("gone");
    }
    expect((await other).tokens).toEqual(expected.tokens);
    await scheduler.close();
    await model.close();
  });

  it("in the middle of its prompt ends that within a layer, and the next text is as alone", async () => {
    const model = await open();
    const expected = await generateAlone(model, request(2));
    const scheduler = await model.openScheduler();
    const controller = new AbortController();
    const prompt = longPrompt(1, 80);
    const aborted = scheduler.generate(request(1, { prompt, signal: controller.signal })).next();
    await Promise.resolve();
    controller.abort(new Error("gone"));
    await expect(aborted).rejects.toThrow("gone");
    expect((await readText(scheduler.generate(request(2)))).tokens).toEqual(expected.tokens);
    await scheduler.close();
    await model.close();
  });
});

describe("prefixes", () => {
  it("of running and ended texts are computed once; a text's own end does not lose the others'", async () => {
    const model = await open({ maxSequences: 3 });
    const prompt = longPrompt(5, 50);
    const scheduler = await model.openScheduler();
    const running = scheduler.generate(request(0, { prompt: [...prompt, 1], maxTokens: 40 }));
    await running.next();
    const beside = await readText(scheduler.generate(request(0, { prompt: [...prompt, 2] })));
    expect(beside.summary.reusedTokens).toBe(50);
    await readText(running);
    const later = await readText(scheduler.generate(request(0, { prompt: [...prompt, 2, 9] })));
    expect(later.summary.reusedTokens).toBe(51);
    const other = await readText(scheduler.generate(request(0, { prompt: longPrompt(70, 30) })));
    expect(other.summary.reusedTokens).toBe(0);
    await scheduler.close();
    expect(later.tokens).toEqual((await generateAlone(model, request(0, { prompt: [...prompt, 2, 9] }))).tokens);
    await model.close();
  });

  it("of prompts that come at the same time are computed once, too", async () => {
    const model = await open({ maxSequences: 4 });
    const scheduler = await model.openScheduler();
    const prompt = longPrompt(5, 60);
    const runs = [1, 2, 3, 4].map((last) => readText(scheduler.generate(request(0, { prompt: [...prompt, last] }))));
    const reused = (await Promise.all(runs)).map(({ summary }) => summary.reusedTokens);
    expect(reused).toEqual([0, 60, 60, 60]);
    await scheduler.close();
    await model.close();
  });

  it("what the sparse path has computed is not taken for a prompt", async () => {
    const plain = await open();
    await plain.close();
    const model = await open({ predictor: noisePredictor(plain.header) });
    const scheduler = await model.openScheduler();
    const prompt = longPrompt(5, 20);
    const { tokens } = await readText(scheduler.generate(request(0, { prompt, maxTokens: 30 })));
    const next = await readText(scheduler.generate(request(0, { prompt: [...prompt, ...tokens, 3] })));
    expect(next.summary.reusedTokens).toBe(20);
    await scheduler.close();
    await model.close();
  });

  it("give way to new texts, the least recently used first", async () => {
    const model = await open({ maxSequences: 2 });
    const scheduler = await model.openScheduler();
    const reused = async (first: number) => {
      const run = scheduler.generate(request(0, { prompt: [...longPrompt(first, 30), 1], maxTokens: 1 }));
      return (await readText(run)).summary.reusedTokens;
    };
    expect([await reused(1), await reused(2), await reused(1), await reused(3)]).toEqual([0, 0, 30, 0]);
    expect([await reused(1), await reused(2)]).toEqual([30, 0]);
    await scheduler.close();
    await model.close();
  });
});

describe("a step that fails", () => {
  it("ends its texts with the error, and the next ones are as alone", async () => {
    const fault: { error: Error | null } = { error: null };
    const model = await openFaulty(fault);
    const expected = await generateAlone(model, request(3));
    const scheduler = await model.openScheduler();
    const runs = [1, 2].map((first) => scheduler.generate(request(first, { maxTokens: 90 })));
    for (const run of runs) await run.next();
    fault.error = new IoError("IO_READ", "the disk is gone");
    for (const run of runs) await expect(readText(run)).rejects.toBe(fault.error);
    fault.error = null;
    expect((await readText(scheduler.generate(request(3)))).tokens).toEqual(expected.tokens);
    await scheduler.close();
    await model.close();
  });

  it("and takes the engine along: texts that wait get a new one", async () => {
    const fault: { error: Error | null } = { error: null };
    const model = await openFaulty(fault, { maxSequences: 1 });
    const expected = await generateAlone(model, request(3));
    const scheduler = await model.openScheduler();
    const run = scheduler.generate(request(1, { maxTokens: 90 }));
    await run.next();
    const waiting = readText(scheduler.generate(request(3)));
    fault.error = new DeviceLostError("the device is gone");
    const failed = readText(run).finally(() => {
      fault.error = null;
    });
    await expect(failed).rejects.toMatchObject({ code: "DEVICE_LOST" });
    expect((await waiting).tokens).toEqual(expected.tokens);
    await scheduler.close();
    await model.close();
  });
});

describe("the end", () => {
  it("drain lets all texts end, those that wait included, and takes nothing new", async () => {
    const model = await open({ maxSequences: 1 });
    const scheduler = await model.openScheduler();
    const runs = [1, 2].map((first) => readText(scheduler.generate(request(first))));
    const drained = scheduler.drain();
    await expect(scheduler.generate(request(3)).next()).rejects.toMatchObject({ code: "DISPOSED" });
    await drained;
    expect((await Promise.all(runs)).map(({ tokens }) => tokens.length)).toEqual([12, 12]);
    await scheduler.close();
    await scheduler.drain();
    await model.close();
  });

  it("close ends all texts and gives the model back, which was refused to others meanwhile", async () => {
    const model = await open({ maxSequences: 1 });
    const scheduler = await model.openScheduler();
    const runs = [1, 2].map((first) => readText(scheduler.generate(request(first, { maxTokens: 90 }))));
    for (const refused of [generateAlone(model, request(3)), model.openSequence(), model.openScheduler()]) {
      await expect(refused).rejects.toMatchObject({ code: "INPUT_BUSY", message: expect.stringMatching(/scheduler/) });
    }
    await Promise.all([
      scheduler.close(),
      scheduler.close(),
      ...runs.map((run) => expect(run).rejects.toMatchObject({ code: "DISPOSED" })),
    ]);
    expect((await generateAlone(model, request(3))).tokens.length).toBe(12);
    await model.close();
  });

  it("a request that waits for the model while a scheduler opens is refused, too", async () => {
    const model = await open();
    const left = model.generate([1, 2, 3]);
    await left.next();
    const opening = model.openScheduler();
    const waiting = generateAlone(model, request(1));
    await left.return(undefined as never);
    const scheduler = await opening;
    await expect(waiting).rejects.toMatchObject({ code: "INPUT_BUSY" });
    await scheduler.close();
    await model.close();
  });

  it("a model that is closed ends the texts and the scheduler", async () => {
    const model = await open();
    const scheduler = await model.openScheduler();
    const run = scheduler.generate(request(1, { maxTokens: 90 }));
    await run.next();
    const reading = expect(readText(run)).rejects.toMatchObject({ code: "DISPOSED" });
    await model.close();
    await reading;
    await expect(scheduler.generate(request(2)).next()).rejects.toMatchObject({ code: "DISPOSED" });
    await scheduler.close();
  });
});

describe("refused", () => {
  it("requests that make no sense, before they wait", async () => {
    const model = await open();
    const scheduler = await model.openScheduler();
    const wrong: readonly (readonly [Partial<ServedRequest>, RegExp])[] = [
      [{ prompt: [] }, /the prompt has no tokens/],
      [{ prompt: [512] }, /token 0 of the prompt is 512/],
      [{ prompt: longPrompt(1, 97) }, /would have 97 tokens, but 96 are reserved/],
      [{ maxTokens: -1 }, /maxTokens is -1/],
      [{ temperature: -1 }, /temperature is -1/],
      [{ topLogprobs: 1.5 }, /topLogprobs is 1.5, expected an integer from 0 to the 512 tokens/],
    ];
    for (const [more, message] of wrong) {
      await expect(scheduler.generate(request(1, more)).next()).rejects.toThrow(message);
    }
    expect(scheduler.load).toMatchObject({ running: 0, waiting: 0 });
    await scheduler.close();
    await model.close();
  });

  it("schedulers that cannot keep their word", async () => {
    const model = await open({ maxSequences: 1 });
    await expect(model.openScheduler({ maxQueue: -1 })).rejects.toThrow(/maxQueue is -1, expected an integer/);
    const held = await model.openSequence();
    await expect(model.openScheduler()).rejects.toMatchObject({ code: "BUDGET_SEQUENCES" });
    held.release();
    await (await model.openScheduler()).close();
    await model.close();
    const plain = await open();
    await plain.close();
    const lenient = await open({ predictor: noisePredictor(plain.header), residentMargin: 1 });
    await expect(lenient.openScheduler()).rejects.toThrow(/residentMargin 1/);
    await lenient.close();
  });
});

it("texts and stop texts are those of the model alone, and the summary adds up", async () => {
  const model = await openFixture("opt-demo", {
    maxSequences: 2,
    contextTokens: 128,
    kvPrecision: "f16",
    dtype: "f16",
  });
  const prompt = model.tokenizer.encode("And the king said unto", true);
  const wants: ServedRequest = { prompt, maxTokens: 40, stop: [" go", "xyz"], temperature: 0.7, seed: 3 };
  const alone = [await generateAlone(model, wants), await generateAlone(model, { ...wants, stop: [], temperature: 0 })];
  const scheduler = await model.openScheduler();
  const served = await Promise.all([
    readText(scheduler.generate(wants)),
    readText(scheduler.generate({ ...wants, stop: [], temperature: 0 })),
  ]);
  for (const [i, { summary, ...text }] of served.entries()) {
    expect(text).toEqual(alone[i]);
    expect(summary.promptTokens).toBe(prompt.length);
    for (const ms of [summary.queuedMs, summary.promptMs, summary.decodeMs]) expect(ms).toBeGreaterThanOrEqual(0);
  }
  await scheduler.close();
  await model.close();
});
