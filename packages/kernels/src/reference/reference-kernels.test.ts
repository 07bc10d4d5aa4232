import { activationFunction } from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { Arena } from "../arena.js";
import { CONFORMANCE_ARENA_BYTES, conformanceCases, runConformanceCase, titleOf } from "../conformance/index.js";
import type { SlotMatrix } from "../contract.js";
import { createReferenceKernels } from "./reference-kernels.js";

describe("reference kernels", () => {
  const kernels = createReferenceKernels(new Arena(CONFORMANCE_ARENA_BYTES));
  for (const c of conformanceCases) it(titleOf(c), () => expect(() => runConformanceCase(kernels, c)).not.toThrow());

  it("refuse the clamped SwiGLU of neurons without a gate, and with another function of the up projection", () => {
    const clamped = activationFunction("swiglu-clamped");
    const matrix: SlotMatrix = {
      ...{ dtype: "f32", base: 0, strideBytes: 512, upOffsetBytes: 0, downOffsetBytes: 256, scalesOffsetBytes: 0 },
      ...{ dModel: 16, bias: 0, gate: null },
    };
    expect(() => kernels.ffnUp(0, 0, matrix, 0, 0, 1, clamped, 0)).toThrow("swiglu-clamped is of gated neurons");
    expect(() => kernels.gate(0, 0, 0, 0, { ...clamped, up: "relu" })).toThrow("swiglu-clamped is of gated neurons");
  });
});
