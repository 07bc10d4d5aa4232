/**
 * Which neurons each token of a step uses. The forward pass knows neither predictors nor oracles: it asks a chooser, layer by layer.
 */
import type { LayerGeometry } from "@flashwick/core";
import type { PlacedPredictor } from "@flashwick/predictor";
import type { ArenaContext } from "./arena-context.js";
import type { NeuronSlots } from "./neuron-slots.js";
import type { FfnPruner } from "./pruning/ffn-pruner.js";
import type { ResidentPreference } from "./resident-experts.js";
import type { TokenMeter } from "./token-meter.js";

/** Every neuron, for every token; or a set for each token, ascending, which stays unchanged until the layer is asked about again. */
export type Choice = "all" | readonly Uint32Array[];

/** A layer as a chooser sees it. The FFN's input of the step, f32 `[nTokens, pad(dModel)]`, is `context.workspace.ffnInput`. */
export interface ChooserLayer {
  readonly index: number;
  readonly geometry: LayerGeometry;
  readonly context: ArenaContext;
  readonly slots: NeuronSlots;
  readonly predictor: PlacedPredictor | null;
}

/** Of a mixture: which experts of a token are used. */
export interface ExpertChoice {
  /** Experts of a token, in layers whose routers choose more; null: as many as they choose. */
  readonly perToken: number | null;
  /** Null: what is resident is of no matter. */
  readonly preference: ResidentPreference | null;
}

/** Names the neurons that each token of a step uses, layer by layer. */
export interface Chooser {
  /** True if what is chosen adds up to the dense model's output bit for bit: keys and values made so may be reused as exact ones. */
  readonly exact: boolean;
  /** Of a mixture: which experts; default: those that its routers choose. */
  readonly experts?: ExpertChoice;
  /** Leaves out inputs and neurons of FFNs that are read by columns, or whose weights are in DRAM; then {@link choose} is not asked. Default: none. */
  readonly pruner?: FfnPruner;
  /**
   * What the last `count` of the step's tokens would use, oldest first, after a step that uses all neurons: decoding's cache is filled with it. Absent where
   * that is not known.
   */
  chooseForLast?(layer: ChooserLayer, nTokens: number, count: number): Promise<readonly Uint32Array[]>;
  /** The neurons that each of the step's tokens uses in this layer. */
  choose(layer: ChooserLayer, nTokens: number, meter: TokenMeter, signal?: AbortSignal): Choice | Promise<Choice>;
}

/** The dense model: layers are streamed, or used in place where they are resident. */
export const ALL_NEURONS: Chooser = { exact: true, choose: () => "all" };
