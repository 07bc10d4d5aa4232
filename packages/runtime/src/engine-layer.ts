/** A layer of a model in DRAM: its weights, and the ways through its FFN. */
import type { LayerGeometry } from "@flashwick/core";
import type { PlacedPredictor } from "@flashwick/predictor";
import type { ArenaContext } from "./arena-context.js";
import type { ColumnFfn } from "./column-ffn.js";
import type { LayerMatrices } from "./layer-matrices.js";
import type { MixtureFfn } from "./mixture-ffn.js";
import type { NeuronSlots } from "./neuron-slots.js";
import type { LayerWeights } from "./resident-weights.js";
import type { SparseFfn } from "./sparse-ffn.js";
import type { StreamedFfn } from "./streamed-ffn.js";

interface LayerParts {
  readonly index: number;
  readonly geometry: LayerGeometry;
  readonly context: ArenaContext;
  readonly weights: LayerWeights;
}

/** Neurons lie in records: chosen ones go through slots, all of them are streamed. */
export interface RecordLayer extends LayerParts {
  readonly storage: "records";
  readonly predictor: PlacedPredictor | null;
  readonly slots: NeuronSlots;
  readonly sparse: SparseFfn;
  readonly streamed: StreamedFfn;
}

/** The FFN is read by columns: those that a token uses, or all of them in order. */
export interface ColumnLayer extends LayerParts {
  readonly storage: "columns";
  readonly ffn: ColumnFfn;
}

/** Weights lie in matrices, and are used whole. */
export interface MatrixLayer extends LayerParts {
  readonly storage: "matrices";
  readonly streamed: LayerMatrices;
}

/** A mixture of experts, or a dense layer beside such: experts go through slots, and all else is resident. */
export interface MixtureLayer extends LayerParts {
  readonly storage: "experts";
  readonly mixture: MixtureFfn;
}

export type EngineLayer = RecordLayer | ColumnLayer | MatrixLayer | MixtureLayer;
