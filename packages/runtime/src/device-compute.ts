/** A graphics processor as who computes a model, with WebAssembly on the host for checksums, and for going on if the device is lost. */
import { UnsupportedError } from "@flashwick/core";
import { layerTensors, type ModelHeader } from "@flashwick/flash-format";
import { kernelFactory } from "@flashwick/kernels";
import { createWasmKernels } from "@flashwick/kernels-wasm";
import { DEVICE_SCRATCH, requireDeviceDType, requireDeviceRecords, type WebGpu } from "@flashwick/kernels-webgpu";
import type { ModelParts } from "./model-options.js";

/**
 * Holds a model against what shaders read, before anything of it is loaded.
 *
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` for a mixture of experts, and for types that shaders do not read: names the tensor and its type, lists what shaders read, and says what to do.
 */
export function requireDeviceModel(header: ModelHeader): void {
  const { weights, tensors } = header;
  if (weights.layout === "experts") {
    const message = "the experts of a mixture are computed on the processor only; choose the wasm backend";
    throw new UnsupportedError("UNSUPPORTED_FEATURE", message);
  }
  if (weights.layout !== "matrices") requireDeviceRecords(weights.dtype);
  for (const { name, dtype } of [...tensors.values(), ...layerTensors(header)])
    requireDeviceDType(dtype, `tensor ${name}`);
}

/** An arena is larger than what it hands out: by what it reserves for a module, and up to a page of 64 KiB. */
const ARENA_OVERHEAD_BYTES = 2 * 65536;

/**
 * What a model needs to know of a device. Closing the device stays its opener's.
 *
 * Each arena has a mirror on the device, of its own size: device memory, beside the DRAM budget.
 */
export function deviceCompute(
  device: WebGpu,
): Pick<ModelParts, "kernels" | "backend" | "maxArenaBytes" | "releaseArena" | "withoutDevice"> &
  Required<Pick<ModelParts, "overlap">> {
  return {
    kernels: kernelFactory((arena) => device.kernels(arena, createWasmKernels(arena)), DEVICE_SCRATCH),
    backend: "webgpu",
    maxArenaBytes: device.maxArenaBytes - ARENA_OVERHEAD_BYTES,
    releaseArena: (arena) => device.release(arena),
    // Computing takes no core of the host's.
    overlap: true,
    withoutDevice: { kernels: createWasmKernels, backend: "wasm" },
  };
}
