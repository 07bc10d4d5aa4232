/** The sparse path with a predictor: the same whether decoded or scored, exact at threshold -Infinity, counted truly. */
import { type NeuronTrace, replayTrace } from "@flashwick/dram-cache/simulate";
import type { PredictorDType } from "@flashwick/predictor";
import { describe, expect, it } from "vitest";
import { cachePolicy } from "./cache-policy.js";
import { type FixtureOptions, openFixture } from "./checkpoint.fixture.js";
import { noisePredictor } from "./noise-predictor.fixture.js";
import { forEachLogits } from "./score.js";

const NAME = "opt-tiny-sharded";
const PROMPT = [2, 300, 45, 7, 499, 12, 64, 64, 3, 210, 17, 5];
const SHAPE = { nLayers: 3, dModel: 64, dFf: 256 };

interface PredictedOptions extends FixtureOptions {
  readonly name?: string;
  /** Type of the predictor's weights. */
  readonly bits?: PredictorDType;
}

async function openPredicted({ name = NAME, bits, ...options }: PredictedOptions = {}) {
  const plain = await openFixture(name);
  const predictor = noisePredictor(plain.header, bits);
  await plain.close();
  return await openFixture(name, { predictor, kvPrecision: "f32", ...options });
}

/** Decodes every token, the first too, and keeps the logits, and the sets that were named. */
async function decodeAll(options: PredictedOptions) {
  const model = await openPredicted(options);
  const tokens: Uint32Array[][] = [];
  const logits: Float32Array[] = [];
  const counted = await model.withSequence(PROMPT.length, async (sequence) => {
    const { engine } = sequence;
    const sum = { hits: 0, misses: 0, bytes: 0 };
    for (const token of PROMPT) {
      const sets: Uint32Array[] = [];
      const observer = { named: (_: number, named: Uint32Array) => void sets.push(named.slice()) };
      const { stats, logits: after } = await sequence.decode(token, undefined, observer);
      logits.push(after.slice());
      tokens.push(sets);
      sum.hits += stats.cacheHits;
      sum.misses += stats.cacheMisses;
      sum.bytes += stats.flashBytes;
    }
    return { ...sum, slots: engine.parts.plan.slotsByLayer, rowTables: engine.parts.plan.rowTablesResident };
  });
  const slotBytes = model.header.weights.slotBytes;
  await model.close();
  const trace: NeuronTrace = { nLayers: SHAPE.nLayers, dFf: SHAPE.dFf, tokens };
  return { logits, trace, counted, slotBytes };
}

async function scoreAll(options: PredictedOptions): Promise<Float32Array[]> {
  const model = await openPredicted(options);
  const all: Float32Array[] = [];
  await forEachLogits(model, PROMPT, {}, (_, logits) => all.push(logits.slice()));
  await model.close();
  return all;
}

const CASES = [NAME, "falcon-tiny-mqa"].flatMap((name) => [
  ...(["f32", "f16", "int8", "q4"] as const).map((dtype) => ({ name, dtype, bits: "int8" as const })),
  ...(["q8_0", "q4_0"] as const).map((bits) => ({ name, dtype: "f16" as const, bits })),
]);

