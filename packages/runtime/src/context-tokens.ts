/** How many tokens of keys and values a model reserves: a number, or as many as the budget holds beside prompts that pass in batches. */
import { InputError } from "@flashwick/core";
import type { MemoryPlan } from "@flashwick/cost-model";

/** Narrower batches of a prompt read and compute the model so much more often that a longer conversation is not worth it. */
const LEAST_BATCH_TOKENS = 4;

/** The most tokens that the budget holds beside batches of four tokens of a prompt, within bounds; the least where it does not hold those. */
export interface ContextRange {
  /** Not more, however much memory there is. The model's own limit holds as well. */
  readonly most: number;
  /** With fewer the model is refused. */
  readonly least: number;
}

/**
 * The tokens that a wish comes to.
 *
 * @param contextLength The model's own limit, which ends a range and refuses a number.
 * @param plan          Plans for so many tokens. Throws `BUDGET_TOO_SMALL` where they do not fit; if so, more do not fit either.
 * @param isTooMuch     Whether an error of `plan` says that.
 * @returns Undefined for no wish.
 * @throws {InputError} for a wish that makes no sense; what `plan` throws for the least of a range.
 * Cost: one plan for each halving of the range.
 */
export function reservedTokens(
  wish: number | ContextRange | undefined,
  contextLength: number,
  plan: (contextTokens: number) => Pick<MemoryPlan, "batchTokens">,
  isTooMuch: (error: unknown) => boolean,
): number | undefined {
  if (wish === undefined) return undefined;
  if (typeof wish === "number") return checkTokens(wish, contextLength);
  const { most, least } = checkRange(wish);
  let [fits, above] = [Math.min(least, contextLength), Math.min(most, contextLength) + 1];
  plan(fits);
  while (above - fits > 1) {
    const middle = Math.floor((fits + above) / 2);
    if (holds(() => plan(middle), isTooMuch)) fits = middle;
    else above = middle;
  }
  return fits;
}

function holds(plan: () => Pick<MemoryPlan, "batchTokens">, isTooMuch: (error: unknown) => boolean): boolean {
  try {
    return plan().batchTokens >= LEAST_BATCH_TOKENS;
  } catch (error) {
    if (!isTooMuch(error)) throw error;
    return false;
  }
}

function checkTokens(tokens: number, most: number): number {
  if (Number.isInteger(tokens) && tokens >= 1 && tokens <= most) return tokens;
  throw new InputError("INPUT_INVALID", `contextTokens is ${tokens}, expected an integer from 1 to ${most}`);
}

function checkRange(range: ContextRange): ContextRange {
  const { most, least } = range;
  if (Number.isInteger(most) && Number.isInteger(least) && least >= 1 && least <= most) return range;
  throw new InputError(
    "INPUT_INVALID",
    `contextTokens is from ${least} to ${most}, expected integers of at least 1, the least first`,
  );
}
