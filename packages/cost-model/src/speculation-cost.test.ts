import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { chooseDraftTokens, expectedTokens, type SpeculationRequest, speculationCost } from "./speculation-cost.js";

/** Passes of a fixed cost and one for each token: what streamed layers are. */
const costs = fc.record({
  draftMs: fc.double({ min: 0, max: 50, noNaN: true }),
  fixedMs: fc.double({ min: 0.1, max: 500, noNaN: true }),
  tokenMs: fc.double({ min: 0, max: 50, noNaN: true }),
});
const shares = fc.double({ min: 0, max: 1, noNaN: true });
const most = fc.integer({ min: 0, max: 24 });

type Cost = { readonly draftMs: number; readonly fixedMs: number; readonly tokenMs: number };
const request = ({ draftMs, fixedMs, tokenMs }: Cost, acceptance: number): SpeculationRequest => ({
  draftMs,
  verifyMs: (tokens) => fixedMs + tokens * tokenMs,
  acceptance,
});

describe("expectedTokens", () => {
  it("is the published closed form", () => {
    // λ = 4 and α = 0.8: (1 − 0.8^5) / 0.2.
    expect(expectedTokens(0.8, 4)).toBeCloseTo(3.3616, 12);
  });
  it("is exact where nothing and where everything is accepted", () => {
    for (const drafts of [0, 1, 7, 24]) {
      expect([expectedTokens(0, drafts), expectedTokens(1, drafts)]).toEqual([1, drafts + 1]);
    }
  });
});

describe("chooseDraftTokens", () => {
  it("never takes longer than no drafts, and no number of drafts takes less", () => {
    fc.assert(
      fc.property(costs, shares, most, (cost, acceptance, mostDrafts) => {
        const of = request(cost, acceptance);
        const best = chooseDraftTokens(of, mostDrafts);
        expect(best.gain).toBeGreaterThanOrEqual(1);
        for (let drafts = 0; drafts <= mostDrafts; drafts++) {
          expect(best.msPerToken).toBeLessThanOrEqual(speculationCost(of, drafts).msPerToken);
        }
      }),
    );
  });
  it("gains no less from a higher acceptance", () => {
    fc.assert(
      fc.property(costs, shares, shares, most, (cost, a, b, mostDrafts) => {
        const gain = (acceptance: number) => chooseDraftTokens(request(cost, acceptance), mostDrafts).gain;
        expect(gain(Math.max(a, b))).toBeGreaterThanOrEqual(gain(Math.min(a, b)) * (1 - 1e-12));
      }),
    );
  });
  it("drafts nothing where nothing is accepted", () => {
    fc.assert(
      fc.property(costs, most, (cost, mostDrafts) => {
        expect(chooseDraftTokens(request(cost, 0), mostDrafts)).toMatchObject({ draftTokens: 0, gain: 1 });
      }),
    );
  });
  it("drafts all it may where everything is accepted and drafts are cheaper than passes", () => {
    const best = chooseDraftTokens(request({ draftMs: 10, fixedMs: 100, tokenMs: 5 }, 1), 7);
    // (7 · 10 + 100 + 8 · 5) / 8 against 105.
    expect(best).toEqual({ draftTokens: 7, tokensPerStep: 8, msPerToken: 210 / 8, gain: 105 / (210 / 8) });
  });
  it("takes the fewest of equals", () => {
    expect(chooseDraftTokens({ draftMs: 100, verifyMs: () => 100, acceptance: 1 }, 4).draftTokens).toBe(0);
  });
  it.each([
    ["draftMs", { draftMs: -1 }],
    ["acceptance", { acceptance: 1.01 }],
    ["acceptance", { acceptance: Number.NaN }],
  ])("names %s where it makes no sense", (field, wrong) => {
    const of = { ...request({ draftMs: 1, fixedMs: 1, tokenMs: 1 }, 0.5), ...wrong };
    expect(() => chooseDraftTokens(of, 4)).toThrowError(
      expect.objectContaining({ code: "INPUT_INVALID", details: expect.objectContaining({ field }) }),
    );
  });
});
