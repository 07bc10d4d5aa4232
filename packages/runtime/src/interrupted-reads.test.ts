/** Reads that end at any of their beginnings, and readers that do one batch at a time: no slot claims what has not arrived. */
import type { FlashReader } from "@flashwick/flash-io";
import { describe, expect, it } from "vitest";
import { type FixtureOptions, ggufBytes, modelBytes, openModelBytes } from "./checkpoint.fixture.js";
import { Model } from "./model.js";
import { noisePredictor } from "./noise-predictor.fixture.js";
import type { Sequence } from "./sequence.js";

const PROMPT = [2, 30, 45];
const TOKENS = [7, 49, 12, 9];
const CANCELLED = new Error("cancelled");

/** A reader that refuses a second batch while one is in flight, and the batch whose turn it is to be refused. */
class StrictReader {
  starts = 0;
  /** Number of the batch that is refused, as if its signal had just been aborted; 0: none. */
  refused = 0;
  #isInFlight = false;
  #runs = 0;

  over(plain: FlashReader): FlashReader {
    return {
      ...plain,
      // Somebody who looks ahead only where reads fly.
      readers: 1,
      start: (memory, runs, signal) => {
        if (this.#isInFlight) throw new Error("a batch is in flight");
        if (++this.starts === this.refused) throw CANCELLED;
        plain.start(memory, runs, signal);
        this.#isInFlight = runs.length > 0;
        this.#runs = runs.length;
      },
      wait: (runCount = Number.POSITIVE_INFINITY) => {
        if (runCount >= this.#runs) this.#isInFlight = false;
      },
    };
  }
}

async function openStrict(name: string, options: FixtureOptions, budgetShare: number) {
  const isGguf = name.endsWith(".gguf");
  const bytes = isGguf ? ggufBytes(name.slice(0, -5)) : await modelBytes(name, "f16");
  const { parts } = await openModelBytes(bytes, name);
  const strict = new StrictReader();
  const predictor = options.mode === "predicted" ? noisePredictor(parts.file.header) : null;
  const own = { ...parts, predictor, reader: strict.over(parts.reader) };
  const wishes = { contextTokens: 32, kvPrecision: "f16", lookahead: true, ...options } as const;
  const { smallestBudgetBytes, dram } = new Model(own, wishes).plan(32);
  const dramBudgetBytes = Math.ceil(smallestBudgetBytes + budgetShare * (dram.total - smallestBudgetBytes));
  return { strict, model: new Model(own, { ...wishes, dramBudgetBytes }) };
}

async function logitsAfter(sequence: Sequence, tokens: readonly number[]): Promise<Float32Array[]> {
  const logits: Float32Array[] = [];
  for (const token of tokens) logits.push((await sequence.decode(token)).logits);
  return logits;
}

describe("a read that is cancelled as it begins leaves no neuron and no expert that a cache claims", () => {
  it.each<readonly [string, FixtureOptions, number]>([
    ["llama-tiny-relu", { mode: "predicted" }, 0.3],
    ["opt-tiny-sharded", { mode: "predicted", overlap: false }, 0],
    ["falcon-tiny-mqa", { mode: "predicted" }, 0.3],
    ["olmoe.gguf", {}, 0.3],
    ["mixtral-tiny", { cacheScope: "pool" }, 0.4],
    ["llama.gguf", {}, 0.3],
  ])("%s, %o", async (name, options, budgetShare) => {
    const { strict, model } = await openStrict(name, options, budgetShare);
    await model.withSequence(16, async (sequence) => {
      await sequence.prefill(PROMPT);
      const before = strict.starts;
      const expected = await logitsAfter(sequence, TOKENS);
      const batches = strict.starts - before;
      expect(batches).toBeGreaterThan(2);
      for (let n = 1; n <= batches; n++) {
        sequence.rollback(0);
        await sequence.prefill(PROMPT);
        strict.refused = strict.starts + n;
        await logitsAfter(sequence, TOKENS).then(
          () => null,
          (error) => expect(error).toBe(CANCELLED),
        );
        strict.refused = 0;
        sequence.rollback(PROMPT.length);
        expect(await logitsAfter(sequence, TOKENS), `batch ${n}`).toEqual(expected);
      }
    });
    await model.close();
  });
});

it("a token whose experts come in several waves, since others are pinned, reads nothing ahead before the last", async () => {
  for (const share of [0, 0.1, 0.2]) {
    const { model } = await openStrict("mixtral-tiny", { policy: "pinned", windowTokens: 1 }, share);
    const { model: resident } = await openStrict("mixtral-tiny", {}, 1);
    const tokens = Array.from({ length: 24 }, (_, i) => (i * 37) % 90);
    const of = (one: Model) => one.withSequence(32, (sequence) => logitsAfter(sequence, tokens));
    expect(await of(model)).toEqual(await of(resident));
    await model.close();
    await resident.close();
  }
});
