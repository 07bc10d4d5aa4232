/** The run that another one of the same windows is compared with, token by token: its logits, a window at a time. */
import type { ModelGeometry } from "@flashwick/core";
import { ALL_NEURONS, type Chooser } from "./chooser.js";
import type { Model } from "./model.js";
import type { Sequence } from "./sequence.js";

/** Another run of the same tokens, whose logits are compared. */
export interface Comparison {
  /**
   * What to compare with: another model, or `dense`: every neuron in the same engine, with keys and values of the same precision, which takes
   * no memory beside the logits. Not where routers prefer what the cache holds, since that run would leave its experts there.
   */
  readonly against?: Model | "dense" | null;
  /**
   * Windows that another model runs before the first goes on, each with the other's engine unloaded. Default: both stay loaded, and
   * alternate window by window.
   */
  readonly windowsPerTurn?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Bytes of the logits of one window, which a comparison keeps beside the engines. */
export function windowLogitBytes({ vocabSize }: Pick<ModelGeometry, "vocabSize">, windowTokens: number): number {
  return windowTokens * vocabSize * Float32Array.BYTES_PER_ELEMENT;
}

export class ComparedRun {
  /** Windows of this turn that were not asked for yet. */
  readonly #kept: Float32Array[][] = [];

  /** @param model Whose windows are compared; not in use while logits are asked for. */
  constructor(
    private readonly model: Model,
    private readonly windows: readonly (readonly number[])[],
    private readonly comparison: Comparison,
  ) {}

  /** Logits after each token of a window, asked for in the order of windows; null where nothing is compared. */
  async logits(index: number): Promise<Float32Array[] | null> {
    const { against, windowsPerTurn } = this.comparison;
    if (!against) return null;
    if (against === "dense") return await this.#run(this.model, ALL_NEURONS, index);
    if (windowsPerTurn === undefined) return await this.#run(against, null, index);
    if (this.#kept.length === 0) await this.#takeTurn(against, index, windowsPerTurn);
    return this.#kept.shift()!;
  }

  async #takeTurn(against: Model, first: number, windowsPerTurn: number): Promise<void> {
    await this.model.unload();
    const end = Math.min(this.windows.length, first + windowsPerTurn);
    for (let index = first; index < end; index++) this.#kept.push(await this.#run(against, null, index));
    await against.unload();
  }

  /** @param chooser Null: as the model chooses. */
  async #run(model: Model, chooser: Chooser | null, index: number): Promise<Float32Array[]> {
    const { signal } = this.comparison;
    const window = this.windows[index]!;
    const all: Float32Array[] = [];
    const onLogits = (_: number, logits: Float32Array) => void all.push(logits.slice());
    const run = (sequence: Sequence) =>
      sequence.extend(window, { chooser: chooser ?? sequence.engine.batchChooser, logits: "all", onLogits, signal });
    await model.withSequence(window.length, run, { signal });
    return all;
  }
}