for (const { name, dtype, bits } of CASES) {
  describe(`${name} predicted in ${bits}, weights as ${dtype}`, () => {
    it("decoding equals scoring bit for bit, whatever the budget and the policy", async () => {
      const scored = await scoreAll({ name, dtype, bits });
      const probe = await openPredicted({ name, dtype, bits });
      const { smallestBudgetBytes } = probe.plan(PROMPT.length);
      await probe.close();
      expect((await decodeAll({ name, dtype, bits })).logits).toEqual(scored);
      for (const policy of ["window", "lru", "pinned"] as const) {
        for (const more of [0, 40_000]) {
          const dramBudgetBytes = smallestBudgetBytes + more;
          expect((await decodeAll({ name, dtype, bits, dramBudgetBytes, policy, windowTokens: 3 })).logits).toEqual(
            scored,
          );
        }
      }
    });
    it("waiting for every read before anything is computed changes no bit", async () => {
      const scored = await scoreAll({ name, dtype, bits });
      const probe = await openPredicted({ name, dtype, bits });
      const { smallestBudgetBytes } = probe.plan(PROMPT.length);
      await probe.close();
      for (const more of [0, 100_000]) {
        const options = { name, dtype, bits, dramBudgetBytes: smallestBudgetBytes + more, overlap: false };
        expect((await decodeAll(options)).logits).toEqual(scored);
      }
    });
    it("looking ahead changes no bit, however little room there is", async () => {
      const scored = await scoreAll({ name, dtype, bits });
      const probe = await openPredicted({ name, dtype, bits });
      const { smallestBudgetBytes } = probe.plan(PROMPT.length);
      await probe.close();
      for (const more of [0, 40_000, 100_000, 300_000]) {
        for (const windowTokens of [1, 3]) {
          const options = {
            name,
            dtype,
            bits,
            dramBudgetBytes: smallestBudgetBytes + more,
            windowTokens,
            lookahead: true,
          };
          expect((await decodeAll(options)).logits).toEqual(scored);
        }
      }
    });
    it("threshold -Infinity equals dense bit for bit, and the noise does not", async () => {
      const dense = await scoreAll({ name, dtype, bits, mode: "dense" });
      expect(await scoreAll({ name, dtype, bits, threshold: Number.NEGATIVE_INFINITY })).toEqual(dense);
      expect((await decodeAll({ name, dtype, bits, threshold: Number.NEGATIVE_INFINITY })).logits).toEqual(dense);
      expect(await scoreAll({ name, dtype, bits })).not.toEqual(dense);
    });
  });
}

describe("counters", () => {
  it("looking ahead reads more, and says so", async () => {
    const probe = await openPredicted();
    const { smallestBudgetBytes } = probe.plan(PROMPT.length);
    await probe.close();
    const dramBudgetBytes = smallestBudgetBytes + 100_000;
    const plain = await decodeAll({ dramBudgetBytes });
    const ahead = await decodeAll({ dramBudgetBytes, lookahead: true });
    expect(ahead.counted.bytes).toBeGreaterThan(plain.counted.bytes);
    expect(ahead.counted.hits + ahead.counted.misses).toBe(plain.counted.hits + plain.counted.misses);
  });

  it.each([
    ["window", NAME],
    ["lru", NAME],
    ["pinned", NAME],
    ["window", "falcon-tiny-mqa"],
  ] as const)("a replayed trace gives exactly the engine's hits and misses: %s, %s", async (policy, name) => {
    const probe = await openPredicted({ name });
    const { smallestBudgetBytes } = probe.plan(PROMPT.length);
    await probe.close();
    for (const more of [0, 60_000, 200_000]) {
      const options = { name, policy, windowTokens: 2, dramBudgetBytes: smallestBudgetBytes + more };
      const { trace, counted, slotBytes } = await decodeAll(options);
      const replayed = replayTrace(trace, {
        slots: counted.slots,
        policy: () => cachePolicy({ policy, windowTokens: 2 }, SHAPE.dFf),
        slotBytes,
      });
      expect(replayed.total).toMatchObject({ hits: counted.hits, misses: counted.misses });
      const rowBytes = counted.rowTables ? 0 : PROMPT.length * SHAPE.dModel * 4;
      expect(replayed.flashBytes + rowBytes).toBe(counted.bytes);
    }
  });
});

describe("a margin for resident neurons", () => {
  it("names more, reads nothing more for it, and depends on what the cache holds", async () => {
    const probe = await openPredicted({ dtype: "f32" });
    const { smallestBudgetBytes } = probe.plan(PROMPT.length);
    await probe.close();
    // Room for a few tokens' neurons, so that some stay.
    const options = { dtype: "f32" as const, dramBudgetBytes: smallestBudgetBytes + 60_000 };
    const strict = await decodeAll(options);
    const lenient = await decodeAll({ ...options, residentMargin: 0.5 });
    let more = 0;
    // The first token's first layer sees the same input in both.
    expect(lenient.trace.tokens[0]![0]).toEqual(strict.trace.tokens[0]![0]);
    for (const [t, layers] of strict.trace.tokens.entries()) {
      const [few, many] = [new Set(layers[0]), new Set(lenient.trace.tokens[t]![0])];
      for (const neuron of few) expect(many.has(neuron)).toBe(true);
      more += many.size - few.size;
    }
    expect(more).toBeGreaterThan(0);
    expect(lenient.logits).not.toEqual(strict.logits);
    const none = await decodeAll({ ...options, residentMargin: 0 });
    expect(none.logits).toEqual(strict.logits);
  });
});
