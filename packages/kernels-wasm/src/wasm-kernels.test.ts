import { Arena } from "@flashwick/kernels";
import { CONFORMANCE_ARENA_BYTES, conformanceCases, runConformanceCase, titleOf } from "@flashwick/kernels/conformance";
import { describe, it } from "vitest";
import { createWasmKernels } from "./wasm-kernels.js";

const MiB = 1024 * 1024;

describe("wasm kernels", () => {
  const kernels = createWasmKernels(new Arena(CONFORMANCE_ARENA_BYTES));
  for (const c of conformanceCases) it(titleOf(c), () => runConformanceCase(kernels, c));
});

describe("wasm kernels in shared memory", () => {
  const kernels = createWasmKernels(new Arena(CONFORMANCE_ARENA_BYTES, true));
  for (const c of conformanceCases) it(titleOf(c), () => runConformanceCase(kernels, c));
});

// Addresses from 2 GiB on are negative as signed 32-bit integers. Untouched pages of the arena take no memory.
describe("wasm kernels across the 2 GiB mark", () => {
  const arena = new Arena(2048 * MiB + CONFORMANCE_ARENA_BYTES);
  arena.allocate(2048 * MiB - 256 * 1024);
  const kernels = createWasmKernels(arena);
  for (const c of conformanceCases) it(titleOf(c), () => runConformanceCase(kernels, c));
});
