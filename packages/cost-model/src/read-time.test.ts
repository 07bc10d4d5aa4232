import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { deviceProfile, devices } from "./cost.fixture.js";
import { batchesReadMs, batchReadMs, readBytesPerSec } from "./read-time.js";

const { flash } = deviceProfile({ operationUs: 100, bandwidth: 1e9, parallel: 16 });

describe("readBytesPerSec", () => {
  it("gives the table's own points", () => {
    expect(flash.reads.length).toBeGreaterThan(1);
    for (const { sizeBytes, depth, bytesPerSec } of flash.reads) {
      expect(readBytesPerSec(flash, sizeBytes, depth)).toBeCloseTo(bytesPerSec, -2);
    }
  });
  it("finds an operation and its bytes between two sizes, and beyond the largest", () => {
    const exact = (sizeBytes: number) => sizeBytes / (100e-6 + sizeBytes / 1e9);
    expect(readBytesPerSec(flash, 10_000, 1)).toBeCloseTo(exact(10_000), -3);
    expect(readBytesPerSec(flash, 300_000, 1)).toBeCloseTo(exact(300_000), -3);
  });
  it("never exceeds reads in sequence beyond the table, nor falls with depth", () => {
    fc.assert(
      fc.property(
        devices,
        fc.integer({ min: 512, max: 1e7 }),
        fc.integer({ min: 1, max: 64 }),
        (device, size, depth) => {
          const profile = deviceProfile(device).flash;
          const rate = readBytesPerSec(profile, size, depth);
          expect(rate).toBeLessThanOrEqual(profile.sequentialBytesPerSec * (1 + 1e-9));
          expect(readBytesPerSec(profile, size, depth + 1)).toBeGreaterThanOrEqual(rate * (1 - 1e-6));
        },
      ),
    );
  });
});

describe("batchReadMs", () => {
  it("is steady reading for a long batch, and one read's time for one read", () => {
    const long = batchReadMs(flash, 1e5, 16384, 16);
    expect(long).toBeCloseTo((1000 * 1e5 * 16384) / readBytesPerSec(flash, 16384, 16), 0);
    expect(batchReadMs(flash, 1, 16384, 16)).toBeCloseTo(0.1164 + 0.03, 3);
    expect(batchReadMs(flash, 0, 16384, 16)).toBe(0);
  });
  it("takes longer for more reads", () => {
    fc.assert(
      fc.property(
        devices,
        fc.double({ min: 0.01, max: 500, noNaN: true }),
        fc.double({ min: 0.01, max: 500, noNaN: true }),
        (device, a, b) => {
          const profile = deviceProfile(device).flash;
          expect(batchReadMs(profile, a + b, 8192, 16)).toBeGreaterThanOrEqual(
            batchReadMs(profile, a, 8192, 16) * 0.999,
          );
        },
      ),
    );
  });
});

describe("batchesReadMs", () => {
  const shares = fc.double({ min: 1, max: 40, noNaN: true });

  it("is one batch's time for one batch", () => {
    for (const count of [0.5, 16, 200])
      expect(batchesReadMs(flash, count, 8192, 16, 1)).toBe(batchReadMs(flash, count, 8192, 16));
  });
  it("never takes longer in fewer batches", () => {
    fc.assert(
      fc.property(devices, fc.double({ min: 0.01, max: 2000, noNaN: true }), shares, shares, (device, count, a, b) => {
        const profile = deviceProfile(device).flash;
        const ms = (batches: number) => batchesReadMs(profile, count, 8192, 16, batches);
        expect(ms(Math.min(a, b))).toBeLessThanOrEqual(ms(Math.max(a, b)) * (1 + 1e-9));
      }),
      { numRuns: 1000 },
    );
  });
  it("does not jump where batches come to just more reads than fit the queue", () => {
    const ms = (each: number) => batchesReadMs(flash, 100, 4096, 16, 100 / each);
    expect(ms(16.01)).toBeLessThan(ms(15.99) * (1 + 1e-9));
  });
});
