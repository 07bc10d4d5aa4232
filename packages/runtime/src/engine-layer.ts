/** A layer of a model in DRAM: its weights, its predictor, its slots, and the two ways through its FFN. */
import type { LayerGeometry } from "@flashwick/core";
import type { PlacedPredictor } from "@flashwick/predictor";
import type { ArenaContext } from "./arena-context.js";
import type { NeuronSlots } from "./neuron-slots.js";
import type { LayerWeights } from "./resident-weights.js";
import type { SparseFfn } from "./sparse-ffn.js";
import type { StreamedFfn } from "./streamed-ffn.js";

export interface EngineLayer {
  readonly index: number;
  readonly geometry: LayerGeometry;
  readonly context: ArenaContext;
  readonly weights: LayerWeights;
  readonly predictor: PlacedPredictor | null;
  readonly slots: NeuronSlots;
  readonly sparse: SparseFfn;
  readonly streamed: StreamedFfn;
}
