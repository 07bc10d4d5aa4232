/**
 * Opening a model in a page: from its private file system, or straight from a web server. In a dedicated worker: computing blocks, and pages have no
 * synchronous handles.
 *
 * WebAssembly SIMD on the worker that calls, with others beside it where memory can be shared, or the graphics processor; reads by workers of their own,
 * where memory can be shared.
 */
import type { ByteSource, PredictorSource } from "@flashwick/core";
import type { DeviceProfile } from "@flashwick/cost-model";
import { openModelFile, openPredictorFile, sidecarPath } from "@flashwick/flash-format";
import type { FlashReader } from "@flashwick/flash-io";
import { type HttpReaderOptions, type HttpSourceOptions, httpSource, openHttpReader } from "@flashwick/flash-io/http";
import { canShareMemory, type ModelStore, type OpfsReaderOptions, openOpfsReader } from "@flashwick/flash-io/opfs";
import { compileByteVectorKernels, createByteVectorKernels, createWasmKernels } from "@flashwick/kernels-wasm";
import { createComputePool } from "@flashwick/kernels-wasm/browser";
import { openWebGpu } from "@flashwick/kernels-webgpu";
import {
  autoThreads,
  type Compute,
  checkActivationBits,
  computeAlone,
  computeOn,
  computeTogether,
} from "../compute.js";
import { requireDeviceModel } from "../device-compute.js";
import { Model } from "../model.js";
import type { ModelOptions, ModelParts } from "../model-options.js";

/** How a page opens a model. */
export interface OpenBrowserModelOptions extends ModelOptions {
  /** Name (stored) or address of a predictor file; `auto` (default): `<model>.predictor.gguf` beside the model, if it is there; null: none. */
  readonly predictor?: string | "auto" | null;
  /** Default `auto`: WebAssembly SIMD. `webgpu`: the graphics processor; nothing is predicted of its speed. */
  readonly backend?: "auto" | "wasm" | "webgpu";
  /** Default: what suits. */
  readonly reader?: OpfsReaderOptions;
  /**
   * Threads that compute, the calling worker included. `auto` (default): one a core, but for one core that is the page's, at most 8; just one for
   * files under 64 MiB, and where memory cannot be shared.
   */
  readonly threads?: number | "auto";
  /** How compute threads' workers are made, where a bundler needs to know. Default: page-compute-worker.js of `@flashwick/kernels-wasm`. */
  readonly createComputeWorker?: () => Worker;
  /** What this machine can do: predictions (`model.predict`) stand on it. Default null: none. */
  readonly profile?: DeviceProfile | null;
}

/**
 * Opens a model of the store: reads its header only. Weights are loaded by the first request.
 *
 * @throws {IoError} `IO_NOT_FOUND`; {UnsupportedError} `UNSUPPORTED_FEATURE` for a model in several files; {FormatError} {IntegrityError} {BudgetError}
 *   as the file, the predictor or the budget deserve.
 */
export async function openStoredModel(
  store: ModelStore,
  name: string,
  options: OpenBrowserModelOptions = {},
): Promise<Model> {
  const predictor = await predictorOf(store, name, options);
  return await assemble(
    {
      model: () => store.openSource(name),
      predictor: predictor === null ? null : () => store.openSource(predictor),
      // A split model has been refused by now: the store's sources have no siblings.
      reader: async () => await openOpfsReader(await store.file(name), options.reader),
    },
    options,
  );
}

/**
 * Opens a model on a web server that knows ranges, without fetching it whole: every missing neuron is a request.
 *
 * @throws As {@link openStoredModel} and `httpSource`. A predictor must be named: asking for one that may not be there costs a failed request.
 */
export async function openUrlModel(
  url: string,
  options: OpenBrowserModelOptions & { readonly http?: HttpSourceOptions & HttpReaderOptions } = {},
): Promise<Model> {
  const { http = {}, predictor } = options;
  return await assemble(
    {
      model: () => httpSource(url, http),
      predictor: predictor && predictor !== "auto" ? () => httpSource(predictor, http) : null,
      reader: ({ parts }) => openHttpReader(parts ?? url, http),
    },
    options,
  );
}

/** Where the parts come from. */
interface Origins {
  readonly model: () => Promise<ByteSource>;
  readonly predictor: (() => Promise<ByteSource>) | null;
  /** @param source The model's, all of its files. */
  readonly reader: (source: ByteSource) => Promise<FlashReader>;
}

async function assemble(origins: Origins, options: OpenBrowserModelOptions): Promise<Model> {
  const opened: { close(): Promise<void> }[] = [];
  const open = async <T extends { close(): Promise<void> }>(make: () => Promise<T>): Promise<T> => {
    const one = await make();
    opened.push(one);
    return one;
  };
  try {
    const model = await open(origins.model);
    const file = await openModelFile(model);
    if (options.backend === "webgpu") requireDeviceModel(file.header);
    let predictor: PredictorSource | null = null;
    if (origins.predictor && namesNeurons(options)) {
      const source = await open(origins.predictor);
      predictor = await openPredictorFile(source);
    }
    const reader = await open(() => origins.reader(file.source));
    const compute = await open(() => openCompute(model.sizeBytes, options));
    const { threads = 1 } = compute.parts;
    const [, ...beside] = opened;
    const parts: ModelParts = {
      file,
      reader,
      predictor,
      clock: () => performance.now(),
      // Reads need a core that does not compute, which every page has beside one thread.
      overlap: reader.readers > 0 && (threads === 1 || navigator.hardwareConcurrency > threads),
      sharedMemory: threads > 1,
      // A profile's rates are those of the processor's kernels, as they are by default.
      profile: options.backend === "webgpu" || options.activationBits ? null : (options.profile ?? null),
      activationBits: options.activationBits,
      ...compute.parts,
      onClose: async () => {
        // The file and its reader are the model's own.
        for (const one of beside) if (one !== reader) await one.close();
      },
    };
    return new Model(parts, options);
  } catch (error) {
    // The first failure is the one to report.
    for (const one of opened.reverse()) await one.close().catch(() => {});
    throw error;
  }
}

async function openCompute(fileBytes: number, options: OpenBrowserModelOptions): Promise<Compute> {
  const { threads: wanted = "auto", createComputeWorker: createWorker, backend, activationBits } = options;
  checkActivationBits(activationBits, backend ?? "auto");
  if (backend === "webgpu") return computeOn(await openWebGpu());
  // One core is the page's own.
  const suits = canShareMemory() ? autoThreads(fileBytes, navigator.hardwareConcurrency - 1) : 1;
  const threads = wanted === "auto" ? suits : wanted;
  if (threads > 1) return computeTogether(await createComputePool({ threads, createWorker, activationBits }));
  if (activationBits === undefined) return computeAlone("wasm", createWasmKernels);
  await compileByteVectorKernels();
  return computeAlone("wasm", createByteVectorKernels);
}

/** Whether a predictor is of use. */
function namesNeurons({ mode }: OpenBrowserModelOptions): boolean {
  return mode === undefined || mode === "predicted";
}

/** What to open of the store as `name`'s predictor; null: nothing. */
async function predictorOf(store: ModelStore, name: string, options: OpenBrowserModelOptions): Promise<string | null> {
  const { predictor = "auto" } = options;
  if (predictor !== "auto") return predictor;
  const beside = sidecarPath(name);
  return (await store.has(beside)) ? beside : null;
}
