/** What `eval --against` compares with, and how both runs keep to the DRAM budget. */
import { BudgetError, formatBytes, InputError } from "@flashwick/core";
import { type Comparison, Model } from "@flashwick/runtime";
import { windowLogitBytes } from "@flashwick/runtime/engine";
import { openModel } from "@flashwick/runtime/node";

/** Two runs of the same text, and how they share the memory. */
export interface ComparedModels extends Pick<Comparison, "against" | "windowsPerTurn"> {
  /** The run that is evaluated, which leaves room for the other's logits. */
  readonly model: Model;
  /** Of the whole budget: what decoding will have, and flash bytes are counted with. */
  readonly slotsByLayer: readonly number[];
  close(): Promise<void>;
}

export interface ComparisonWish {
  /** `dense`, or a model file. */
  readonly against: string;
  readonly path: string;
  readonly windowTokens: number;
  readonly maxWindows: number;
}

/**
 * The dense run of the same file is the same engine with every neuron, or with the experts that the routers choose, where keys and values are f32 and activations as by default. Otherwise the other run is a model of its own,
 * dense and with keys and values in f32; if both do not fit, one is unloaded while the other works.
 *
 * @param opened Whose budget it is; not loaded yet.
 * @throws {BudgetError} with the smallest budget that would do. {InputError} for a model with another vocabulary.
 */
export async function openComparison(opened: Model, wish: ComparisonWish): Promise<ComparedModels> {
  const { windowTokens, against } = wish;
  const budgetBytes = budgetOf(opened);
  const plan = opened.plan(windowTokens);
  const { slotsByLayer, kvPrecision } = plan;
  const logitBytes = windowLogitBytes(opened.header.geometry, windowTokens);
  const leaving = (model: Model, setAsideBytes: number) =>
    besides(setAsideBytes, () => {
      // Closing is the business of the model whose parts these are.
      const options = { ...model.options, signal: undefined, dramBudgetBytes: budgetBytes - setAsideBytes };
      const smaller = new Model(model.parts, model === opened ? { ...options, kvPrecision } : options);
      smaller.plan(windowTokens);
      return smaller;
    });
  const { withoutDevice, activationBits } = opened.parts;
  // What routers, or pruning, prefer of the cache is what that cache holds: what the other run reads is no part of it.
  const prefers = opened.prefersResidentExperts || (opened.config.pruning?.gamma ?? 1) < 1;
  const canShare = withoutDevice === undefined && activationBits === undefined && !prefers;
  if (against === "dense" && kvPrecision === "f32" && canShare) {
    const model = await leaving(opened, logitBytes);
    return { model, slotsByLayer, against: "dense", close: () => model.unload() };
  }
  const other = await besides(logitBytes, () => openOther(opened, wish, budgetBytes - logitBytes));
  const close = () => other.close();
  try {
    const otherPlan = await besides(logitBytes, () => other.plan(windowTokens));
    if (plan.dram.total + otherPlan.dram.total + logitBytes <= budgetBytes) {
      return { model: opened, slotsByLayer, against: other, close };
    }
    const most = Math.max(plan.smallestBudgetBytes, otherPlan.smallestBudgetBytes);
    // Half of what the smallest engines leave: the other half makes them faster.
    const fitting = Math.floor((budgetBytes - most) / 2 / logitBytes);
    const windowsPerTurn = Math.max(1, Math.min(wish.maxWindows, fitting));
    const model = await leaving(opened, windowsPerTurn * logitBytes);
    const alternate = await leaving(other, windowsPerTurn * logitBytes);
    return { model, slotsByLayer, against: alternate, windowsPerTurn, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/**
 * The other run: dense, and exact but for the precision of its weights.
 *
 * @throws {InputError} for a model with another vocabulary. As `openModel`.
 */
export async function openOther(
  model: Model,
  { against, path }: Pick<ComparisonWish, "against" | "path">,
  dramBudgetBytes: number,
): Promise<Model> {
  const other = await openModel(against === "dense" ? path : against, {
    ...{ mode: "dense", predictor: null, kvPrecision: "f32", dramBudgetBytes },
    backend: model.parts.backend === "reference" ? "reference" : "auto",
  });
  const found = other.header.geometry.vocabSize;
  const expected = model.header.geometry.vocabSize;
  if (found === expected) return other;
  await other.close();
  throw new InputError(
    "INPUT_INVALID",
    `${against}: a vocabulary of ${found} tokens, expected ${expected}; compare models that share a tokenizer`,
    { details: { expected, found } },
  );
}

/** What a model was opened with: `openModel` always has one. */
export function budgetOf({ options }: Model): number {
  return options.dramBudgetBytes ?? Number.MAX_SAFE_INTEGER;
}

/** Refusals of a budget count what is set aside, too. */
async function besides<T>(setAsideBytes: number, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof BudgetError)) throw error;
    const budgetBytes = Number(error.details.budgetBytes) + setAsideBytes;
    const smallestBudgetBytes = Number(error.details.smallestBudgetBytes) + setAsideBytes;
    throw new BudgetError(
      "BUDGET_TOO_SMALL",
      `a comparison: found a DRAM budget of ${formatBytes(budgetBytes)}, expected at least ${smallestBudgetBytes} bytes ` +
        `(${formatBytes(smallestBudgetBytes)}), of which ${formatBytes(setAsideBytes)} are for logits; give that much, or shorter windows`,
      { details: { ...error.details, budgetBytes, smallestBudgetBytes }, cause: error },
    );
  }
}
