import { describe, expect, it, vi } from "vitest";
import { leastStalePolicy } from "./least-stale-policy.js";
import { lfuPolicy } from "./lfu-policy.js";
import { lruPolicy } from "./lru-policy.js";
import { frequencyPinnedPolicy, mostFrequent, pinnedPolicy } from "./pinned-policy.js";
import type { CacheWave, NeuronCache } from "./plan.js";
import { s3FifoPolicy } from "./s3-fifo-policy.js";
import { cacheBookkeepingBytes, createNeuronCache } from "./slot-cache.js";
import { windowPolicy } from "./window-policy.js";

const u32 = (...values: number[]) => Uint32Array.from(values);
const copy = ({ neurons, slots, hits, misses, moves, evicted }: CacheWave) => ({
  neurons: [...neurons],
  slots: [...slots],
  hits: [...hits],
  misses: [...misses],
  moves: [...moves],
  evicted,
});
const admit = (cache: NeuronCache, ...named: number[]) => [...mapWaves(cache, u32(...named), copy)];

function* mapWaves<T>(cache: NeuronCache, named: Uint32Array, map: (wave: CacheWave) => T): Generator<T> {
  for (const wave of cache.admit(named)) yield map(wave);
}

const residents = (cache: NeuronCache) => [...cache.pointer.subarray(0, cache.numUsed)].sort((a, b) => a - b);

