/** Sequences: they grow, shrink, fork and end, and share one engine. */
import { describe, expect, it } from "vitest";
import { openFixture } from "./checkpoint.fixture.js";
import { noisePredictor } from "./noise-predictor.fixture.js";
import type { Sequence } from "./sequence.js";

const NAME = "opt-tiny-sharded";
const TEXT = Array.from({ length: 40 }, (_, i) => (i * 37) % 500);

async function openWithPredictor(options: Parameters<typeof openFixture>[1] = {}) {
  const plain = await openFixture(NAME);
  await plain.close();
  return await openFixture(NAME, { predictor: noisePredictor(plain.header), kvPrecision: "f16", ...options });
}

/** The logits after the last of these tokens, each decoded. */
async function logitsAfter(sequence: Sequence, tokens: readonly number[]): Promise<Float32Array> {
  let logits = new Float32Array(0);
  for (const token of tokens) logits = (await sequence.decode(token)).logits.slice() as Float32Array<ArrayBuffer>;
  return logits;
}

it("a rollback forgets tokens, across pages, and what follows is as if they had never been", async () => {
  const model = await openWithPredictor();
  await model.withSequence(64, async (sequence) => {
    await sequence.prefill(TEXT.slice(0, 14));
    const expected = await logitsAfter(sequence, TEXT.slice(14, 18));
    await logitsAfter(sequence, TEXT.slice(18, 40));
    sequence.rollback(14);
    expect(sequence.tokens).toEqual(TEXT.slice(0, 14));
    expect(await logitsAfter(sequence, TEXT.slice(14, 18))).toEqual(expected);
    expect(() => sequence.rollback(19)).toThrow(/rollback to 19 tokens, expected an integer from 0 to the 18/);
  });
  await model.close();
});

it("a fork shares pages until one of the two writes, and then goes its own way", async () => {
  const model = await openWithPredictor({ maxSequences: 2 });
  const sequence = await model.openSequence({ contextTokens: 64 });
  await sequence.prefill(TEXT.slice(0, 20));
  const fork = sequence.fork();
  const forked = await logitsAfter(fork, [7, 8, 9]);
  const original = await logitsAfter(sequence, [99, 98, 97]);
  expect(fork.tokens).toEqual([...TEXT.slice(0, 20), 7, 8, 9]);
  fork.release();
  sequence.rollback(20);
  expect(await logitsAfter(sequence, [7, 8, 9])).toEqual(forked);
  sequence.rollback(20);
  expect(await logitsAfter(sequence, [99, 98, 97])).toEqual(original);
  await model.close();
});

it("a fork of a full page needs a page only when it grows", async () => {
  const model = await openWithPredictor({ maxSequences: 2 });
  const sequence = await model.openSequence({ contextTokens: 32 });
  await sequence.prefill(TEXT.slice(0, 16));
  // Four pages in all: two are enough for each, as the first is shared.
  const fork = sequence.fork();
  await logitsAfter(sequence, TEXT.slice(16, 32));
  await logitsAfter(fork, TEXT.slice(16, 32));
  expect([sequence.length, fork.length]).toEqual([32, 32]);
  await model.close();
});

/** Of the smallest budget: every step reads, and gives the event loop a turn while it does. */
async function openSlow(maxSequences: number) {
  const all = await openWithPredictor({ maxSequences, contextTokens: 64 });
  const dramBudgetBytes = all.plan(64).smallestBudgetBytes;
  await all.close();
  return await openWithPredictor({ maxSequences, contextTokens: 64, dramBudgetBytes, slowReads: true });
}

describe("steps that are called while another is in progress", () => {
  it("of other sequences give each its own logits, not those of bytes that the other one reads", async () => {
    const model = await openSlow(3);
    const sequences = await Promise.all([0, 1, 2].map(() => model.openSequence()));
    const prompts = sequences.map((_, i) => TEXT.slice(i, i + 20));
    const expected: Float32Array[] = [];
    for (const [i, sequence] of sequences.entries()) {
      await sequence.prefill(prompts[i]!);
      expected.push(await logitsAfter(sequence, [7 + i, 9]));
      sequence.rollback(0);
    }
    const together = sequences.map(async (sequence, i) => {
      await sequence.prefill(prompts[i]!);
      return await logitsAfter(sequence, [7 + i, 9]);
    });
    expect(await Promise.all(together)).toEqual(expected);
    await model.close();
  });
  it("of the same sequence follow each other, at their own positions", async () => {
    const model = await openSlow(2);
    const sequence = await model.openSequence();
    await sequence.prefill(TEXT.slice(0, 20));
    const fork = sequence.fork();
    const expected = await logitsAfter(sequence, [7, 8, 9]);
    sequence.rollback(20);
    const positions: number[] = [];
    const onLogits = (position: number) => void positions.push(position);
    const calls = [7, 8].map((token) => sequence.extend([token], { logits: "last", onLogits }));
    await Promise.all(calls);
    expect(positions).toEqual([20, 21]);
    expect(await logitsAfter(sequence, [9])).toEqual(expected);
    expect(await logitsAfter(fork, [7, 8, 9])).toEqual(expected);
    await model.close();
  });
  it("do not roll it back under the step, which is a typed error", async () => {
    const model = await openSlow(1);
    const sequence = await model.openSequence();
    await sequence.prefill(TEXT.slice(0, 20));
    const decoding = sequence.decode(7);
    expect(() => sequence.rollback(3)).toThrow(expect.objectContaining({ code: "INPUT_BUSY" }));
    await decoding;
    expect(sequence.length).toBe(21);
    await model.close();
  });
});

