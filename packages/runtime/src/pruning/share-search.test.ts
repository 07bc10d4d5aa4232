import { describe, expect, it } from "vitest";
import { type StageSensitivity, searchWorth, shareAt } from "./share-search.js";

/** KL(s) = height · exp(−slope · s), probed twice. */
const stage = (height: number, slope: number, bytes: number): StageSensitivity => {
  const at = (share: number) => ({ share, kl: height * Math.exp(-slope * share) });
  return { probes: [at(0.7), at(0.4)], bytes };
};
const STAGES = [stage(2, 8, 1000), stage(0.5, 9, 1000), stage(4, 7, 500)];
const loss = ([[one], slope]: [StageSensitivity["probes"], number], share: number) =>
  one.kl * Math.exp(-slope * (share - one.share));
const slopeOf = ({ probes: [one, other] }: StageSensitivity) => Math.log(other.kl / one.kl) / (one.share - other.share);

describe("shares for a price", () => {
  it("no other shares with as many bytes lose less", () => {
    const shares = STAGES.map((of) => shareAt(of, 20_000));
    const total = (of: readonly number[]) =>
      STAGES.reduce((sum, s, i) => sum + loss([s.probes, slopeOf(s)], of[i]!), 0);
    const step = 0.02;
    for (const [i, { bytes: more }] of STAGES.entries()) {
      for (const [j, { bytes: less }] of STAGES.entries()) {
        if (i === j) continue;
        const moved = shares.map((share, k) => share + (k === i ? step : k === j ? (-step * more) / less : 0));
        expect(total(moved)).toBeGreaterThan(total(shares));
      }
    }
  });

  it("rise with what a nat is worth, from the least share to all", () => {
    const shares = [1, 1e3, 1e4, 1e5, 1e9].map((worth) => shareAt(STAGES[0]!, worth));
    expect(shares).toEqual(shares.toSorted((a, b) => a - b));
    expect([shares[0], shares.at(-1)]).toEqual([0.1, 1]);
  });

  it("of probes that only chance tells apart are finite", () => {
    const flat: StageSensitivity = {
      probes: [
        { share: 0.7, kl: 2e-6 },
        { share: 0.4, kl: 1e-6 },
      ],
      bytes: 100,
    };
    expect(shareAt(flat, 1e4)).toBe(0.1);
  });
});

describe("the search", () => {
  const range = { least: 1, most: 1e6, precision: 1.03 };

  it("ends within its precision of the smallest worth that meets the target, and on the side that does", async () => {
    const found = (await searchWorth(async (worth) => 1 / worth, 0.01, range))!;
    expect(1 / found).toBeLessThanOrEqual(0.01);
    expect(found / 100).toBeLessThan(1.03);
  });

  it("says so where nothing meets it", async () => {
    expect(await searchWorth(async () => 1, 0.5, range)).toBeNull();
  });
});
