/** Remembers the steps of a run for its page: what each cost, and which neurons or experts it used. Bounded, whatever the run's length. */
import { unitGrid, unitName, unitsByLayer } from "@flashwick/core";
import { type MapFacts, type StepObserver, StepWatch } from "@flashwick/drawings";
import { packedBytes, packStates, type ReportedStep } from "@flashwick/drawings/run-page";
import type { GeneratedToken, Model } from "@flashwick/runtime";

/** A bar each: more are too thin to be told apart. */
const MOST_STEPS = 256;
/** Of states, packed: a page grows by a third more. */
const MOST_STATE_BYTES = 2 * 2 ** 20;

export class RunRecorder {
  /** Null where nothing has a number by which caches hold it. */
  readonly map: MapFacts | null;
  readonly #model: Model;
  readonly #watch: StepWatch;
  readonly #mostStates: number;
  #steps: ReportedStep[] = [];
  #stepsBefore = 0;

  constructor(model: Model) {
    const { geometry, weights } = model.header;
    const { dFf } = unitGrid(geometry);
    const facts = { nLayers: geometry.layers.length, dFf };
    const hasNumbers = weights.layout !== "matrices" || unitName(geometry) === "expert";
    this.map = hasNumbers ? { ...facts, unit: unitName(geometry), unitsByLayer: unitsByLayer(geometry) } : null;
    this.#model = model;
    this.#watch = new StepWatch(facts);
    this.#mostStates = Math.max(1, Math.floor(MOST_STATE_BYTES / packedBytes(facts.nLayers * dFf)));
  }

  /** For `Model.generate`. */
  get observers(): { readonly observer: StepObserver; readonly draftObserver: StepObserver } {
    return this.#watch.observers;
  }

  /** The steps that are kept, in order, and how many came before them. */
  get steps(): { readonly steps: readonly ReportedStep[]; readonly stepsBefore: number } {
    return { steps: this.#steps, stepsBefore: this.#stepsBefore };
  }

  /** Each item of the run as it comes. */
  add({ token, step }: GeneratedToken): void {
    if (token === null || step === null || step.row > 0) return;
    const { sets: _, states, ...seen } = this.#watch.take();
    const { ms, phaseMs, flashBytes, flashReads, cacheHits: hits, cacheMisses: misses } = step.stats;
    this.#steps.push({
      text: this.#textOf(token),
      drafts: step.drafts.map((draft) => this.#textOf(draft)),
      accepted: step.accepted,
      ...{ ms, phaseMs: { ...phaseMs }, flashBytes, flashReads, hits, misses },
      ...seen,
      states: this.map !== null && seen.isNamed ? packStates(states) : null,
    });
    this.#forget();
  }

  #textOf(token: number): string {
    return this.#model.header.tokenizerKind === null ? `${token}` : this.#model.tokenizer.decode([token]);
  }

  /** The oldest steps, and the states of those before the last ones. */
  #forget(): void {
    if (this.#steps.length > MOST_STEPS) {
      this.#steps.shift();
      this.#stepsBefore++;
    }
    const old = this.#steps.length - 1 - this.#mostStates;
    if (old >= 0) this.#steps[old] = { ...this.#steps[old]!, states: null };
  }
}