it("a sequence that is released in the middle of its step keeps its pages until then, and writes into nobody else's", async () => {
  const model = await openSlow(2);
  const stem = await model.openSequence();
  const { freePages } = stem.engine;
  await stem.prefill(TEXT.slice(0, 20));
  const expected = await logitsAfter(stem, [5, 6]);
  stem.rollback(20);
  const released = await model.openSequence();
  const decoding = released.decode(3);
  released.release();
  const next = logitsAfter(stem, [5, 6]);
  await decoding;
  expect(await next).toEqual(expected);
  stem.release();
  expect([stem.engine.freePages, stem.engine.openSequences]).toEqual([freePages, 0]);
  await expect(released.decode(1)).rejects.toMatchObject({ code: "DISPOSED" });
  await model.close();
});

it("a fork of a sequence that has room reserved beyond the page it writes to shares none of that", async () => {
  const model = await openWithPredictor({ maxSequences: 2, contextTokens: 64 });
  const sequence = await model.openSequence();
  await sequence.prefill(TEXT.slice(0, 14));
  await sequence.reserve(30);
  const fork = sequence.fork();
  // In one step, across pages.
  await sequence.extend(TEXT.slice(0, 20));
  const expected = await logitsAfter(sequence, [7]);
  sequence.rollback(34);
  await fork.extend(TEXT.slice(20, 40));
  expect(await logitsAfter(sequence, [7])).toEqual(expected);
  await model.close();
});

it("a model that is closed while a sequence of the caller's own is in a step ends that, and then closes", async () => {
  const model = await openSlow(1);
  const sequence = await model.openSequence();
  await sequence.prefill(TEXT.slice(0, 8));
  const decoding = sequence.decode(1);
  const closing = model.close();
  await expect(decoding).rejects.toMatchObject({ code: "DISPOSED" });
  await closing;
  await expect(sequence.decode(2)).rejects.toMatchObject({ code: "DISPOSED" });
});

describe("what is not there is a typed error, and the sequence goes on", () => {
  it("a position beyond the plan writes into no neighbour", async () => {
    const model = await openWithPredictor({ contextTokens: 18 });
    await model.withSequence(18, async (sequence) => {
      await sequence.prefill(TEXT.slice(0, 17));
      await expect(sequence.extend([1, 2])).rejects.toMatchObject({
        code: "INPUT_CONTEXT_LENGTH",
        message: expect.stringMatching(/would have 19 tokens, but the engine was planned for 18/),
      });
      expect(sequence.length).toBe(17);
      await sequence.decode(1);
      await expect(sequence.decode(2)).rejects.toMatchObject({ code: "INPUT_CONTEXT_LENGTH" });
      expect(sequence.length).toBe(18);
    });
    await model.close();
  });
  it("more sequences than were planned for", async () => {
    const model = await openWithPredictor({ maxSequences: 2 });
    const first = await model.openSequence({ contextTokens: 32 });
    await model.openSequence({ contextTokens: 32 });
    await expect(model.openSequence({ contextTokens: 32 })).rejects.toMatchObject({ code: "BUDGET_SEQUENCES" });
    first.release();
    first.release();
    expect((await model.openSequence({ contextTokens: 32 })).length).toBe(0);
    await expect(first.decode(1)).rejects.toMatchObject({ code: "DISPOSED" });
    await model.close();
  });
  it("a longer request while sequences are open", async () => {
    const model = await openWithPredictor({ maxSequences: 2 });
    const held = await model.openSequence({ contextTokens: 32 });
    await held.prefill(TEXT.slice(0, 8));
    await expect(model.openSequence({ contextTokens: 64 })).rejects.toMatchObject({ code: "INPUT_CONTEXT_LENGTH" });
    expect((await held.decode(3)).stats.ms).toBeGreaterThan(0);
    held.release();
    expect((await model.openSequence({ contextTokens: 64 })).length).toBe(0);
    await model.close();
  });
  it("a step of a closed model", async () => {
    const model = await openWithPredictor();
    const sequence = await model.openSequence({ contextTokens: 32 });
    await sequence.prefill(TEXT.slice(0, 8));
    await model.close();
    await expect(sequence.decode(1)).rejects.toMatchObject({ code: "DISPOSED" });
  });
});

it("tells exact tokens from those of the sparse path, and reuses only exact ones for another prompt", async () => {
  const model = await openWithPredictor();
  await model.withSequence(64, async (sequence) => {
    await sequence.prefill(TEXT.slice(0, 10));
    await sequence.decode(TEXT[10]!);
    expect([sequence.length, sequence.exactLength]).toEqual([11, 10]);
    const { reused } = await sequence.prefill(TEXT.slice(0, 14));
    expect(reused).toBe(10);
    expect(sequence.exactLength).toBe(14);
  });
  await model.close();
});