describe("a cache of one layer", () => {
  it("keeps whatever fits unless a policy says otherwise, and drops what was used longest ago", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 3 });
    admit(cache, 1, 2);
    admit(cache, 2, 3);
    expect(residents(cache)).toEqual([1, 2, 3]);
    admit(cache, 9);
    expect(residents(cache)).toEqual([2, 3, 9]);
  });
  it("gives ascending neurons ascending slots, so that neighbours land together", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 8, policy: lruPolicy() });
    expect(admit(cache, 3, 4, 5)[0]).toMatchObject({ slots: [0, 1, 2], misses: [0, 1, 2], hits: [] });
    expect(admit(cache, 1, 4, 9)[0]).toMatchObject({ slots: [3, 1, 4], misses: [0, 2], hits: [1] });
  });
  it("puts a loaded neuron into an evicted slot (paired replacement)", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 8, policy: windowPolicy(1) });
    admit(cache, 1, 2, 3);
    expect(admit(cache, 2, 7, 8)[0]).toMatchObject({ slots: [1, 0, 2], moves: [], evicted: 2 });
  });
  it("fills surplus holes from the tail", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 8, policy: windowPolicy(1) });
    admit(cache, 1, 2, 3, 4, 5);
    // 1 and 3 leave slots 0 and 2; 9 takes slot 0, and 5 moves from the tail to slot 2.
    expect(admit(cache, 2, 4, 5, 9)[0]).toMatchObject({ slots: [1, 3, 2, 0], moves: [4, 2], evicted: 2 });
    expect(cache.numUsed).toBe(4);
  });
  it("needs no move for holes at the tail", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 8, policy: windowPolicy(1) });
    admit(cache, 1, 2, 3, 4, 5);
    expect(admit(cache, 1, 2)[0]).toMatchObject({ slots: [0, 1], moves: [], evicted: 3 });
    expect(cache.numUsed).toBe(2);
  });
  it("streams in ascending waves when the set exceeds the slots", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 3, policy: lruPolicy() });
    const waves = admit(cache, 1, 2, 3, 4, 5, 6, 7);
    expect(waves.map(({ neurons }) => neurons)).toEqual([[1, 2, 3], [4, 5, 6], [7]]);
    expect(cache.counters).toMatchObject({ tokens: 1, named: 7, misses: 7, extraWaves: 2 });
  });
  it("keeps what a later wave of the same token needs", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 3, policy: lruPolicy() });
    admit(cache, 7, 8);
    // The first wave has one free slot and needs three: 8, the farthest, goes first, then 7.
    const waves = admit(cache, 1, 2, 7, 8);
    expect(waves[0]).toMatchObject({ neurons: [1, 2, 7], hits: [2] });
  });
  it("keeps what is pinned, past the window and under pressure, where the token then passes in waves", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 3, policy: pinnedPolicy([5], 1) });
    admit(cache, 4, 5);
    admit(cache, 1, 2);
    expect(residents(cache)).toEqual([1, 2, 5]);
    expect(admit(cache, 1, 2, 3).map(({ neurons }) => neurons)).toEqual([[1, 2], [3]]);
    expect(residents(cache)).toEqual([2, 3, 5]);
  });
  it("gives up pinned neurons that would leave waves less than a quarter of the slots", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 1, policy: pinnedPolicy([5], 1) });
    admit(cache, 5);
    expect(admit(cache, 1, 2)).toMatchObject([{ neurons: [1] }, { neurons: [2] }]);
    expect(residents(cache)).toEqual([2]);
  });
  it("pins what most tokens use, once it has seen enough of them", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 4, policy: frequencyPinnedPolicy(16, 0.5, 1) });
    for (let t = 0; t < 8; t++) admit(cache, 3, 4 + t);
    admit(cache, 10, 11);
    expect(residents(cache)).toEqual([3, 10, 11]);
  });
  it("counts uses of seeded tokens too, when it pins by use", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 4, policy: frequencyPinnedPolicy(16, 0.5, 1) });
    cache.seed(Array.from({ length: 8 }, (_, t) => u32(3, 4 + t)));
    admit(cache, 10, 11);
    expect(residents(cache)).toEqual([3, 10, 11]);
  });
  it("says how far pressure has shrunk the window", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 4, policy: windowPolicy(3) });
    const windows = [[1, 2], [3], [4, 5], [4], [4], [1, 2, 3, 4, 5], [8]].map((named) => {
      admit(cache, ...named);
      return cache.effectiveWindowTokens;
    });
    // [4, 5] takes the place of 1, so that the first token is no longer held; the set of five is not held itself.
    expect(windows).toEqual([1, 2, 2, 3, 3, 0, 1]);
  });
  it("takes the lower neuron first among equally old ones", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 4, policy: lruPolicy() });
    admit(cache, 2, 4, 9);
    admit(cache, 7);
    admit(cache, 11);
    expect(residents(cache)).toEqual([4, 7, 9, 11]);
  });
  it("holds a whole layer after one token, where it fits", () => {
    const cache = createNeuronCache({ dFf: 64, slotCount: 64, policy: windowPolicy(1) });
    const all = Uint32Array.from({ length: 64 }, (_, i) => i);
    expect(Array.from(cache.admit(all), ({ slots }) => [...slots])).toEqual([[...all]]);
    expect(Array.from(cache.admit(all), ({ hits }) => hits.length)).toEqual([64]);
  });
  it("expires the window also when a token names nothing", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 3, policy: windowPolicy(2) });
    admit(cache, 1);
    admit(cache);
    expect(residents(cache)).toEqual([1]);
    expect(admit(cache)).toMatchObject([{ neurons: [], evicted: 1 }]);
    expect(residents(cache)).toEqual([]);
  });
  it("lands neighbours together although other vacant slots come first", () => {
    const cache = createNeuronCache({ dFf: 32, slotCount: 8, policy: windowPolicy(2) });
    admit(cache, 0, 1, 2, 3, 4, 5, 6, 7);
    admit(cache, 1, 3, 4, 5);
    // 0, 2, 6 and 7 leave the slots of the same numbers.
    expect(admit(cache, 10, 20, 21, 30)[0]).toMatchObject({ slots: [0, 6, 7, 2], moves: [] });
  });
  it("forgets everything but its counters", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 4, policy: lruPolicy() });
    admit(cache, 1, 2);
    cache.clear();
    expect([cache.numUsed, cache.slotOf(1), cache.effectiveWindowTokens, cache.counters.misses]).toEqual([0, -1, 0, 2]);
    expect(admit(cache, 1)[0]).toMatchObject({ slots: [0], misses: [0] });
  });
  it("never replaces its arrays", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 4, policy: lruPolicy() });
    const { pointer, lastKActive } = cache;
    for (let t = 0; t < 9; t++) admit(cache, t, t + 3, t + 4);
    cache.seed([u32(1, 2)]);
    cache.clear();
    expect([cache.pointer === pointer, cache.lastKActive === lastKActive]).toEqual([true, true]);
  });
  it("works with slot numbers beyond sixteen bits", () => {
    const dFf = 70000;
    const cache = createNeuronCache({ dFf, slotCount: dFf, policy: windowPolicy("auto") });
    const all = Uint32Array.from({ length: dFf }, (_, i) => i);
    for (const _ of cache.admit(all));
    expect(cache.slotOf(dFf - 1)).toBe(dFf - 1);
  });
  it("is seeded with the newest sets first, and goes on from there", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 4, policy: windowPolicy(2) });
    const { neurons, slots, misses } = cache.seed([u32(1, 2), u32(9, 10), u32(3, 9, 12)]);
    expect([[...neurons], [...slots], [...misses]]).toEqual([
      [3, 9, 10, 12],
      [0, 1, 2, 3],
      [0, 1, 2, 3],
    ]);
    expect(cache.counters).toMatchObject({ seeded: 4, misses: 0 });
    admit(cache, 9);
    expect(residents(cache)).toEqual([3, 9, 12]);
  });
});

