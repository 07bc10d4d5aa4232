/**
 * Which neurons each token of a step uses. The forward pass knows neither predictors nor oracles: it asks a chooser, layer by layer.
 */
import type { LayerGeometry } from "@flashwick/core";
import type { PlacedPredictor } from "@flashwick/predictor";
import type { ArenaContext } from "./arena-context.js";
import type { ExpertChoice } from "./expert-choice.js";
import type { NeuronSlots } from "./neuron-slots.js";
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

/** Names the neurons that each token of a step uses, layer by layer. */
export interface Chooser {
  /** True if what is chosen adds up to the dense model's output bit for bit: keys and values made so may be reused as exact ones. */
  readonly exact: boolean;
  /** Of a mixture: which experts; default: those that its routers choose. */
  readonly experts?: ExpertChoice;
  /** The neurons that each of the step's tokens uses in this layer. */
  choose(layer: ChooserLayer, nTokens: number, meter: TokenMeter, signal?: AbortSignal): Choice | Promise<Choice>;
}

/** The dense model: layers are streamed, or used in place where they are resident. */
export const ALL_NEURONS: Chooser = { exact: true, choose: () => "all" };
