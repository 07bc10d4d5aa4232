import { expect, it } from "vitest";
import { MOST_CHUNKS } from "./control-block.js";
import { planSplit } from "./split-plan.js";

const range = { begin: 0, end: 1003, unit: 16, workEach: 100, chunksAThread: 8, leastChunk: 0 };

it("cuts at multiples of the unit, into as many chunks as asked for", () => {
  expect(planSplit(range, 2, 1)).toEqual({ chunk: 64, chunks: 16 });
  expect(planSplit({ ...range, begin: 5, end: 55 }, 4, 1)).toEqual({ chunk: 16, chunks: 4 });
});

it("makes no chunk shorter than worth its while, but leaves no thread without", () => {
  expect(planSplit({ ...range, leastChunk: 200 }, 2, 1)).toEqual({ chunk: 208, chunks: 5 });
  expect(planSplit({ ...range, leastChunk: 2000 }, 2, 1)).toEqual({ chunk: 512, chunks: 2 });
});

it("does not cut what is small, a single unit, or no work at all", () => {
  expect(planSplit(range, 2, 100_301)).toBeNull();
  expect(planSplit({ ...range, end: 16 }, 2, 1)).toBeNull();
  expect(planSplit({ ...range, workEach: 0 }, 2, 0)).toBeNull();
});

it("keeps to the number of chunks that a ticket can count", () => {
  const plan = planSplit({ ...range, end: 2 ** 32, unit: 1 }, 256, 1)!;
  expect(plan.chunks).toBeLessThanOrEqual(MOST_CHUNKS);
  expect(plan.chunk * plan.chunks).toBeGreaterThanOrEqual(2 ** 32);
});
