import type { RotaryScaling } from "@flashwick/core";
import { expect, it } from "vitest";
import { rotaryFrequencies } from "./rotary-frequencies.js";

/** Frequencies are f32. */
const F32_DIGITS = 6;

const frequencies = (scaling: RotaryScaling | null, theta = 10_000, dims = 8) =>
  rotaryFrequencies({ theta, dims, pairs: "halves", scaling });
/** Pairs of 8 dimensions with base 10,000 turn by 1, 1/10, 1/100, 1/1000. */
const ratios = (scaling: RotaryScaling) =>
  [...frequencies(scaling).frequencies].map((frequency, i) => frequency * 10 ** i);

it("fall from 1 to theta^(−(dims − 2) / dims)", () => {
  const { frequencies: plain, magnitude } = frequencies(null);
  expect(plain).toHaveLength(4);
  for (const [i, frequency] of plain.entries()) expect(frequency).toBeCloseTo(10 ** -i, F32_DIGITS);
  expect(magnitude).toBe(1);
});

it("linear: every one by the factor", () => {
  for (const ratio of ratios({ kind: "linear", factor: 8 })) expect(ratio).toBeCloseTo(1 / 8, F32_DIGITS);
});

it("factors: each by its own", () => {
  const found = ratios({ kind: "factors", factors: [1, 2, 4, 5] });
  for (const [i, ratio] of [1, 1 / 2, 1 / 4, 1 / 5].entries()) expect(found[i]).toBeCloseTo(ratio, F32_DIGITS);
});

it("llama3: the fast ones stay, the slow ones are stretched, and those between are blended by their turns", () => {
  // Turns in the original context: 2000 / 2π times the frequency: 318.3, 31.83, 3.183, 0.318.
  const scaling = { factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContext: 2000 } as const;
  const [first, second, third, last] = ratios({ kind: "llama3", ...scaling });
  expect(first).toBe(1);
  expect(second).toBeCloseTo(1, F32_DIGITS);
  const share = (20 / (2 * Math.PI) - 1) / 3;
  expect(third).toBeCloseTo((1 - share) / 8 + share, F32_DIGITS);
  expect(last).toBeCloseTo(1 / 8, F32_DIGITS);
});

it("yarn: a ramp by dimension, whole ones or not, and the attention factor on cosines and sines", () => {
  const scaling = { factor: 4, originalContext: 2000, betaFast: 32, betaSlow: 1, attentionFactor: 1.139 } as const;
  // ln(2000 / 2πr) · 8 / (2 ln 10000): 0.997 for 32 turns, 2.503 for one.
  const pairOf = (turns: number) => Math.log10(2000 / (2 * Math.PI * turns));
  const ramp = (low: number, high: number) =>
    [0, 1, 2, 3].map((i) => Math.min(1, Math.max(0, (i - low) / (high - low))));
  for (const [truncate, low, high] of [
    [true, 0, 3],
    [false, pairOf(32), pairOf(1)],
  ] as const) {
    const found = ratios({ kind: "yarn", ...scaling, truncate });
    for (const [i, r] of ramp(low, high).entries()) expect(found[i]).toBeCloseTo(r / 4 + 1 - r, F32_DIGITS);
  }
  expect(frequencies({ kind: "yarn", ...scaling, truncate: true }).magnitude).toBe(1.139);
});
