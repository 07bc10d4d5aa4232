/** The self-test, and which models a failure concerns. */
import type { DType } from "@flashwick/core";
import { briefCases, conformanceCases } from "@flashwick/kernels/conformance";
import { expect, it } from "vitest";
import type { KernelFailure, SelfTest } from "./messages.js";
import { failureFor, testKernels } from "./self-test.js";

const failing = (op: string, dtype: DType | null): SelfTest => {
  const failure: KernelFailure = { title: "a case", dtype, message: "expected 1, found 2" };
  return {
    ms: 1,
    kernels: [
      { op: "rotate", cases: 1, failures: [] },
      { op, cases: 2, failures: [failure] },
    ],
  };
};
const types = (...all: DType[]) => new Set(all);

it("runs each op of the table, and every type of weights, and finds nothing wrong here", async () => {
  const { kernels } = await testKernels();
  expect(kernels.map(({ op }) => op)).toEqual([...new Set(conformanceCases.map(({ op }) => op))]);
  expect(kernels.flatMap(({ failures }) => failures)).toEqual([]);
  const cases = kernels.reduce((sum, kernel) => sum + kernel.cases, 0);
  expect(cases).toBe(briefCases(conformanceCases).length);
  expect(cases).toBeLessThan(conformanceCases.length / 3);
});

it("a failure with one type of weights concerns the models that have it, and no others", () => {
  const test = failing("linear", "q4_k");
  expect(failureFor(test, types("f32", "q4_k"), false)).toMatchObject({ op: "linear", message: "expected 1, found 2" });
  expect(failureFor(test, types("f32", "f16"), false)).toBeNull();
});

it("a failure without a type concerns every model, and one of training only training", () => {
  expect(failureFor(failing("attention", null), types("f16"), false)).toMatchObject({ op: "attention" });
  expect(failureFor(failing("adamW", null), types("f16"), false)).toBeNull();
  expect(failureFor(failing("adamW", null), types("f16"), true)).toMatchObject({ op: "adamW" });
});
