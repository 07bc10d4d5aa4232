/** Opening a model from a path in Node: file, sidecar predictor, kernels and reader, assembled. */
import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { type ByteSource, InputError, type PredictorSource, type SourcePart } from "@flashwick/core";
import type { DeviceProfile, EngineSettings } from "@flashwick/cost-model";
import type { UnitProfile } from "@flashwick/dram-cache";
import {
  type ModelHeader,
  openModelFile,
  openPredictorFile,
  sidecarPath,
  withChecksumsBeside,
} from "@flashwick/flash-format";
import { fileSource } from "@flashwick/flash-format/node";
import type { FlashReader } from "@flashwick/flash-io";
import { openFileReader, openFlashReader } from "@flashwick/flash-io/node";
import { type Arena, type KernelFactory, kernelFactory, type ScratchSizes } from "@flashwick/kernels";
import { createByteVectorReference, createReferenceKernels } from "@flashwick/kernels/reference";
import {
  compileByteVectorKernels,
  createByteVectorKernels,
  createReadLoop,
  createWasmKernels,
  poolScratch,
} from "@flashwick/kernels-wasm";
import { provokeCollection } from "@flashwick/kernels-wasm/node";
import {
  autoThreads,
  type Compute,
  checkActivationBits,
  computeAlone,
  computeOn,
  computeTogether,
  SMALL_FILE_BYTES,
} from "../compute.js";
import { requireDeviceModel } from "../device-compute.js";
import { Model } from "../model.js";
import type { ModelOptions, ModelParts } from "../model-options.js";
import { readHotExpertsFile } from "./hot-experts-file.js";
import { spareMemoryBytes } from "./machine-memory.js";
import { noteMachine, type ReadLoop } from "./measured-limit.js";
import { openNodeDevice } from "./node-device.js";
import { planSettings } from "./planned-settings.js";
import { readBriefProfile, readKeptProfile } from "./profile/kept-profile.js";

/** Who computes on the host, or a graphics processor. */
export type BackendName = "auto" | "wasm" | "webgpu" | "reference";

/** How Node opens a model. */
export interface OpenModelOptions extends Omit<ModelOptions, "hotExperts"> {
  /**
   * Hard ceiling of DRAM for weights, cache, keys and values, activations and buffers. Default: what the machine, or the control group of the process,
   * has free, less {@link RESERVE_BYTES}. A model that fits is resident, one that does not streams.
   */
  readonly dramBudgetBytes?: number | undefined;
  /** A predictor file; `auto` (default): the sidecar beside the model, if there is one; null: none. */
  readonly predictor?: string | "auto" | null;
  /**
   * Of a mixture: the experts that a workload used most, which are read when the model is loaded. A profile, or its file; `auto` (default):
   * `<model>.hot.json` beside the model, if there is one; null: none.
   */
  readonly hotExperts?: UnitProfile | string | "auto" | null | undefined;
  /**
   * Default `auto`: WebAssembly SIMD. `webgpu`: the graphics processor, through the package `webgpu` if it is installed; nothing is predicted of its
   * speed. `reference` is plain TypeScript: slow, for comparison.
   */
  readonly backend?: BackendName;
  /**
   * Threads that read flash, past the page cache where the file system allows. `auto` (default): what suits the device; 0: the
   * calling thread reads through the page cache, which is what `auto` means for files under 64 MiB.
   */
  readonly readers?: number | "auto";
  /** Threads that compute, the calling one included. `auto` (default): one a core, for files under 64 MiB just one. */
  readonly threads?: number | "auto";
  /** `buffered` reads through the page cache even where direct reads are possible. Default `auto`: direct. */
  readonly io?: "auto" | "buffered";
  /**
   * What this machine can do, as `flashwick profile` measures it: settings that are left to `auto` are then planned, and runs say what was
   * expected of them. Default `auto`: the profile that is kept for the model's device, if there is one; if there is only a brief one
   * ({@link briefProfile}), runs say what it expects, and it chooses nothing. Null: none.
   */
  readonly profile?: DeviceProfile | "auto" | null;
  /** For tests: makes every read of a reader thread wait for up to so many microseconds first. */
  readonly jitterUs?: number;
}

/**
 * Opens a model file, of a split model the first: reads its header only, and the checksums that lie beside a GGUF of llama.cpp
 * (`<model>.crc32c.gguf`). Weights are loaded by the first request.
 *
 * @throws {FormatError} {IntegrityError} {BudgetError} {IoError} as the file, the predictor or the budget deserve.
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` if `activationBits` asks for what the runtime or the backend does not have.
 */
