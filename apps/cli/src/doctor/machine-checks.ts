/** What the processor, the runtime and the memory are. */
import { availableParallelism, cpus, totalmem } from "node:os";
import { formatBytes } from "@flashwick/core";
import { compileByteVectorKernels, compileWasmKernels } from "@flashwick/kernels-wasm";
import { nodeGpuName, RESERVE_BYTES, spareMemoryBytes } from "@flashwick/runtime/node";
import { type Check, checkOf } from "./check.js";

/** Of package.json's `engines`. */
const LEAST_NODE = [20, 19] as const;

export async function machineChecks(): Promise<Check[]> {
  return [
    nodeCheck(process.versions.node),
    threadsCheck(availableParallelism(), typeof SharedArrayBuffer === "function"),
    await checkOf("SIMD", "the kernels: without it nothing is computed but by the reference, slowly", async () => {
      await compileWasmKernels();
      return "WebAssembly SIMD of 128 bits";
    }),
    await checkOf(
      "relaxed SIMD",
      "--activation-bits 8: faster products with blocks of four to eight bits",
      async () => {
        await compileByteVectorKernels();
        return "there, with the results that its products must have";
      },
    ),
    await checkOf("GPU", "--backend webgpu: a graphics processor computes", nodeGpuName),
    memoryCheck(spareMemoryBytes()),
    memoryLimitCheck(process.constrainedMemory(), totalmem()),
  ];
}

export function nodeCheck(version: string): Check {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [leastMajor, leastMinor] = LEAST_NODE;
  return {
    name: "Node",
    ok: major > leastMajor || (major === leastMajor && minor >= leastMinor),
    found: `${version} on ${process.platform}, ${process.arch}`,
    brings: `all of flashwick from ${LEAST_NODE.join(".")} on; from 22 on, relaxed SIMD too`,
  };
}

export function threadsCheck(cores: number, hasSharedMemory: boolean): Check {
  const processor = cpus()[0]?.model.trim() ?? "unknown processor";
  return {
    name: "threads",
    ok: cores > 1 && hasSharedMemory,
    found: `${cores} cores, ${processor}${hasSharedMemory ? "" : ", no shared memory"}`,
    brings: "large models computed on all cores, and flash read beside it",
  };
}

export function memoryCheck(spareBytes: number): Check {
  return {
    name: "memory",
    ok: spareBytes > RESERVE_BYTES,
    found: `${formatBytes(spareBytes)} for a model, with ${formatBytes(RESERVE_BYTES)} left to everything else`,
    brings: "the default --dram-budget: a model that fits is resident, a larger one streams",
  };
}

/** @param constrainedBytes As `process.constrainedMemory` gives it: 0, or more than there is, where nothing limits. */
export function memoryLimitCheck(constrainedBytes: number, totalBytes: number): Check {
  const isLimited = constrainedBytes > 0 && constrainedBytes < totalBytes;
  return {
    name: "memory limit",
    ok: true,
    found: isLimited
      ? `${formatBytes(constrainedBytes)}, of the process's control group; the machine has ${formatBytes(totalBytes)}`
      : `none but the machine's ${formatBytes(totalBytes)}`,
    brings: "a limit that counts the page cache, too: direct reads stay out of it",
  };
}
