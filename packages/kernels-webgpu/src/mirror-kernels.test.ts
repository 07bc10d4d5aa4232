import { activationFunction } from "@flashwick/core";
import type { Arena, HostKernels, SlotMatrix } from "@flashwick/kernels";
import { expect, it } from "vitest";
import { MirrorKernels } from "./mirror-kernels.js";
import type { OpenDevice } from "./web-gpu.js";

const GiB = 2 ** 30;

/** A device that only notes which bytes of the mirror are written and read, and an arena of 4 GiB that has no memory. */
function notingDevice() {
  const written: number[] = [];
  const read: number[] = [];
  const buffer = { destroy() {}, size: 0, unmap() {}, async mapAsync() {}, getMappedRange: () => new ArrayBuffer(8) };
  const device = {
    createBuffer: () => buffer,
    createBindGroup: () => ({}),
    createCommandEncoder: () => ({
      copyBufferToBuffer: (_from: unknown, offset: number) => void read.push(offset),
      finish: () => ({}),
    }),
    queue: { writeBuffer: (_to: unknown, offset: number) => void written.push(offset), submit() {} },
  };
  const set: number[] = [];
  const bytes = {
    subarray: (begin: number, end: number) => new Uint8Array(end - begin),
    set: (_bytes: Uint8Array, at: number) => void set.push(at),
  };
  const arena = { sizeBytes: 4 * GiB, bytes } as unknown as Arena;
  const open = { device, failure: null, adapter: "none" } as unknown as OpenDevice;
  return { kernels: new MirrorKernels(open, arena, {} as HostKernels), written, read, set };
}

it("bytes above 2 GiB are not written before the mirror's beginning", () => {
  const { kernels, written } = notingDevice();
  for (const ptr of [GiB + 6, 2 * GiB, 3 * GiB + 6, 4 * GiB - 4]) kernels.put(ptr, 2);
  expect(written).toEqual([GiB + 4, 2 * GiB, 3 * GiB + 4, 4 * GiB - 4]);
});

it("bytes above 2 GiB are not read from before the mirror's beginning", async () => {
  const { kernels, read, set } = notingDevice();
  await kernels.take(3 * GiB + 5, 3);
  expect(read).toEqual([3 * GiB + 4]);
  expect(set).toEqual([3 * GiB + 4]);
});

it("the clamped SwiGLU of neurons without a gate is refused, and one with another function of the up projection", () => {
  const { kernels } = notingDevice();
  const clamped = activationFunction("swiglu-clamped");
  const matrix: SlotMatrix = {
    ...{ dtype: "f32", base: 0, strideBytes: 512, upOffsetBytes: 0, downOffsetBytes: 256, scalesOffsetBytes: 0 },
    ...{ dModel: 16, bias: 0, gate: null },
  };
  expect(() => kernels.ffnUp(0, 0, matrix, 0, 0, 1, clamped, 0)).toThrow("swiglu-clamped is of gated neurons");
  expect(() => kernels.gate(0, 0, 0, 0, { ...clamped, up: "relu" })).toThrow("swiglu-clamped is of gated neurons");
});
