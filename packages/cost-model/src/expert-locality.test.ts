import { isFlashwickError } from "@flashwick/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseLocality } from "./device-profile-document.js";
import {
  checkLocality,
  type ExpertLocality,
  type ExpertTrace,
  expertsLoaded,
  expertUnion,
  hitShare,
  localityOf,
  localityOfTrace,
} from "./expert-locality.js";
import { experts, mixture } from "./mixture.fixture.js";

function message(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (isFlashwickError(error) && error.code === "INPUT_INVALID") return error.message;
    throw error;
  }
  throw new Error("nothing was thrown");
}

/** Different experts of one layer for each token. */
const traces = fc.integer({ min: 2, max: 12 }).chain((count) =>
  fc.record({
    count: fc.constant(count),
    tokens: fc.array(fc.uniqueArray(fc.nat(count - 1), { minLength: 1, maxLength: Math.min(4, count) }), {
      minLength: 2,
      maxLength: 60,
    }),
  }),
);

/** Slow and obvious: hits are what the cache has when a token comes, then its experts are touched one by one. */
function lruHits(tokens: readonly (readonly number[])[], slots: number): number {
  const cache: number[] = [];
  let hits = 0;
  for (const chosen of tokens) {
    hits += chosen.filter((expert) => cache.includes(expert)).length;
    for (const expert of chosen) {
      if (cache.includes(expert)) cache.splice(cache.indexOf(expert), 1);
      cache.push(expert);
      if (cache.length > slots) cache.shift();
    }
  }
  return hits;
}

function curveOf(count: number, chosen: number): ExpertLocality {
  return localityOf({ layers: [{ experts: { ...experts, count, chosen }, resident: [] }] });
}

describe("the locality of a trace", () => {
  it("is what its layers' stacks say: by hand", () => {
    const trace = [[[0, 1]], [[1, 2]], [[0, 1]]];
    // Of six requests 1 is on top, then 1 below 2, and 0 below both.
    expect(localityOfTrace("by hand", trace, [4]).hitShareByLayer).toEqual([[0, 1 / 6, 2 / 6, 3 / 6, 1]]);
    expect(localityOfTrace("by hand", trace, [4], 1).hitShareByLayer).toEqual([[0, 1 / 4, 2 / 4, 3 / 4, 1]]);
  });
  it("has as many hits as a cache of each size", () => {
    fc.assert(
      fc.property(traces, ({ count, tokens }) => {
        const { hitShareByLayer } = localityOfTrace(
          "random",
          tokens.map((chosen) => [chosen]),
          [count],
        );
        const requests = tokens.reduce((sum, chosen) => sum + chosen.length, 0);
        for (let slots = 1; slots < count; slots++) {
          expect(hitShareByLayer[0]![slots]! * requests).toBeCloseTo(lruHits(tokens, slots), 6);
        }
      }),
    );
  });
  it("is null for a layer without experts, and each layer's own", () => {
    const trace: ExpertTrace = [
      [[], [0], [0]],
      [[], [0], [1]],
    ];
    const { hitShareByLayer } = localityOfTrace("two layers", trace, [0, 2, 2]);
    expect(hitShareByLayer).toEqual([null, [0, 0.5, 1], [0, 0, 1]]);
  });
  it("names the token, the layer and the expert that a layer does not have", () => {
    const text = message(() => localityOfTrace("a.json", [[[0]], [[7]]], [4]));
    expect(text).toBe("a.json: token 1 chooses expert 7 in layer 0, which has 4");
    expect(message(() => localityOfTrace("a.json", [[[0]]], [4], 1))).toContain("at least one more");
    expect(message(() => localityOfTrace("a.json", [[[0], [1]]], [4]))).toContain("2 layers, expected 1");
  });
});

describe("a curve without a trace", () => {
  it("is nothing for no slots, everything for all of them, and grows between", () => {
    for (const [count, chosen] of [
      [64, 8],
      [60, 4],
      [128, 8],
      [8, 2],
      [32, 4],
      [1, 1],
    ] as const) {
      const locality = curveOf(count, chosen);
      const one = { layers: [{ experts: { ...experts, count, chosen }, resident: [] }] };
      checkLocality(locality, one);
      // No place of the stack is asked for more than once a token.
      const shares = locality.hitShareByLayer[0]!;
      for (let s = 1; s <= count; s++) expect(chosen * (shares[s]! - shares[s - 1]!)).toBeLessThanOrEqual(1 + 1e-12);
    }
  });
  /** Qwen3-30B-A3B as measured by others. imp counts slots of single matrices: three are an expert. */
  it.each([
    ["kekzl/imp#1374, 5 %", 24 / 3, 8, 0.366],
    ["kekzl/imp#1374, 15 %", 73 / 3, 8, 0.741],
    ["kekzl/imp#1374, 30 %", 146 / 3, 8, 0.894],
    ["kekzl/imp#1374, 50 %", 244 / 3, 8, 0.962],
    ["BigMoeOnEdge, 2 GB", 2048 / (48 * 2.73), 8, 0.53],
    ["BigMoeOnEdge, 4 GB", 4096 / (48 * 2.73), 8, 0.76],
  ])("is within 8 points of %s", (_, slots, chosen, hits) => {
    expect(Math.abs(hitShare(curveOf(128, chosen), 0, slots) - hits)).toBeLessThan(0.08);
  });
});

