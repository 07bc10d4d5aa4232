/** What the page of a run shows: plain data, which the page carries within itself. */
import type { TimedRun } from "../comparison.js";
import type { DrawnStep } from "../step.js";
import type { MapFacts } from "../unit-map.js";

/** A step of a run, as its page draws it. */
export interface ReportedStep extends DrawnStep {
  /** Of the token that the step begins with. */
  readonly text: string;
  readonly flashBytes: number;
  readonly flashReads: number;
  readonly hits: number;
  readonly misses: number;
  /** Whether sets were named; otherwise every neuron is used. */
  readonly isNamed: boolean;
  /** By layer and neuron or expert, `[nLayers * dFf]`, packed (packed-states.ts); null where it was not kept. */
  readonly states: string | null;
}

/** What the page of a run shows. */
export interface RunReport {
  /** Of the model. */
  readonly title: string;
  /** Where the weights lie, and how much of them is held. */
  readonly summary: string;
  readonly prompt: string;
  readonly text: string;
  /** Name and value of each figure, in words. */
  readonly figures: readonly (readonly [string, string])[];
  /** Null where nothing has a number by which caches hold it. */
  readonly map: MapFacts | null;
  /** In order; long runs begin later. */
  readonly steps: readonly ReportedStep[];
  /** Steps before the first of `steps`. */
  readonly stepsBefore: number;
  /** Predicted and measured; null: nothing was predicted. */
  readonly comparison: readonly [TimedRun, TimedRun] | null;
  /** By which profile, or why not. */
  readonly comparisonText: string;
}
