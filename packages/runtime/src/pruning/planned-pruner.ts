/**
 * Executes a pruning plan token by token: scores, rules, and where a γ is given the preference for what a cache holds (DIP-CA, Federici et al.,
 * 2024).
 *
 *     score_i ← score_i · (cached_i ? 1 : γ_t),  γ_t = 1 − (1 − γ) · (1 − γ^(t/4))       t: tokens that the layer has seen
 *
 * An empty cache must fill first, so γ_0 is 1. γ = 1 is the method without preference, bit for bit.
 */
import { type ColumnStage, InputError } from "@flashwick/core";
import type { ChosenUnits } from "./chosen-units.js";
import type { FfnPruner } from "./ffn-pruner.js";
import type { PruningPlan, PruningRule } from "./pruning-plan.js";
import { unitsOfShare } from "./pruning-plan.js";
import { topUnits, unitsAbove } from "./top-units.js";

/** What scores are weighted with, by layer. */
export interface UnitNorms {
  /** ‖(gate ‖ up)[:, j]‖₂, f32 `[dModel]`. */
  readonly inputs: Float32Array;
  /** ‖down[:, i]‖₂, f32 `[dFf]`. */
  readonly outputs: Float32Array;
}

/** A stage's caches, the preference for what they hold, and who looks on. */
export interface PrunerOptions {
  /** For `oracle` and `dip-norms`, by layer. */
  readonly norms?: readonly UnitNorms[] | undefined;
  /** What is preferred where `gamma` is below 1. */
  readonly caches?: HeldUnits | undefined;
  /** Above 0, at most 1. Default 1: nothing is preferred. */
  readonly gamma?: number | undefined;
  /** Sees each set with the scores that it was chosen by; null: all. Valid during the call. */
  readonly onChosen?: (stage: Stage, layer: number, set: Uint32Array | null, scores: Float32Array) => void;
}

/** Of inputs and of neurons. */
export type Stage = ColumnStage;
/** What caches of one kind of unit hold. */
export interface HeldOfStage {
  /** Whether a unit of a layer is in DRAM. */
  holds(layer: number, unit: number): boolean;
}

/** Which units caches hold. */
export type HeldUnits = Readonly<Record<Stage, HeldOfStage>>;

export class PlannedPruner implements FfnPruner {
  readonly seesGates: boolean;
  readonly #plan: PruningPlan;
  readonly #options: PrunerOptions;
  readonly #gamma: number;
  /** By stage and layer. */
  readonly #tokens: Readonly<Record<Stage, Float64Array>>;

  /** @throws {InputError} for a γ out of range, for one without caches, or where norms are missing. */
  constructor(plan: PruningPlan, options: PrunerOptions = {}) {
    const { gamma = 1, caches, norms } = options;
    if (!(gamma > 0 && gamma <= 1)) throw invalid(`γ of ${gamma}, expected one above 0 and up to 1`);
    if (gamma < 1 && !caches)
      throw invalid(`γ of ${gamma} without a cache, expected a cache whose units are preferred`);
    if (!norms && weighs(plan))
      throw invalid(`${plan.method} without the norms of columns, expected those of every layer`);
    this.#plan = plan;
    this.#options = options;
    this.#gamma = gamma;
    this.seesGates = plan.method === "cats";
    const { length } = plan.layers;
    this.#tokens = { inputs: new Float64Array(length), outputs: new Float64Array(length) };
  }

  inputs(layer: number, x: Float32Array): ChosenUnits {
    return this.#choose("inputs", layer, x, this.#plan.method === "dip-norms");
  }

  outputs(layer: number, activations: Float32Array): ChosenUnits {
    return this.#choose("outputs", layer, activations, weighs(this.#plan));
  }

  #choose(stage: Stage, layer: number, values: Float32Array, weighted: boolean): ChosenUnits {
    const { norms, onChosen } = this.#options;
    const scores = values.map(Math.abs);
    const weights = norms?.[layer]?.[stage];
    if (weighted) for (let i = 0; i < scores.length; i++) scores[i]! *= weights![i]!;
    this.#prefer(stage, layer, scores);
    const units = chosenBy(this.#plan.layers[layer]![stage], scores);
    onChosen?.(stage, layer, units, scores);
    return { units, scores };
  }

  /** Lowers the scores of what the cache does not hold. */
  #prefer(stage: Stage, layer: number, scores: Float32Array): void {
    const seen = this.#tokens[stage][layer]!++;
    if (this.#gamma === 1) return;
    const caches = this.#options.caches![stage];
    const gamma = 1 - (1 - this.#gamma) * (1 - this.#gamma ** (seen / 4));
    for (let i = 0; i < scores.length; i++) if (!caches.holds(layer, i)) scores[i]! *= gamma;
  }
}

/** Whether a plan needs the norms of columns. */
export function weighs({ method }: Pick<PruningPlan, "method">): boolean {
  return method === "oracle" || method === "dip-norms";
}

function chosenBy(rule: PruningRule, scores: Float32Array): Uint32Array | null {
  switch (rule.rule) {
    case "all":
      return null;
    case "top":
      return topUnits(scores, unitsOfShare(rule.share, scores.length));
    case "above":
      return unitsAbove(scores, rule.threshold);
  }
}

function invalid(what: string): InputError {
  return new InputError("INPUT_INVALID", `pruning: ${what}`);
}
