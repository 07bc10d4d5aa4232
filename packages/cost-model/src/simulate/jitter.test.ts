import { Random } from "@flashwick/core";
import { expect, it } from "vitest";
import { deviceProfile } from "../cost.fixture.js";
import { jitterOf, LognormalFactor } from "./jitter.js";
import { normalQuantile } from "./normal-quantile.js";

it("normal quantiles are those of tables", () => {
  for (const [p, z] of [
    [0.5, 0],
    [0.9, 1.2815515655],
    [0.99, 2.326347874],
    [0.001, -3.0902323062],
    [0.975, 1.9599639845],
  ] as const) {
    expect(Math.abs(normalQuantile(p) - z)).toBeLessThan(1e-8);
  }
});

it("factors are 1 on average and scatter as they are told", () => {
  const random = new Random(1);
  const factor = new LognormalFactor(0.5);
  const logs = Array.from({ length: 20_000 }, () => Math.log(factor.draw(random)));
  const mean = logs.reduce((sum, log) => sum + log, 0) / logs.length;
  const sigma = Math.sqrt(logs.reduce((sum, log) => sum + (log - mean) ** 2, 0) / logs.length);
  expect(Math.abs(sigma - 0.5)).toBeLessThan(0.01);
  expect(Math.abs(logs.reduce((sum, log) => sum + Math.exp(log), 0) / logs.length - 1)).toBeLessThan(0.015);
});

it("without scatter there is neither a draw nor a word of randomness spent", () => {
  const random = new Random(1);
  expect(new LognormalFactor(0).draw(random)).toBe(1);
  expect(random.next()).toBe(new Random(1).next());
});

it("a profile's spread is the range of three turns; without one there is no jitter", () => {
  const { flash } = deviceProfile({});
  expect(jitterOf(flash)).toBeNull();
  const spreads = [0.1, 0.3387, 2];
  const reads = flash.reads.slice(0, 3).map((point, i) => ({ ...point, spread: spreads[i]! }));
  expect(jitterOf({ ...flash, reads })!.tokenSigma).toBeCloseTo(0.2, 3);
});