describe("unions and loads", () => {
  it("of a router that knows no yesterday are those of independent draws", () => {
    const count = 16;
    const chance = { source: "chance", hitShareByLayer: [Array.from({ length: count + 1 }, (_, s) => s / count)] };
    for (const n of [1, 2, 3, 10, 50]) {
      expect(expertUnion(chance, 0, 4, n)).toBeCloseTo(count * (1 - (1 - 4 / count) ** n), 9);
    }
    expect(expertsLoaded(chance, 0, 4, { slots: 8, windowTokens: 1000, seenTokens: 1000 })).toBeCloseTo(2, 9);
  });
  it("of real routers are smaller", () => {
    for (const n of [2, 8, 32])
      expect(expertUnion(curveOf(128, 8), 0, 8, n)).toBeLessThan(128 * (1 - (1 - 8 / 128) ** n));
  });
  it("end with all experts, or with those that are ever used", () => {
    expect(expertUnion(curveOf(16, 4), 0, 4, Number.POSITIVE_INFINITY)).toBeCloseTo(16, 3);
    const few = { source: "few", hitShareByLayer: [[0, 0.5, 1, 1, 1]] };
    expect(expertUnion(few, 0, 1, Number.POSITIVE_INFINITY)).toBeLessThanOrEqual(2);
  });
  it("load no more with more slots, a longer window or more tokens seen, and no more at once than one by one", () => {
    const use = fc.record({
      slots: fc.nat(64),
      windowTokens: fc.integer({ min: 1, max: 300 }),
      seenTokens: fc.nat(300),
    });
    fc.assert(
      fc.property(use, fc.nat(64), fc.nat(100), fc.integer({ min: 1, max: 20 }), (less, slots, tokens, n) => {
        const locality = curveOf(64, 8);
        const loaded = (of: typeof less, at = 1) => expertsLoaded(locality, 0, 8, of, at);
        expect(loaded({ ...less, slots: less.slots + slots })).toBeLessThanOrEqual(loaded(less) + 1e-9);
        expect(loaded({ ...less, windowTokens: less.windowTokens + tokens })).toBeLessThanOrEqual(loaded(less) + 1e-9);
        expect(loaded({ ...less, seenTokens: less.seenTokens + tokens })).toBeLessThanOrEqual(loaded(less) + 1e-9);
        expect(loaded(less, n)).toBeLessThanOrEqual(n * loaded(less) + 1e-9);
        expect(loaded(less, n)).toBeLessThanOrEqual(expertUnion(locality, 0, 8, n) + 1e-9);
      }),
    );
  });
});

describe("checkLocality", () => {
  const good = localityOf(mixture);
  const curves = good.hitShareByLayer as number[][];
  it.each([
    ["too few layers", curves.slice(1), "made up: field hitShareByLayer is 2, expected 3 layers"],
    ["a curve of other experts", [curves[0], curves[1], [0, 1]], "hitShareByLayer[2]"],
    ["hits that shrink", [curves[0], curves[1]!.map((h, s) => (s === 9 ? 0.1 : h)), curves[2]], "hitShareByLayer[1]"],
    ["no curve", [null, curves[1], curves[2]], "hitShareByLayer[0] is null, expected a curve"],
  ])("refuses %s", (_, hitShareByLayer, text) => {
    const bad = { source: "made up", hitShareByLayer };
    expect(message(() => checkLocality(bad as ExpertLocality, mixture))).toContain(text);
    expect(message(() => parseLocality({ locality: bad }, "l.json", mixture))).toContain(
      "l.json: field hitShareByLayer",
    );
  });
  it("lets pass what a curve makes, from a document as well", () => {
    checkLocality(good, mixture);
    expect(parseLocality(JSON.parse(JSON.stringify(good)), "l.json", mixture)).toEqual(good);
    expect(message(() => parseLocality({ hitShareByLayer: curves }, "l.json", mixture))).toContain("field source");
  });
});
