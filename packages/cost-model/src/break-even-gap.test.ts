import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { breakEvenGapRecords } from "./break-even-gap.js";
import { deviceProfile, shape } from "./cost.fixture.js";
import { missingReads } from "./missing-reads.js";

const { strideBytes, dFf } = shape;
const DEPTH = 16;

/** A device whose operation takes as long as so many records. */
function deviceOf(records: number) {
  const bandwidth = 2e9;
  return deviceProfile({ operationUs: (1e6 * records * strideBytes) / bandwidth, bandwidth, parallel: 1 }).flash;
}

describe("breakEvenGapRecords", () => {
  it("is an operation's time in records", () => {
    for (const records of [0.5, 3.5, 20.5, 300.5]) {
      expect(breakEvenGapRecords(deviceOf(records), strideBytes, DEPTH, dFf)).toBe(Math.floor(records));
    }
  });
  it("is a layer at most", () => {
    expect(breakEvenGapRecords(deviceOf(10_000), strideBytes, DEPTH, dFf)).toBe(dFf);
  });
});

describe("the steady time of a layer's reads", () => {
  /** In records' time, of a device whose operation takes `operation` records. */
  const time = (missing: number, gap: number, operation: number) => {
    const { count, bytes } = missingReads(shape, missing, gap * strideBytes, null);
    return count * operation + bytes / strideBytes;
  };
  const shares = fc.double({ min: 0.001, max: 1, noNaN: true });

  it("never grows with fewer missing neurons where gaps of break-even are read over", () => {
    fc.assert(
      fc.property(fc.double({ min: 0.1, max: 2000, noNaN: true }), shares, shares, (operation, a, b) => {
        const gap = Math.floor(operation);
        const [fewer, more] = [dFf * Math.min(a, b), dFf * Math.max(a, b)];
        expect(time(fewer, gap, operation)).toBeLessThanOrEqual(time(more, gap, operation) * (1 + 1e-9));
      }),
    );
  });
  it("does where they are shorter: what stays tears reads in two", () => {
    expect(time(0.1 * dFf, 8, 300)).toBeGreaterThan(3 * time(0.4 * dFf, 8, 300));
    expect(time(0.5 * dFf, 0, 300)).toBeGreaterThan(1.02 * time(0.6 * dFf, 0, 300));
  });
  it("is least at break-even, as long as there is more than one read", () => {
    const few = fc.double({ min: 0.0005, max: 0.01, noNaN: true });
    fc.assert(
      fc.property(few, fc.integer({ min: 0, max: 600 }), (share, other) => {
        fc.pre(missingReads(shape, share * dFf, Math.max(300, other) * strideBytes, null).count > 1 + 1e-9);
        expect(time(share * dFf, 300, 300.5)).toBeLessThanOrEqual(time(share * dFf, other, 300.5) * (1 + 1e-9));
      }),
    );
  });
});
