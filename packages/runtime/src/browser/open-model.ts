/**
 * Opening a model in a page: from its private file system, or straight from a web server. In a dedicated worker: computing blocks, and pages have no
 * synchronous handles.
 *
 * WebAssembly SIMD on the worker that calls, or the graphics processor; reads by workers of their own where memory can be shared.
 */
import type { ByteSource, PredictorSource } from "@flashwick/core";
import type { DeviceProfile } from "@flashwick/cost-model";
import { openModelFile, openPredictorFile } from "@flashwick/flash-format";
import type { FlashReader } from "@flashwick/flash-io";
import { type HttpReaderOptions, type HttpSourceOptions, httpSource, openHttpReader } from "@flashwick/flash-io/http";
import { type ModelStore, type OpfsReaderOptions, openOpfsReader } from "@flashwick/flash-io/opfs";
import { createWasmKernels } from "@flashwick/kernels-wasm";
import { openWebGpu, type WebGpu } from "@flashwick/kernels-webgpu";
import { deviceCompute } from "../device-compute.js";
import { Model, type ModelOptions } from "../model.js";

export interface OpenBrowserModelOptions extends ModelOptions {
  /** Name (stored) or address of a predictor file; `auto` (default): `<model>.predictor.gguf` beside the model, if it is there; null: none. */
  readonly predictor?: string | "auto" | null;
  /** Default `auto`: WebAssembly SIMD. `webgpu`: the graphics processor; nothing is predicted of its speed. */
  readonly backend?: "auto" | "wasm" | "webgpu";
  /** Default: what suits. */
  readonly reader?: OpfsReaderOptions;
  /** What this machine can do: predictions (`model.predict`) stand on it. Default null: none. */
  readonly profile?: DeviceProfile | null;
}

/**
 * Opens a model of the store: reads its header only. Weights are loaded by the first request.
 *
 * @throws {IoError} `IO_NOT_FOUND`; {FormatError} {IntegrityError} {BudgetError} as the file, the predictor or the budget deserve.
 */
export async function openStoredModel(
  store: ModelStore,
  name: string,
  options: OpenBrowserModelOptions = {},
): Promise<Model> {
  const wanted = predictorOf(name, options);
  const predictor = wanted !== null && (!wanted.optional || (await store.has(wanted.name))) ? wanted.name : null;
  return await assemble(
    {
      model: () => store.openSource(name),
      predictor: predictor === null ? null : () => store.openSource(predictor),
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
      reader: () => openHttpReader(url, http),
    },
    options,
  );
}

/** Where the parts come from. */
interface Origins {
  readonly model: () => Promise<ByteSource>;
  readonly predictor: (() => Promise<ByteSource>) | null;
  readonly reader: () => Promise<FlashReader>;
}

async function assemble(origins: Origins, options: OpenBrowserModelOptions): Promise<Model> {
  const opened: { close(): Promise<void> }[] = [];
  const open = async <T extends { close(): Promise<void> }>(make: () => Promise<T>): Promise<T> => {
    const one = await make();
    opened.push(one);
    return one;
  };
  try {
    const file = await openModelFile(await open(origins.model));
    let predictor: PredictorSource | null = null;
    if (origins.predictor && options.mode !== "dense" && options.mode !== "oracle") {
      const source = await open(origins.predictor);
      predictor = await openPredictorFile(source);
    }
    const reader = await open(origins.reader);
    const device = options.backend === "webgpu" ? await open(openDevice) : null;
    const [, ...beside] = opened;
    const compute = device
      ? { ...deviceCompute(device.gpu), profile: null }
      : // One core computes, and every page has more than one.
        {
          kernels: createWasmKernels,
          backend: "wasm",
          overlap: reader.readers > 0,
          profile: options.profile ?? null,
        };
    const parts = {
      file,
      reader,
      predictor,
      clock: () => performance.now(),
      sharedMemory: reader.needsSharedMemory,
      ...compute,
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

async function openDevice(): Promise<{ readonly gpu: WebGpu; close(): Promise<void> }> {
  const gpu = await openWebGpu();
  return { gpu, close: async () => gpu.close() };
}

function predictorOf(name: string, { predictor = "auto", mode }: OpenBrowserModelOptions) {
  if (predictor === null || mode === "dense" || mode === "oracle") return null;
  if (predictor !== "auto") return { name: predictor, optional: false };
  return { name: name.replace(/(\.gguf)?$/, ".predictor.gguf"), optional: true };
}
