import { expect, it } from "vitest";
import { ACTIVATIONS, isActive, leavesZeros } from "./activation.js";

it("a neuron is active unless its activation is a zero of either sign", () => {
  expect([0, -0, 1e-45, -3, Number.NaN].map(isActive)).toEqual([false, false, true, true, true]);
});

it("the functions that leave zeros are those that cut off", () => {
  expect(ACTIVATIONS.filter(leavesZeros)).toEqual(["relu", "relu2", "fatrelu"]);
});
