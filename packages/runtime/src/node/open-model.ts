/** Opening a model from a path in Node: file, sidecar predictor, kernels and reader, assembled. */
import { existsSync } from "node:fs";
import { InputError, type Predictor } from "@flashwick/core";
import { openModelFile, readPredictorFile } from "@flashwick/flash-format";
import { fileSource } from "@flashwick/flash-format/node";
import { openFileReader } from "@flashwick/flash-io/node";
import type { KernelFactory } from "@flashwick/kernels";
import { createReferenceKernels } from "@flashwick/kernels/reference";
import { createWasmKernels } from "@flashwick/kernels-wasm";
import { Model, type ModelOptions } from "../model.js";

export type BackendName = "auto" | "wasm" | "reference";

export interface OpenModelOptions extends ModelOptions {
  /** A predictor file; `auto` (default): the sidecar beside the model, if there is one; null: none. */
  readonly predictor?: string | "auto" | null;
  /** Default `auto`: WebAssembly SIMD. `reference` is plain TypeScript: slow, for comparison. */
  readonly backend?: BackendName;
}

/** `dir/opt-demo.gguf` -> `dir/opt-demo.predictor.gguf`. */
export function sidecarPath(modelPath: string): string {
  return `${modelPath.replace(/\.gguf$/, "")}.predictor.gguf`;
}

/**
 * Opens a model file: reads its header only. Weights are loaded by the first request.
 *
 * @throws {FormatError} {IntegrityError} {BudgetError} {IoError} as the file, the predictor or the budget deserve.
 */
export async function openModel(path: string, options: OpenModelOptions = {}): Promise<Model> {
  const { name, kernels } = kernelsOf(options.backend ?? "auto");
  const source = await fileSource(path);
  try {
    const file = await openModelFile(source);
    const predictor = await openPredictor(path, options);
    const reader = openFileReader(path);
    try {
      const parts = { file, reader, kernels, backend: name, predictor, clock: () => performance.now() };
      return new Model(parts, options);
    } catch (error) {
      await reader.close();
      throw error;
    }
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** The kernels that a backend's name stands for. */
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
        `unknown backend ${JSON.stringify(backend)}, expected auto, wasm or reference`,
      );
  }
}

async function openPredictor(modelPath: string, options: OpenModelOptions): Promise<Predictor | null> {
  const wanted = options.predictor === undefined ? "auto" : options.predictor;
  if (wanted === null || options.mode === "dense" || options.mode === "oracle") return null;
  const path = wanted === "auto" ? sidecarPath(modelPath) : wanted;
  if (wanted === "auto" && !existsSync(path)) return null;
  const source = await fileSource(path);
  try {
    return await readPredictorFile(source);
  } finally {
    await source.close();
  }
}
