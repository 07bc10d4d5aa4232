import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { preferResident } from "./resident-experts.js";

const requests = fc.integer({ min: 1, max: 16 }).chain((nExperts) =>
  fc.record({
    // Scores and λ are fractions that add and multiply without rounding; some scores are few, so that there are ties.
    scores: fc.array(
      fc.oneof(
        fc.integer({ min: -3, max: 3 }),
        fc.integer({ min: -600, max: 600 }).map((z) => z / 64),
      ),
      {
        minLength: nExperts,
        maxLength: nExperts,
      },
    ),
    resident: fc.uniqueArray(fc.nat(nExperts - 1)),
    k: fc.integer({ min: 1, max: nExperts }),
    alwaysKept: fc.nat(nExperts),
    lambda: fc.nat(48).map((sixteenths) => sixteenths / 16),
  }),
);

/** The k of the highest scores, the lower among equals. */
function topOf(scores: readonly number[], k: number): number[] {
  const order = [...scores.keys()].sort((a, b) => scores[b]! - scores[a]! || a - b);
  return order.slice(0, k).sort((a, b) => a - b);
}

const choose = (scores: readonly number[], resident: readonly number[], k: number, lambda: number, alwaysKept = 0) => [
  ...preferResident(scores, k, (expert) => resident.includes(expert), { lambda, alwaysKept }),
];

describe("preferResident", () => {
  it("chooses k distinct experts, ascending, among them the true first J", () => {
    fc.assert(
      fc.property(requests, ({ scores, resident, k, alwaysKept, lambda }) => {
        const chosen = choose(scores, resident, k, lambda, alwaysKept);
        expect(chosen).toEqual([...new Set(chosen)].sort((a, b) => a - b));
        expect(chosen).toHaveLength(k);
        expect(chosen).toEqual(expect.arrayContaining(topOf(scores, Math.min(k, alwaysKept))));
      }),
    );
  });

  it("is the plain first k without a preference, or where all k are always kept", () => {
    fc.assert(
      fc.property(requests, ({ scores, resident, k, alwaysKept, lambda }) => {
        expect(choose(scores, resident, k, 0, alwaysKept)).toEqual(topOf(scores, k));
        expect(choose(scores, resident, k, lambda, k)).toEqual(topOf(scores, k));
      }),
    );
  });

  it("is the plain first k where all or none are resident", () => {
    fc.assert(
      fc.property(requests, ({ scores, k, lambda, alwaysKept }) => {
        expect(choose(scores, [], k, lambda, alwaysKept)).toEqual(topOf(scores, k));
        expect(choose(scores, [...scores.keys()], k, lambda, alwaysKept)).toEqual(topOf(scores, k));
      }),
    );
  });

  it("puts nothing but resident experts into the place of others, and drops no resident one for them", () => {
    fc.assert(
      fc.property(requests, ({ scores, resident, k, alwaysKept, lambda }) => {
        const plain = topOf(scores, k);
        const chosen = choose(scores, resident, k, lambda, alwaysKept);
        for (const expert of chosen) expect(plain.includes(expert) || resident.includes(expert)).toBe(true);
        for (const expert of plain) expect(chosen.includes(expert) || !resident.includes(expert)).toBe(true);
      }),
    );
  });

  it("takes every resident expert before any absent one where λ is above 1, beyond the first J", () => {
    fc.assert(
      fc.property(requests, ({ scores, resident, k, alwaysKept }) => {
        fc.pre(new Set(scores).size > 1);
        const chosen = choose(scores, resident, k, 2, alwaysKept);
        const first = topOf(scores, Math.min(k, alwaysKept));
        const absent = chosen.filter((expert) => !first.includes(expert) && !resident.includes(expert));
        const left = resident.filter((expert) => !chosen.includes(expert));
        expect(absent.length === 0 || left.length === 0).toBe(true);
      }),
    );
  });

  it("ranks by z + λ · range for what is resident, the lower among equals", () => {
    // Range 4: at λ = 0.25, resident 3 has 2 + 1 and equals absent 1.
    expect(choose([0, 3, 4, 2], [3], 2, 0.25)).toEqual([1, 2]);
    expect(choose([0, 3, 4, 2], [3], 2, 0.26)).toEqual([2, 3]);
    expect(choose([0, 2, 4, 3], [1], 2, 0.25)).toEqual([1, 2]);
    expect(choose([0, 3, 4, 2], [0, 3], 2, 2)).toEqual([0, 3]);
    expect(choose([0, 3, 4, 2], [0, 3], 2, 2, 1)).toEqual([2, 3]);
  });

  it.each([
    ["NaN", [1, Number.NaN], 1, 0, 0, /score of expert 1 is NaN, expected a finite number/],
    ["an infinite score", [Number.NEGATIVE_INFINITY, 1], 1, 0, 0, /score of expert 0 is -Infinity/],
    ["more experts than there are", [1, 2], 3, 0, 0, /use 3 experts, expected at least 1 and at most the layer's 2/],
    ["no experts", [1, 2], 0, 0, 0, /use 0 experts/],
    ["a preference below 0", [1, 2], 1, -1, 0, /a preference of -1/],
    ["a preference that is no number", [1, 2], 1, Number.NaN, 0, /a preference of NaN/],
    ["fewer than none that are always kept", [1, 2], 1, 0, -1, /-1 experts are always to be kept/],
  ])("refuses %s", (_, scores, k, lambda, alwaysKept, message) => {
    expect(() => choose(scores, [], k, lambda, alwaysKept)).toThrowError(
      expect.objectContaining({ code: "INPUT_INVALID", message: expect.stringMatching(message) }),
    );
  });
});
