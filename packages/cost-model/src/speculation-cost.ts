/**
 * What drafting is worth: some tokens are drafted cheaply, one pass verifies all of them and gives one more.
 *
 * With an acceptance α per drafted token, independent of each other, a step of λ drafts gives (Leviathan, Kalman and Matias, "Fast inference from
 * transformers via speculative decoding", ICML 2023, equation 1; LLM in a flash, 5.2)
 *
 *     E(λ) = 1 + α + … + α^λ = (1 − α^(λ+1)) / (1 − α)   tokens,   in   (λ · draft + verify(λ + 1)) / E(λ)   milliseconds each.
 */
import { InputError } from "@flashwick/core";

/** What the worth of drafting depends on. */
export interface SpeculationRequest {
  /** Milliseconds of one drafted token. */
  readonly draftMs: number;
  /** Milliseconds of one pass that verifies so many tokens at once: the drafted ones and the one before them. */
  readonly verifyMs: (tokens: number) => number;
  /** Probability that a drafted token is what the verifier says, given that all before it were; 0 … 1. */
  readonly acceptance: number;
}

/** A step of drafts and their verification. */
export interface Speculation {
  /** 0: nothing is drafted, and each pass gives one token. */
  readonly draftTokens: number;
  /** Expected tokens that a step gives. */
  readonly tokensPerStep: number;
  /** Milliseconds of the whole step over them. */
  readonly msPerToken: number;
  /** How many times faster than without drafts; below 1: slower. */
  readonly gain: number;
}

/** E(λ), summed: exact at an acceptance of 0 and of 1, and next to 1, where the closed form loses its digits. */
export function expectedTokens(acceptance: number, draftTokens: number): number {
  let sum = 1;
  let power = 1;
  for (let i = 0; i < draftTokens; i++) {
    power *= acceptance;
    sum += power;
  }
  return sum;
}

/** The expected cost of steps of `draftTokens` drafts. @throws {InputError} as {@link chooseDraftTokens}. */
export function speculationCost(request: SpeculationRequest, draftTokens: number): Speculation {
  checkRequest(request, draftTokens);
  const tokensPerStep = expectedTokens(request.acceptance, draftTokens);
  const msPerToken = (draftTokens * request.draftMs + request.verifyMs(draftTokens + 1)) / tokensPerStep;
  return { draftTokens, tokensPerStep, msPerToken, gain: request.verifyMs(1) / msPerToken };
}

/**
 * The number of drafts a step that takes the least time per token; of equals the fewest. 0 where no drafts pay.
 *
 * @param mostDraftTokens Drafts that a step may have, an integer of at least 0.
 * @throws {InputError} `INPUT_INVALID` naming the figure that makes no sense.
 * Cost: O(mostDraftTokens²) multiplications, and as many passes priced as there are numbers of drafts.
 */
export function chooseDraftTokens(request: SpeculationRequest, mostDraftTokens: number): Speculation {
  checkRequest(request, mostDraftTokens);
  let best = speculationCost(request, 0);
  for (let drafts = 1; drafts <= mostDraftTokens; drafts++) {
    const next = speculationCost(request, drafts);
    if (next.msPerToken < best.msPerToken) best = next;
  }
  return best;
}

function checkRequest({ draftMs, acceptance }: SpeculationRequest, draftTokens: number): void {
  const faults: readonly (readonly [string, number, boolean, string])[] = [
    ["draftMs", draftMs, draftMs >= 0 && draftMs < Number.POSITIVE_INFINITY, "a number of at least 0"],
    ["acceptance", acceptance, acceptance >= 0 && acceptance <= 1, "a share from 0 to 1"],
    ["draftTokens", draftTokens, Number.isInteger(draftTokens) && draftTokens >= 0, "an integer of at least 0"],
  ];
  for (const [field, found, holds, expected] of faults) {
    if (holds) continue;
    throw new InputError("INPUT_INVALID", `speculation: ${field} is ${found}, expected ${expected}`, {
      details: { field, found },
    });
  }
}
