import { describe, expect, it } from "vitest";
import { Arena } from "../arena.js";
import { CONFORMANCE_ARENA_BYTES, conformanceCases, runConformanceCase, titleOf } from "../conformance/index.js";
import { createReferenceKernels } from "./reference-kernels.js";

describe("reference kernels", () => {
  const kernels = createReferenceKernels(new Arena(CONFORMANCE_ARENA_BYTES));
  for (const c of conformanceCases) it(titleOf(c), () => expect(() => runConformanceCase(kernels, c)).not.toThrow());
});