describe("several tokens at once", () => {
  it("reads once what several of them name", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 8, policy: lruPolicy() });
    admit(cache, 4);
    const [wave] = Array.from(cache.admit([u32(3, 4), u32(3, 5), u32(3)]), copy);
    expect(wave).toMatchObject({ neurons: [3, 4, 5], hits: [1], misses: [0, 2] });
    expect(cache.counters).toMatchObject({ tokens: 4, named: 6, misses: 3, hits: 3 });
    expect([3, 4, 5].map((neuron) => cache.lastKActive[cache.slotOf(neuron)])).toEqual([4, 2, 3]);
  });
  it("keep what they need until the next step, although it is out of the window", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 8, policy: windowPolicy(1) });
    for (const _ of cache.admit([u32(1), u32(2), u32(3)]));
    expect(residents(cache)).toEqual([1, 2, 3]);
    admit(cache, 3);
    expect(residents(cache)).toEqual([3]);
  });
  it("give up the least recently used of their own first, where their waves do not all fit", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 3, policy: lruPolicy() });
    const waves = Array.from(cache.admit([u32(2, 3, 4), u32(1, 4)]), copy);
    expect(waves).toMatchObject([{ neurons: [1, 2, 3] }, { neurons: [4], evicted: 1 }]);
    expect(residents(cache)).toEqual([1, 3, 4]);
    expect(cache.counters).toMatchObject({ named: 5, misses: 4, hits: 1, extraWaves: 1 });
  });
  it("give neurons that stay valid until the next step, although the caller's sets differ", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 8, policy: lruPolicy() });
    const [first] = [...cache.admit([u32(1, 5), u32(3)])];
    expect([...first!.neurons]).toEqual([1, 3, 5]);
    cache.retract(1);
    expect([...first!.neurons]).toEqual([1, 3, 5]);
  });
});

