import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sparsities, sparsityOf } from "./cost.fixture.js";
import { checkSparsity, freshShare, missShare, tokensHeld, unionShare } from "./sparsity.js";

const share = fc.double({ min: 0.001, max: 1, noNaN: true });

describe("s_agg", () => {
  it("is the paper's OPT 6.7B: 10 % named, a window of five holds 22 % and loads 2.1 %", () => {
    const opt = sparsityOf([0.1]);
    expect(unionShare(opt, 0, 5)).toBeCloseTo(0.1 * Math.sqrt(5), 4);
    expect(missShare(opt, 0, { heldShare: 1, windowTokens: Number.POSITIVE_INFINITY, seenTokens: 100 })).toBe(0);
    expect(missShare(opt, 0, { heldShare: 0.9, windowTokens: 5, seenTokens: 100 })).toBeCloseTo(0.0213, 3);
  });
  it("never shrinks, and tokensHeld is its inverse", () => {
    fc.assert(
      fc.property(
        sparsities,
        fc.double({ min: 0, max: 500, noNaN: true }),
        fc.double({ min: 0, max: 500, noNaN: true }),
        (s, a, b) => {
          expect(unionShare(s, 0, Math.max(a, b))).toBeGreaterThanOrEqual(unionShare(s, 0, Math.min(a, b)));
          const union = unionShare(s, 0, a);
          if (a > 0.1 && union < 0.999) expect(tokensHeld(s, 0, union)).toBeCloseTo(a, 3);
        },
      ),
    );
  });
});

describe("missShare", () => {
  it("never loads more for more slots, a longer window or more tokens seen", () => {
    const use = fc.record({
      heldShare: share,
      windowTokens: fc.integer({ min: 1, max: 300 }),
      seenTokens: fc.nat(300),
    });
    fc.assert(
      fc.property(sparsities, use, use, (s, a, b) => {
        const least = {
          heldShare: Math.min(a.heldShare, b.heldShare),
          windowTokens: Math.min(a.windowTokens, b.windowTokens),
          seenTokens: Math.min(a.seenTokens, b.seenTokens),
        };
        expect(missShare(s, 0, a)).toBeLessThanOrEqual(missShare(s, 0, least) + 1e-12);
      }),
    );
  });
  it("is between nothing and all that is named, and never below what a window of all tokens seen would load", () => {
    fc.assert(
      fc.property(sparsities, share, fc.integer({ min: 1, max: 500 }), (s, heldShare, seenTokens) => {
        const missing = missShare(s, 0, { heldShare, windowTokens: Number.POSITIVE_INFINITY, seenTokens });
        expect(missing).toBeLessThanOrEqual(unionShare(s, 0, 1));
        if (heldShare < 1)
          expect(missing).toBeGreaterThanOrEqual(Math.min(freshShare(s, 0, seenTokens), unionShare(s, 0, 1)));
      }),
    );
  });
  it("loads all that is named into an empty cache", () => {
    expect(missShare(sparsityOf([0.2]), 0, { heldShare: 0.5, windowTokens: 9, seenTokens: 0 })).toBeCloseTo(0.2, 12);
  });
});

describe("checkSparsity", () => {
  const good = sparsityOf([0.1, 0.2]);
  it("lets sane statistics pass", () => expect(() => checkSparsity(good, 2)).not.toThrow());
  it.each([
    ["layers", { ...good, layers: good.layers.slice(1) }],
    ["unionTokens", { ...good, unionTokens: [2, 3] }],
    ["clumping", { ...good, clumping: 0 }],
    ["namedQuantiles", { ...good, namedQuantiles: { p50: 1, p90: Number.NaN, p99: 2 } }],
    ["layers[1].unionShare", { ...good, layers: [good.layers[0]!, { ...good.layers[1]!, unionShare: [0.2] }] }],
    [
      "layers[0].freshShare",
      { ...good, layers: good.layers.map((l) => ({ ...l, freshShare: [...l.freshShare].reverse() })) },
    ],
  ])("names the field: %s", (field, statistics) => {
    expect(() => checkSparsity(statistics, 2)).toThrowError(
      expect.objectContaining({ code: "INPUT_INVALID", details: { field } }),
    );
  });
});
