import { expect, it } from "vitest";
import { RateLimit } from "./rate-limit.js";

it("gives a minute's worth at once, then one at a time, to each client", () => {
  let nowMs = 0;
  const rate = new RateLimit(6, () => nowMs);
  const taken = () => Array.from({ length: 7 }, () => rate.take("a"));
  expect(taken()).toEqual([0, 0, 0, 0, 0, 0, 10]);
  expect(rate.take("b")).toBe(0);
  nowMs += 4000;
  expect(rate.take("a")).toBeCloseTo(6);
  nowMs += 6000;
  expect([rate.take("a"), rate.take("a")]).toEqual([0, 10]);
  nowMs += 3_600_000;
  expect(taken().filter((seconds) => seconds === 0)).toHaveLength(6);
});

it("remembers a bounded number of clients", () => {
  const rate = new RateLimit(1, () => 0);
  expect([rate.take("first"), rate.take("first")]).toEqual([0, 60]);
  for (let client = 0; client < 10_000; client++) rate.take(String(client));
  expect(rate.take("first")).toBe(0);
});