describe("retract", () => {
  const stamps = (cache: NeuronCache, ...neurons: number[]) =>
    neurons.map((neuron) => cache.lastKActive[cache.slotOf(neuron)]);
  it("takes rejected drafts back: their reads stay, and are the first to go", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 5, policy: lruPolicy() });
    admit(cache, 1, 2);
    for (const _ of cache.admit([u32(2, 3), u32(1, 7, 8)]));
    cache.retract(1);
    expect(stamps(cache, 1, 2, 3, 7, 8)).toEqual([1, 2, 2, 0, 0]);
    expect(cache.effectiveWindowTokens).toBe(2);
    expect(cache.counters).toMatchObject({ tokens: 3, retracted: 1, misses: 5 });
    admit(cache, 9);
    expect(residents(cache)).toEqual([1, 2, 3, 8, 9]);
    expect(stamps(cache, 9)).toEqual([3]);
  });
  it("leaves the window of the last accepted token", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 8, policy: windowPolicy(2) });
    admit(cache, 1);
    for (const _ of cache.admit([u32(2), u32(1, 3)]));
    cache.retract(1);
    admit(cache, 4);
    // 1 was used by the first token and by a draft that never was.
    expect(residents(cache)).toEqual([2, 4]);
  });
  it("says that the window is shorter where drafts have moved it on", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 8, policy: windowPolicy(3) });
    for (const neuron of [1, 2, 3]) admit(cache, neuron);
    for (const _ of cache.admit([u32(4), u32(5), u32(6)]));
    cache.retract(2);
    // The window of 4 would be 2, 3, 4; the drafts have let go of 2 and 3.
    expect([residents(cache), cache.effectiveWindowTokens]).toEqual([[4, 5, 6], 1]);
  });
  it("says that the window is shorter where drafts have pushed out a token's neurons", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 3, policy: lruPolicy() });
    admit(cache, 1);
    admit(cache, 2);
    for (const _ of cache.admit([u32(3), u32(4, 5)]));
    expect(cache.effectiveWindowTokens).toBe(2);
    cache.retract(1);
    expect([residents(cache), cache.effectiveWindowTokens]).toEqual([[3, 4, 5], 1]);
  });
  it("does not count pressure among tokens that never were", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 4, policy: lruPolicy() });
    for (const _ of cache.admit([u32(9), u32(1, 2, 3, 4)]));
    expect(cache.effectiveWindowTokens).toBe(0);
    cache.retract(1);
    expect(cache.effectiveWindowTokens).toBe(1);
    cache.retract(1);
    expect(cache.effectiveWindowTokens).toBe(0);
  });
  it("finds nothing of what a slot held before the cache was cleared", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 4, policy: lruPolicy() });
    admit(cache, 1);
    cache.clear();
    admit(cache, 2);
    cache.retract(1);
    expect(stamps(cache, 2)).toEqual([0]);
  });
  it("goes by the sets that were admitted, although the caller's list of them has other sets by now", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 4, policy: lruPolicy() });
    const sets = [u32(1), u32(2)];
    for (const _ of cache.admit(sets));
    sets.length = 0;
    cache.retract(1);
    expect(stamps(cache, 1, 2)).toEqual([1, 0]);
  });
  it("unpins what only rejected drafts made frequent", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 4, policy: frequencyPinnedPolicy(16, 0.5, 1) });
    for (let t = 0; t < 6; t++) admit(cache, 4 + t);
    for (const _ of cache.admit(Array.from({ length: 8 }, () => u32(3))));
    cache.retract(8);
    for (let t = 0; t < 3; t++) admit(cache, 10 + t);
    expect(residents(cache)).toEqual([12]);
  });
  it("refuses more tokens than are left of the last step, and any after seed, clear or anticipate", () => {
    const cache = createNeuronCache({ dFf: 16, slotCount: 4, policy: lruPolicy() });
    const step = () => {
      for (const _ of cache.admit([u32(1), u32(2), u32(3)]));
    };
    const refusal = (message: string) => expect.objectContaining({ code: "INPUT_INVALID", message });
    const none =
      "cannot retract 1 tokens of a neuron cache, expected none: retract right after admit, before seed, clear or anticipate";
    expect(() => cache.retract(1)).toThrowError(refusal(none));
    step();
    cache.retract(1);
    expect(() => cache.retract(3)).toThrowError(
      refusal("cannot retract 3 tokens of a neuron cache, expected at most the 2 that are left of those admitted last"),
    );
    for (const tokens of [-1, 0.5, Number.NaN]) expect(() => cache.retract(tokens)).toThrowError(/expected at most/);
    cache.retract(2);
    expect(() => cache.retract(1)).toThrowError(refusal(none));
    for (const after of [() => cache.clear(), () => cache.seed([u32(1)]), () => cache.anticipate(u32(1), 1)]) {
      step();
      after();
      expect(() => cache.retract(1)).toThrowError(refusal(none));
      cache.retract(0);
    }
    expect(cache.counters).toMatchObject({ tokens: 12, retracted: 3 });
  });
});

