/**
 * What one step of a run looked like: which neurons, or experts of a mixture, each token used, and when what was done.
 *
 * A step is several passes where tokens are drafted: each draft of a lossless run is a sparse pass of its own, and one pass verifies them all. Passes
 * have clocks of their own, so they are laid one behind the other here.
 */
import { type DrawnSpan, STATE, type StepPass } from "./step.js";
import type { MapFacts } from "./unit-map.js";

/** What is asked of an engine: the neurons, or experts, that the slots of a layer hold. */
export interface ResidentUnits {
  /** Neurons of a layer that are in memory. */
  residentNeurons(layer: number): Iterable<number>;
}

/** An observer of forward passes, as `@flashwick/runtime` takes one. */
export interface StepObserver {
  /** A step of so many rows begins. */
  stepBegins(rows: number): void;
  /** The set that one row of the step uses in a layer. */
  named(layer: number, named: Uint32Array, engine: ResidentUnits, row: number): void;
  /** A phase or a batch of reads has ended. */
  span(span: DrawnSpan): void;
}

/** What was seen of a step. */
export interface SeenStep {
  /** By layer and neuron or expert, `[nLayers * dFf]`: {@link STATE}. All awake where nothing was named, since then every neuron is used. */
  readonly states: Uint8Array<ArrayBuffer>;
  /** Whether sets were named: not by dense passes. */
  readonly isNamed: boolean;
  /** By row of the step and layer: the sets that were named, none in the dense layers of a mixture. Shorter than the step where drafts were not computed, or passes were dense. */
  readonly sets: readonly Uint32Array[][];
  readonly spans: readonly DrawnSpan[];
  readonly passes: readonly StepPass[];
}

const NOTHING = new Uint32Array(0);

/** Watches the forward pass, and makes steps of what it sees, for drawing. */
export class StepWatch {
  /** For the passes that verify, and for those of a run without drafts. */
  readonly verifying: StepObserver;
  /** For the passes that draft. */
  readonly drafting: StepObserver;
  readonly #facts: Pick<MapFacts, "nLayers" | "dFf">;
  #states: Uint8Array<ArrayBuffer>;
  #sets: Uint32Array[][] = [];
  /** Rows of the passes before this one. */
  #rowsBefore = 0;
  #spans: DrawnSpan[] = [];
  #passes: { kind: StepPass["kind"]; rows: number; beginMs: number; endMs: number }[] = [];

  constructor(facts: Pick<MapFacts, "nLayers" | "dFf">) {
    this.#facts = facts;
    this.#states = new Uint8Array(facts.nLayers * facts.dFf);
    this.verifying = this.#observer("verify");
    this.drafting = this.#observer("draft");
  }

  /** Both, as a run takes them. */
  get observers(): { readonly observer: StepObserver; readonly draftObserver: StepObserver } {
    return { observer: this.verifying, draftObserver: this.drafting };
  }

  /** Hands out what was seen since the last call. */
  take(): SeenStep {
    const isNamed = this.#sets.length > 0;
    const states = isNamed ? this.#states : this.#states.fill(STATE.awake);
    const seen = { states, isNamed, sets: this.#sets, spans: this.#spans, passes: this.#passes };
    this.#states = new Uint8Array(this.#states.length);
    this.#sets = [];
    this.#rowsBefore = 0;
    this.#spans = [];
    this.#passes = [];
    return seen;
  }

  #observer(kind: StepPass["kind"]): StepObserver {
    return {
      stepBegins: (rows) => {
        const last = this.#passes.at(-1);
        this.#rowsBefore += last?.rows ?? 0;
        const beginMs = last?.endMs ?? 0;
        this.#passes.push({ kind, rows, beginMs, endMs: beginMs });
      },
      named: (layer, named, engine, row) => this.#name(layer, named, engine, row),
      span: ({ what, beginMs, endMs }) => {
        const pass = this.#passes.at(-1)!;
        this.#spans.push({ what, beginMs: pass.beginMs + beginMs, endMs: pass.beginMs + endMs });
        // Reads are seen to have landed within a phase, which ends later.
        pass.endMs = Math.max(pass.endMs, pass.beginMs + endMs);
      },
    };
  }

  #name(layer: number, named: Uint32Array, engine: ResidentUnits, row: number): void {
    const states = this.#states.subarray(layer * this.#facts.dFf, (layer + 1) * this.#facts.dFf);
    // Before the first of the pass's tokens changes it: the others find the cache as it was.
    if (row === 0) {
      for (const unit of engine.residentNeurons(layer)) states[unit] ||= STATE.resident;
    }
    for (const unit of named) {
      if (states[unit] === STATE.resident) states[unit] = STATE.awake;
      else states[unit] ||= STATE.fetched;
    }
    this.#sets[this.#rowsBefore + row] ??= Array.from({ length: this.#facts.nLayers }, () => NOTHING);
    this.#sets[this.#rowsBefore + row]![layer] = named.slice();
  }
}
