import { expect, it } from "vitest";
import { tokenLimits } from "./token-limits.js";

it("reproduces the paper's floor: half of OPT 6.7B at 6.1 GB/s is 1098 ms, bound by flash", () => {
  const limits = tokenLimits({ dramBytes: 6.7e9, dramBytesPerSec: 400e9, flashBytes: 6.7e9, flashBytesPerSec: 6.1e9 });
  expect(Math.round(limits.flashMs)).toBe(1098);
  expect(limits.overlappedMs).toBe(limits.flashMs);
  expect(limits.bound).toBe("flash");
});
