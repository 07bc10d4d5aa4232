import { expect, it } from "vitest";
import { ACTIVATIONS, activationFunction, assertActivation, isActive, leavesZeros, needsGate } from "./activation.js";

it("a neuron is active unless its activation is a zero of either sign", () => {
  expect([0, -0, 1e-45, -3, Number.NaN].map(isActive)).toEqual([false, false, true, true, true]);
});

it("the functions that leave zeros are those that cut off", () => {
  expect(ACTIVATIONS.filter(leavesZeros)).toEqual(["relu", "relu2", "fatrelu"]);
});

it("the clamped SwiGLU is of gated neurons whose up projection goes through nothing else", () => {
  expect(ACTIVATIONS.filter(needsGate)).toEqual(["swiglu-clamped"]);
  const clamped = activationFunction("swiglu-clamped");
  expect(() => assertActivation(clamped, true)).not.toThrow();
  expect(() => assertActivation(clamped, false)).toThrow("swiglu-clamped is of gated neurons");
  expect(() => assertActivation({ ...clamped, up: "relu" }, true)).toThrow("swiglu-clamped is of gated neurons");
  expect(() => assertActivation({ ...activationFunction("relu"), up: "relu" }, false)).not.toThrow();
});
