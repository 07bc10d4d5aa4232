/**
 * Test support: a device as the contract sees it, without one. Ops work on an arena of their own, which host bytes reach by `put` alone and leave by
 * `take` alone, a turn later: an engine that forgets one of them computes with zeros or with yesterday's bytes.
 */
import {
  ARENA_RESERVED_BYTES,
  Arena,
  type KernelFactory,
  type Kernels,
  kernelFactory,
  type Ptr,
} from "@flashwick/kernels";
import { createWasmKernels } from "@flashwick/kernels-wasm";

export const mirroredKernels: KernelFactory<Kernels> = kernelFactory(mirrored, createWasmKernels);

function mirrored(arena: Arena): Kernels {
  const mirror = createWasmKernels(new Arena(arena.sizeBytes - ARENA_RESERVED_BYTES));
  const { crc32c, crc32cSlots } = createWasmKernels(arena);
  const bytes = (of: Arena, ptr: Ptr, sizeBytes: number) => of.bytes.subarray(ptr, ptr + sizeBytes);
  const take = async (ptr: Ptr, sizeBytes: number) => {
    await Promise.resolve();
    arena.bytes.set(bytes(mirror.arena, ptr, sizeBytes), ptr);
  };
  return {
    ...mirror,
    backend: "webgpu",
    arena,
    mirrored: true,
    put: (ptr, sizeBytes) => mirror.arena.bytes.set(bytes(arena, ptr, sizeBytes), ptr),
    take,
    async selectAbove(out, scores, n, threshold) {
      const count = mirror.selectAbove(out, scores, n, threshold);
      await take(out, 4 * count);
      return count;
    },
    crc32c,
    crc32cSlots,
  };
}
