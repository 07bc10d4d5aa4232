import { describe, expect, it } from "vitest";
import { tokenLimits } from "./token-limits.js";

it("reproduces the paper's floor: half of OPT 6.7B at 6.1 GB/s is 1098 ms, bound by flash", () => {
  const limits = tokenLimits({ dramBytes: 6.7e9, dramBytesPerSec: 400e9, flashBytes: 6.7e9, flashBytesPerSec: 6.1e9 });
  expect(Math.round(limits.flashMs)).toBe(1098);
  expect(limits.overlappedMs).toBe(limits.flashMs);
  expect(limits.bound).toBe("flash");
});

describe("at the same time", () => {
  const input = { dramBytes: 2e9, dramBytesPerSec: 20e9, flashBytes: 0.1e9, flashBytesPerSec: 2e9 };
  it("takes the larger of the two where neither slows the other down", () => {
    expect(tokenLimits(input)).toMatchObject({ dramMs: 100, flashMs: 50, overlappedMs: 100 });
  });
  it("takes the sum where one thread does both", () => {
    expect(tokenLimits({ ...input, together: null }).overlappedMs).toBe(150);
  });
  it("reads slower while both are under way, and at full speed once one has ended", () => {
    const together = { dramBytesPerSec: 10e9, flashBytesPerSec: 1e9 };
    // Flash takes 100 ms at half its speed; half of DRAM's bytes are read meanwhile, the other half in 50 ms.
    expect(tokenLimits({ ...input, together }).overlappedMs).toBeCloseTo(150, 9);
    const gentle = { dramBytesPerSec: 18e9, flashBytesPerSec: 1.25e9 };
    // Flash takes 80 ms, in which 72 % of DRAM's bytes are read.
    expect(tokenLimits({ ...input, together: gentle }).overlappedMs).toBeCloseTo(80 + 28, 9);
  });
  it("never takes less than the larger nor more than the sum, whatever noise was measured", () => {
    const fast = { dramBytesPerSec: 40e9, flashBytesPerSec: 4e9 };
    expect(tokenLimits({ ...input, together: fast }).overlappedMs).toBe(100);
    const slow = { dramBytesPerSec: 1e9, flashBytesPerSec: 0.1e9 };
    expect(tokenLimits({ ...input, together: slow }).overlappedMs).toBe(150);
  });
  it("is DRAM's alone where nothing is read from flash", () => {
    const together = { dramBytesPerSec: 10e9, flashBytesPerSec: 1e9 };
    expect(tokenLimits({ ...input, flashBytes: 0, together }).overlappedMs).toBe(100);
  });
});