export async function openModel(path: string, wishes: OpenModelOptions = {}): Promise<Model> {
  checkActivationBits(wishes.activationBits, wishes.backend ?? "auto");
  const options = { ...wishes, dramBudgetBytes: wishes.dramBudgetBytes ?? spareMemoryBytes() };
  // What has been opened so far, to be closed in reverse.
  const opened: (() => Promise<void>)[] = [];
  try {
    const source = await fileSource(path);
    opened.push(() => source.close());
    const file = await withChecksumsBeside(await openModelFile(source));
    const size = file.header.fileBytes;
    const { hotExperts: wanted = "auto" } = options;
    const isRead = typeof wanted === "object" && wanted !== null;
    const hotExperts = isRead ? wanted : await readHotExpertsFile(path, file.header, wanted);
    const sidecar = await openPredictor(path, options);
    if (sidecar) opened.push(() => sidecar.source.close());
    const onDevice = options.backend === "webgpu";
    if (onDevice) requireDeviceModel(file.header);
    // A profile knows the processor's kernels only.
    const profile = onDevice ? null : chosenProfile(path, options);
    const plan =
      size < SMALL_FILE_BYTES || onDevice
        ? null
        : planSettings(file.header, sidecar?.predictor ?? null, profile, options, scratchOf(options.backend ?? "auto"));
    const chosen = plan === null ? options : withPlan(options, plan.settings);
    const reader = await openReader(file.source.parts ?? path, size, chosen);
    opened.push(() => reader.close());
    const compute = await openCompute(size, chosen);
    opened.push(compute.close);
    const { threads = 1 } = compute.parts;
    const arenas = new Set<Arena>();
    const parts: ModelParts = {
      file,
      reader,
      predictor: sidecar?.predictor ?? null,
      clock: () => performance.now(),
      overlap: plan?.settings.overlap ?? overlapsUnplanned(file.header, reader, threads),
      // What guesses cost is not in the plan's arithmetic.
      lookahead: plan === null ? undefined : false,
      // A profile's rates are those of the default's kernels.
      profile: options.activationBits === undefined ? (profile ?? briefFor(path, size, options)) : null,
      plan,
      activationBits: options.activationBits,
      sharedMemory: threads > 1,
      // V8 does not count shared memory as something to be collected: engine after engine would stay (measured, Node 20).
      freeDropped: provokeCollection,
      ...compute.parts,
      ...(compute.readLoop && watchArenas(compute.parts, arenas)),
      onClose: async () => {
        arenas.clear();
        await compute.close();
        await sidecar?.source.close();
      },
    };
    const model = new Model(parts, { ...chosen, hotExperts, mode: options.mode ?? plan?.settings.mode });
    if (compute.readLoop) noteMachine(model, { readLoop: compute.readLoop, arenas });
    return model;
  } catch (error) {
    // The first failure is the one to report.
    for (const close of opened.reverse()) await close().catch(() => {});
    throw error;
  }
}

/**
 * Reader threads must come by a core for every read: where computing takes all, each waits for the other (docs/decisions/0009). Rows of matrices
 * are read 128 KiB at a time, which keeps no core busy.
 */
function overlapsUnplanned({ weights }: ModelHeader, reader: FlashReader, threads: number): boolean {
  return weights.layout === "matrices" || reader.leavesCores || availableParallelism() > threads;
}

/** Options with what was planned in the place of `auto`. */
function withPlan(options: OpenModelOptions, { readers, threads, mergeGapBytes }: EngineSettings): OpenModelOptions {
  return { ...options, readers, threads, mergeGapBytes };
}

async function openReader(
  path: string | readonly SourcePart[],
  fileBytes: number,
  options: OpenModelOptions,
): Promise<FlashReader> {
  const { readers = "auto", mergeGapBytes, io, jitterUs } = options;
  checkCount("readers", readers, 0);
  if (readers === 0 || (readers === "auto" && fileBytes < SMALL_FILE_BYTES)) return openFileReader(path);
  return await openFlashReader(path, {
    readers,
    mergeGapBytes: mergeGapBytes ?? "auto",
    direct: io === "buffered" ? false : "auto",
    ...(jitterUs === undefined ? {} : { jitterUs }),
  });
}