describe("what is refused", () => {
  const cache = createNeuronCache({ dFf: 16, slotCount: 4, policy: lruPolicy() });
  it.each([
    ["unsorted", [3, 2], "named[1] is 2, expected a neuron above 3 and below 16"],
    ["repeated", [3, 3], "named[1] is 3, expected a neuron above 3 and below 16"],
    ["beyond the layer", [16], "named[0] is 16, expected a neuron below 16"],
  ])("a set that is %s, before anything changes", (_, named, message) => {
    expect(() => admit(cache, ...named)).toThrow(message);
    expect(() => cache.seed([u32(1), u32(...named)])).toThrow(message.replace("named", "sets[1]"));
    expect(() => [...cache.admit([u32(1), u32(...named)])]).toThrow(message.replace("named", "named[1]"));
    expect(cache.counters).toMatchObject({ tokens: 0, named: 0, seeded: 0 });
  });
  it("a step of no token", () => {
    expect(() => [...cache.admit([])]).toThrowError(
      expect.objectContaining({ code: "INPUT_INVALID", message: expect.stringContaining("named has no sets") }),
    );
  });
  it.each([
    ["no slots", { dFf: 16, slotCount: 0 }],
    ["no neurons", { dFf: 0, slotCount: 1 }],
    ["half a slot", { dFf: 16, slotCount: 1.5 }],
  ])("a cache of %s", (_, sizes) => {
    expect(() => createNeuronCache({ ...sizes, policy: lruPolicy() })).toThrowError(
      expect.objectContaining({ code: "INPUT_INVALID" }),
    );
  });
  it.each([0, -1, 1.5, Number.NaN])("a window of %s tokens", (windowTokens) => {
    expect(() => windowPolicy(windowTokens)).toThrowError(expect.objectContaining({ code: "INPUT_INVALID" }));
  });
});

it("mostFrequent pins by falling frequency, never what was not used", () => {
  expect(mostFrequent([0, 5, 1, 5, 0], 9)).toEqual([1, 3, 2]);
});

describe("cacheBookkeepingBytes", () => {
  it.each([
    ["a cache of 100 neurons", 100, 1, lruPolicy],
    ["a cache of 40000 neurons", 40000, 1, lruPolicy],
    ["a pool", 320, 16, lruPolicy],
    ["a pool by lfu", 320, 16, () => lfuPolicy()],
    ["a pool by s3-fifo", 320, 16, s3FifoPolicy],
    ["a pool by least-stale", 320, 16, leastStalePolicy],
  ])("is what %s allocates", (_, dFf, nLayers, policy) => {
    const unionScratch = new Uint32Array(dFf);
    const allocatedBytes = countBytes(() =>
      createNeuronCache({ dFf, nLayers, slotCount: 30, policy: policy(), unionScratch }),
    );
    const { fixedBytes, slotBytes } = cacheBookkeepingBytes(dFf, { nLayers, policy: policy() });
    expect(allocatedBytes).toBe(fixedBytes + 30 * slotBytes);
  });
});

/** Bytes of the typed arrays that a function makes. */
function countBytes(make: () => unknown): number {
  let allocatedBytes = 0;
  for (const TypedArray of [Uint8Array, Int16Array, Int32Array, Uint32Array, Float64Array]) {
    const Counted = class extends (TypedArray as Uint32ArrayConstructor) {
      constructor(length: number) {
        super(length);
        allocatedBytes += this.byteLength;
      }
    };
    vi.stubGlobal(TypedArray.name, Counted);
  }
  make();
  vi.unstubAllGlobals();
  return allocatedBytes;
}

it("takes drafts back although another cache has used the scratch they share meanwhile", () => {
  const unionScratch = new Uint32Array(64);
  const [one, other] = [0, 1].map(() =>
    createNeuronCache({ dFf: 64, slotCount: 40, policy: windowPolicy(4), unionScratch }),
  );
  const alone = createNeuronCache({ dFf: 64, slotCount: 40, policy: windowPolicy(4) });
  const sets = [
    [1, 5, 9],
    [5, 7],
    [9, 30, 31],
  ].map((set) => Uint32Array.from(set));
  for (const cache of [one!, alone]) for (const _ of cache.admit(sets));
  for (const _ of other!.admit([Uint32Array.of(40, 41), Uint32Array.of(2, 50)]));
  for (const cache of [one!, alone]) cache.retract(2);
  const stamps = ({ numUsed, pointer, lastKActive }: typeof alone) =>
    Array.from({ length: numUsed }, (_, slot) => [pointer[slot], lastKActive[slot]]);
  expect(stamps(one!)).toEqual(stamps(alone));
});
