import { decodeProfile, encodeProfile, profileOfTrace, type UnitProfile } from "@flashwick/dram-cache";
import { decodeTrace } from "@flashwick/dram-cache/simulate";
import { describe, expect, it } from "vitest";
import { type FixtureOptions, ggufBytes, openFixture, openModelBytes, readGolden } from "./checkpoint.fixture.js";
import type { Model } from "./model.js";
import { recordTrace } from "./record-trace.js";

const NAME = "olmoe";
const { tokens } = readGolden(`gguf-${NAME}`).cases.at(-1)!;
const TEXT = tokens.slice(0, 24);
const OPTIONS = { contextTokens: 64, kvPrecision: "f32" as const, lookahead: false };

const open = (more: FixtureOptions = {}) => openModelBytes(ggufBytes(NAME), NAME, { ...OPTIONS, ...more });

async function budgetOf(share: number, options: FixtureOptions = {}): Promise<number> {
  const model = await open(options);
  const { smallestBudgetBytes, dram } = model.plan(64);
  await model.close();
  return Math.ceil(smallestBudgetBytes + share * (dram.total - smallestBudgetBytes));
}

/** Of what the model uses of the text. */
async function profileOf(model: Model): Promise<UnitProfile> {
  const { bytes } = await recordTrace(model, [TEXT]);
  return profileOfTrace(model.header.fingerprint, decodeTrace(bytes));
}

async function recorded(): Promise<UnitProfile> {
  const model = await open();
  const profile = await profileOf(model);
  await model.close();
  return profile;
}

/** The text token by token, from the beginning: bits, the misses of each token, and what was read before. */
async function decoded(model: Model) {
  const bits: string[] = [];
  const misses: number[] = [];
  let loadedBytes = 0;
  let residents: number[][] = [];
  await model.withSequence(64, async (sequence) => {
    const { engine } = sequence;
    loadedBytes = engine.loadedBytes;
    residents = model.header.experts.map((_, layer) => [...engine.residentNeurons(layer)]);
    for (const token of TEXT) {
      const { logits, stats } = await sequence.decode(token);
      bits.push(Buffer.from(logits.slice().buffer).toString("hex"));
      misses.push(stats.cacheMisses);
    }
  });
  return { bits, misses, loadedBytes, residents };
}

describe("hot experts", () => {
  it.each([
    ["window", "layer"],
    ["lfu", "layer"],
    ["lru", "pool"],
    ["least-stale", "pool"],
  ] as const)(
    "are read first, by %s in a %s: the first tokens miss less, and no bit changes",
    async (policy, cacheScope) => {
      const hotExperts = await recorded();
      const dramBudgetBytes = await budgetOf(0.6, { cacheScope });
      const cold = await open({ policy, cacheScope, dramBudgetBytes });
      const warm = await open({ policy, cacheScope, dramBudgetBytes, hotExperts });
      const [without, with_] = [await decoded(cold), await decoded(warm)];
      expect(with_.bits).toEqual(without.bits);
      expect(with_.misses[0]).toBeLessThan(without.misses[0]!);
      expect(without.residents.flat()).toEqual([]);
      // As many as slots hold, of each layer its hottest.
      const slots = warm.plan(64).slotsByLayer.reduce((sum, n) => sum + n, 0);
      const listed = hotExperts.hottest.reduce((sum, { length }) => sum + length, 0);
      expect(with_.residents.flat()).toHaveLength(Math.min(slots, listed));
      for (const [layer, residents] of with_.residents.entries()) {
        const hottest = [...hotExperts.hottest[layer]!.subarray(0, residents.length)];
        expect(residents.sort((a, b) => a - b)).toEqual(hottest.sort((a, b) => a - b));
      }
      for (const model of [cold, warm]) await model.close();
    },
  );

  it("count as loaded, not as any token's, and are read again when the model is", async () => {
    const hotExperts = await recorded();
    const progress: [number, number][] = [];
    const onProgress = ({ phase, loaded, total }: { phase: string; loaded: number; total: number }) =>
      void (phase === "load" && progress.push([loaded, total]));
    const [cold, warm] = [await open(), await open({ hotExperts, onProgress })];
    const [without, with_] = [await decoded(cold), await decoded(warm)];
    const read = with_.loadedBytes - without.loadedBytes;
    expect(read).toBeGreaterThan(0);
    expect(progress.at(-1)).toEqual([with_.loadedBytes, with_.loadedBytes]);
    // All are resident: what the text uses is there already.
    expect(with_.misses).toEqual(TEXT.map(() => 0));
    await warm.unload();
    expect((await decoded(warm)).misses[0]).toBe(0);
    for (const model of [cold, warm]) await model.close();
  });

  it("end with the signal; what loads the model again reads them again", async () => {
    const hotExperts = await recorded();
    const abort = new AbortController();
    let residentBytes = 0;
    const onProgress = ({ total }: { total: number }) => {
      residentBytes ||= total;
      if (total > residentBytes) abort.abort();
    };
    const model = await open({ hotExperts });
    const load = model.withSequence(8, async () => {}, { signal: abort.signal, onProgress });
    await expect(load).rejects.toMatchObject({ name: "AbortError" });
    expect((await decoded(model)).misses[0]).toBe(0);
    await model.close();
  });

  it("of another model are refused, as are lists of other layers or experts, and a model without", async () => {
    const hotExperts = await recorded();
    const { hottest } = hotExperts;
    await expect(open({ hotExperts: { ...hotExperts, fingerprint: "b".repeat(64) } })).rejects.toMatchObject({
      code: "INTEGRITY_FINGERPRINT",
    });
    for (const other of [
      { nUnits: hotExperts.nUnits + 1 },
      { hottest: hottest.slice(1) },
      { hottest: hottest.map(() => Uint32Array.of(hotExperts.nUnits)) },
    ]) {
      await expect(open({ hotExperts: { ...hotExperts, ...other } })).rejects.toMatchObject({ code: "INPUT_INVALID" });
    }
    await expect(openFixture("opt-tiny-sharded", { hotExperts })).rejects.toThrow(/no mixture of experts/);
  });

  it("are the same from their file", async () => {
    const profile = await recorded();
    const model = { fingerprint: profile.fingerprint, nUnits: profile.nUnits, nLayers: profile.hottest.length };
    expect(decodeProfile(encodeProfile(profile), model)).toEqual(profile);
  });
});
