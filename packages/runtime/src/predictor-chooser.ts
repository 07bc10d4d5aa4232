/** The paper's chooser: what each layer's predictor names (LLM in a flash, 3.1). */
import { assert, paddedLength } from "@flashwick/core";
import { nameNeurons, type PlacedPredictor } from "@flashwick/predictor";
import type { Choice, Chooser, ChooserLayer } from "./chooser.js";

export interface PredictorChoice {
  /** Score (a logit) above which a neuron is named, for every layer; undefined: each layer's own. */
  readonly threshold: number | undefined;
  /** The same, layer by layer, before everything else: thresholds that are being chosen. Default: none. */
  readonly thresholdByLayer?: readonly number[] | undefined;
  /**
   * Where one token is computed: neurons that are resident already are named from a threshold lower by this much. Tokens that are computed together
   * are scored, and none of their thresholds is lowered.
   */
  readonly residentMargin: number;
}

export class PredictorChooser implements Chooser {
  readonly exact = false;
  readonly #choice: PredictorChoice;

  constructor(choice: PredictorChoice) {
    this.#choice = choice;
  }

  choose(layer: ChooserLayer, nTokens: number): Choice | Promise<Choice> {
    if (nTokens > 1) return this.chooseForLast(layer, nTokens, nTokens);
    const { residentMargin } = this.#choice;
    const named = this.name(layer, 0, residentMargin);
    if (residentMargin > 0) return this.#dropAbsentBelow(layer, named);
    return named instanceof Promise ? named.then((set) => [set]) : [named];
  }

  /** The sets of the last `count` of `nTokens` tokens, oldest first. */
  async chooseForLast(layer: ChooserLayer, nTokens: number, count: number): Promise<Uint32Array[]> {
    const sets: Uint32Array[] = [];
    for (let t = Math.max(0, nTokens - count); t < nTokens; t++) sets.push((await this.name(layer, t)).slice());
    return sets;
  }

  /** What is named for vector `token` of the batch; a view, valid until the next call in this arena. A promise of it from a device: waiting takes time, too. */
  name(layer: ChooserLayer, token: number, margin = 0): Uint32Array | Promise<Uint32Array> {
    const { kernels, workspace } = layer.context;
    const { dModel } = layer.slots.parts;
    assert(layer.predictor, "predicted mode has predictors");
    const x = workspace.ffnInput + 4 * token * paddedLength(dModel);
    const scratch = { hidden: workspace.predictorHidden, scores: workspace.predictorScores, kernel: workspace.scratch };
    const above = this.#threshold(layer.predictor) - margin;
    const count = nameNeurons(kernels, layer.predictor, x, scratch, workspace.named, above);
    const view = (length: number) => kernels.arena.u32(workspace.named, length);
    return typeof count === "number" ? view(count) : count.then(view);
  }

  /** Of neurons above the lowered threshold, those that are resident or above the threshold itself, in place. */
  async #dropAbsentBelow(
    { context, slots, predictor }: ChooserLayer,
    lowered: Uint32Array | Promise<Uint32Array>,
  ): Promise<Uint32Array[]> {
    const named = await lowered;
    const { kernels, workspace } = context;
    const { cache, dFf } = slots.parts;
    const threshold = this.#threshold(predictor!);
    await kernels.take(workspace.predictorScores, 4 * dFf);
    const scores = kernels.arena.f32(workspace.predictorScores, dFf);
    let count = 0;
    for (const neuron of named) {
      if (scores[neuron]! > threshold || cache.slotOf(neuron) >= 0) named[count++] = neuron;
    }
    return [named.subarray(0, count)];
  }

  /** A layer that names every neuron has no scores that a threshold could be held against. */
  #threshold({ layer, threshold: own }: PlacedPredictor): number {
    const given = this.#choice.thresholdByLayer?.[layer];
    if (given !== undefined) return given;
    return own === Number.NEGATIVE_INFINITY ? own : (this.#choice.threshold ?? own);
  }
}
