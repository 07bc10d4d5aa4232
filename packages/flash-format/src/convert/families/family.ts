/**
 * What conversion must know of a checkpoint family: how its config.json becomes a geometry, and which checkpoint tensor holds each
 * tensor of the model file. A family is a table of names, not code that touches weights.
 */
import type { ModelGeometry } from "@flashwick/core";
import type { TensorShape } from "../../model-writer.js";

/** Rows `first … first + count` of a checkpoint tensor. */
export interface RowRange {
  readonly first: number;
  readonly count: number;
}

/** Where a tensor of the model file comes from. */
export interface WeightSource {
  /** Names under which checkpoints hold it, the usual one first. */
  readonly names: readonly string[];
  /** The shape that the checkpoint's tensor must have. */
  readonly shape: readonly number[];
  /** The rows that are wanted, in this order; all of them if absent. For tensors that hold several (fused query, key, value). */
  readonly rows?: readonly RowRange[];
}

export interface CheckpointFamily {
  /** `model_type` of config.json. */
  readonly modelType: string;
  /** Class names in `architectures` that hold a language model of this family. */
  readonly architectures: readonly string[];
  /**
   * @param config Parsed config.json.
   * @param where  For messages: the file's name.
   * @throws {FormatError} `CHECKPOINT_CONFIG` naming the field. {UnsupportedError} `UNSUPPORTED_ACTIVATION`, `UNSUPPORTED_FEATURE`.
   */
  readGeometry(config: unknown, where: string): ModelGeometry;
  /** Where a resident tensor comes from. `tensor.name` is one that the geometry asks for. */
  residentSource(tensor: TensorShape, geometry: ModelGeometry): WeightSource;
  /** Where a layer's neurons come from: up `[dFf, dModel]`, down `[dModel, dFf]`. */
  ffnSource(layer: number, geometry: ModelGeometry): { readonly up: WeightSource; readonly down: WeightSource };
}