function chosenProfile(path: string, { profile = "auto" }: OpenModelOptions): DeviceProfile | null {
  return profile === "auto" ? readKeptProfile(path) : profile;
}

/** What predicts where nothing else does: it is too rough to choose by. */
function briefFor(path: string, fileBytes: number, { profile = "auto", backend }: OpenModelOptions) {
  if (profile !== "auto" || backend === "webgpu") return null;
  return readBriefProfile(path, fileBytes < SMALL_FILE_BYTES);
}

interface NodeCompute extends Compute {
  /** With the threads that compute; null where a device does. */
  readonly readLoop: ReadLoop | null;
}

async function openCompute(fileBytes: number, options: OpenModelOptions): Promise<NodeCompute> {
  if (options.backend === "webgpu") return { ...computeOn(await openNodeDevice()), readLoop: null };
  const { name, kernels } = kernelsOf(options.backend ?? "auto");
  const { threads: wanted = "auto", activationBits } = options;
  checkCount("threads", wanted, 1);
  const threads = wanted === "auto" ? autoThreads(fileBytes, availableParallelism()) : wanted;
  if (threads === 1 || name !== "wasm") {
    const chosen = activationBits === 8 ? await byteVectorKernels(name) : kernels;
    return { ...computeAlone(name, chosen), readLoop: readLoopAlone };
  }
  // Loaded only where threads are used: a single one needs no workers.
  const { createComputePool } = await import("@flashwick/kernels-wasm/node");
  const pool = await createComputePool({ threads, activationBits });
  return { ...computeTogether(pool), readLoop: (arena, ptr, sizeBytes) => pool.readLoop(arena, ptr, sizeBytes) };
}

async function byteVectorKernels(backend: string): Promise<KernelFactory> {
  if (backend === "reference") return createByteVectorReference;
  await compileByteVectorKernels();
  return createByteVectorKernels;
}

/** An instance of the module for each arena, made once. */
const loops = new WeakMap<Arena, (ptr: number, sizeBytes: number) => void>();

function readLoopAlone(arena: Arena, ptr: number, sizeBytes: number): void {
  const loop = loops.get(arena) ?? createReadLoop(arena);
  loops.set(arena, loop);
  loop(ptr, sizeBytes);
}

/** The same kernels, which keep `arenas` to those that an engine works in. */
function watchArenas({ kernels, releaseArena }: Compute["parts"], arenas: Set<Arena>) {
  return {
    kernels: kernelFactory((arena: Arena) => {
      arenas.add(arena);
      return kernels(arena);
    }, kernels),
    releaseArena: (arena: Arena) => {
      arenas.delete(arena);
      releaseArena?.(arena);
    },
  };
}

function checkCount(what: string, count: number | "auto", least: number): void {
  if (count === "auto" || (Number.isInteger(count) && count >= least && count <= 256)) return;
  throw new InputError("INPUT_INVALID", `${what} is ${count}, expected an integer from ${least} to 256, or auto`);
}

/** What kernels of the host need on so many threads; those that are no WebAssembly compute on one. */
function scratchOf(backend: string): (threads: number) => ScratchSizes {
  const { name, kernels } = kernelsOf(backend);
  return name === "wasm" ? poolScratch : () => kernels;
}

/** The kernels on the host that a backend's name stands for. */
export function kernelsOf(backend: string): { name: string; kernels: KernelFactory } {
  switch (backend) {
    case "auto":
    case "wasm":
      return { name: "wasm", kernels: createWasmKernels };
    case "reference":
      return { name: "reference", kernels: createReferenceKernels };
    default:
      throw new InputError(
        "INPUT_INVALID",
        `unknown host backend ${JSON.stringify(backend)}, expected auto, wasm or reference`,
      );
  }
}

/** The predictor's source stays open: its weights are read by each engine anew, so that they lie in the arena only. */
async function openPredictor(
  modelPath: string,
  options: OpenModelOptions,
): Promise<{ readonly predictor: PredictorSource; readonly source: ByteSource } | null> {
  const wanted = options.predictor === undefined ? "auto" : options.predictor;
  if (wanted === null || (options.mode !== undefined && options.mode !== "predicted")) return null;
  const path = wanted === "auto" ? sidecarPath(modelPath) : wanted;
  if (wanted === "auto" && !existsSync(path)) return null;
  const source = await fileSource(path);
  try {
    return { predictor: await openPredictorFile(source), source };
  } catch (error) {
    await source.close();
    throw error;
  }
}
