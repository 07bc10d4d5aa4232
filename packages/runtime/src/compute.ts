/** Who computes a model: the calling thread alone, a pool of threads, or a device; and how many threads where nobody says, alike in Node and in a page. */

import { InputError, UnsupportedError } from "@flashwick/core";
import type { KernelFactory } from "@flashwick/kernels";
import type { ComputePool } from "@flashwick/kernels-wasm/browser";
import type { WebGpu } from "@flashwick/kernels-webgpu";
import { deviceCompute } from "./device-compute.js";
import type { ModelParts } from "./model-options.js";

export interface Compute {
  readonly parts: Pick<
    ModelParts,
    | "kernels"
    | "backend"
    | "threads"
    | "activationBits"
    | "releaseArena"
    | "maxArenaBytes"
    | "overlap"
    | "withoutDevice"
  >;
  close(): Promise<void>;
}

/** A model file below this is in memory anyway, and its matrices are too small to be shared out. */
export const SMALL_FILE_BYTES = 64 * 2 ** 20;
/** More threads than this are rarely worth their hand-offs. */
const MOST_AUTO_THREADS = 8;

/** @param cores That may compute; below 1 counts as 1. */
export function autoThreads(fileBytes: number, cores: number): number {
  return fileBytes < SMALL_FILE_BYTES ? 1 : Math.max(1, Math.min(cores, MOST_AUTO_THREADS));
}

/**
 * @throws {InputError} `INPUT_INVALID` if `activationBits` is a number that nothing stands for.
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` if the backend has no such kernels.
 */
export function checkActivationBits(activationBits: number | undefined, backend: string): void {
  if (activationBits === undefined) return;
  if (activationBits !== 8) {
    throw new InputError(
      "INPUT_INVALID",
      `activationBits is ${activationBits}, expected 8, or nothing for the default`,
    );
  }
  if (backend === "webgpu") {
    const message =
      "shaders have no activations of 8 bits; leave activationBits out, or choose another backend than webgpu";
    throw new UnsupportedError("UNSUPPORTED_FEATURE", message);
  }
}

export function computeAlone(backend: string, kernels: KernelFactory): Compute {
  return { parts: { backend, kernels }, async close() {} };
}

export function computeTogether(pool: ComputePool): Compute {
  return {
    parts: {
      backend: "wasm",
      threads: pool.threads,
      kernels: pool.kernels,
      releaseArena: (arena) => pool.release(arena),
    },
    close: () => pool.close(),
  };
}

export function computeOn(device: WebGpu): Compute {
  return { parts: deviceCompute(device), close: async () => device.close() };
}
