import { crc32c } from "@flashwick/flash-format";
import { Arena } from "@flashwick/kernels";
import { createReferenceKernels } from "@flashwick/kernels/reference";
import { createWasmKernels } from "@flashwick/kernels-wasm";
import { describe, expect, it } from "vitest";
import { SplitCrc } from "./split-crc.js";

const KiB = 1024;

describe.each([
  ["reference", createReferenceKernels],
  ["wasm", createWasmKernels],
] as const)("SplitCrc on %s", (_, createKernels) => {
  it.each([
    ["shorter than two pieces", 100 * KiB, 16],
    ["whole pieces", 256 * KiB, 16],
    ["pieces and a rest", 300 * KiB + 13, 16],
    ["longer pieces where there is room for few", 1000 * KiB + 1, 3],
    ["room for none", 300 * KiB, 0],
  ])("is the checksum of the whole: %s", (_, sizeBytes, most) => {
    const arena = new Arena(2 * 1024 * KiB);
    const room = { numbers: arena.allocate(4 * 16), found: arena.allocate(4 * 16), most };
    const ptr = arena.allocate(sizeBytes + 64) + 5;
    const bytes = arena.bytes.subarray(ptr, ptr + sizeBytes);
    for (let i = 0; i < sizeBytes; i++) bytes[i] = Math.imul(i, 2654435761) >>> 24;
    const crc = new SplitCrc(createKernels(arena), sizeBytes, room);
    expect(crc.of(ptr)).toBe(crc32c(bytes));
    bytes[sizeBytes >> 1]! ^= 1;
    expect(crc.of(ptr)).toBe(crc32c(bytes));
  });
});
