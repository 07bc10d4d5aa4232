/**
 * The model that a text is recorded and judged with: one engine for everything. It is loaded with a predictor, computes every neuron where the
 * dense model is asked for, and takes thresholds from outside, so that trying others loads nothing.
 */
import type { Predictor } from "@flashwick/core";
import { Model } from "../model.js";
import type { ModelParts } from "../model-options.js";
import { engineShare, TRAINING_ENGINE, trainingPlan } from "./training-memory.js";

export class JudgedModel {
  #model: Model | null = null;
  /** What the engine in use holds. */
  #layers: Predictor["layers"] = [];

  /**
   * @param parts           Of a model whose file, reader and threads are used; they end with that.
   * @param dramBudgetBytes Of the engine.
   */
  constructor(
    private readonly parts: ModelParts,
    private readonly dramBudgetBytes: number,
  ) {}

  /** The model with these matrices; thresholds are the caller's to give. Another predictor's engine is unloaded first. */
  async with(predictor: Predictor): Promise<Model> {
    if (this.#model && sameMatrices(this.#layers, predictor.layers)) return this.#model;
    await this.unload();
    const { parts, dramBudgetBytes } = this;
    this.#layers = predictor.layers;
    this.#model = new Model({ ...parts, predictor }, { ...TRAINING_ENGINE, mode: "predicted", dramBudgetBytes });
    return this.#model;
  }

  /** Frees the engine. */
  async unload(): Promise<void> {
    await this.#model?.unload();
    this.#model = null;
  }
}

/** Choices of thresholds share the matrices that they were made from. */
function sameMatrices(a: Predictor["layers"], b: Predictor["layers"]): boolean {
  return a.every(({ w1, w2 }, l) => w1 === b[l]!.w1 && w2 === b[l]!.w2);
}

/** What the engine of a judged model has to get along with. */
export interface JudgingBudget {
  /** For messages: `calibration`. */
  readonly what: string;
  /** Of all that is held at once. Default: the model's own. */
  readonly dramBudgetBytes: number | undefined;
  /** Held beside the engine. */
  readonly besideBytes: number;
  /** The one that takes the most room. */
  readonly predictor: Predictor;
}

/**
 * Runs `work` with a judged model of the same file, which is unloaded after.
 *
 * @param model Its parts are used, and its engine, if it has one, is unloaded.
 * @throws {BudgetError} with the smallest budget that would do.
 */
export async function withJudgedModel<T>(
  model: Model,
  { what, predictor, besideBytes, ...given }: JudgingBudget,
  work: (judged: JudgedModel) => Promise<T>,
): Promise<T> {
  await model.unload();
  const dramBudgetBytes = given.dramBudgetBytes ?? model.options.dramBudgetBytes ?? Number.MAX_SAFE_INTEGER;
  const plan = trainingPlan({ ...model.parts, predictor }, "predicted");
  const judged = new JudgedModel(model.parts, engineShare(what, dramBudgetBytes, besideBytes, plan));
  try {
    return await work(judged);
  } finally {
    await judged.unload();
  }
}
