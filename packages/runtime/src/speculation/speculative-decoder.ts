/**
 * Draft, verify, accept: several tokens a step, and exactly those that the verifying model would have chosen one by one.
 *
 * A drafter proposes λ tokens after the pending one; one step of the verifying chooser computes all λ + 1 at once, each with the same bits as
 * alone; the selector, whose random number belongs to the token's place, chooses after each; drafts are accepted as long as they are what was
 * chosen. At the first difference the chosen token takes the draft's place and the rest is rolled back: keys, values, and the caches' record of
 * what was used (LLM in a flash, 5.2: the window ends with the accepted tokens).
 */
import type { TokenStats } from "@flashwick/core";
import type { SpeculationMeter } from "@flashwick/cost-model";
import type { Chooser } from "../chooser.js";
import type { ForwardObserver } from "../forward-observer.js";
import type { Sequence } from "../sequence.js";
import type { TokenSelector } from "../token-selector.js";
import type { Drafter } from "./drafter.js";

/** Who drafts and who verifies. */
export interface SpeculativeDecoderParts {
  readonly sequence: Sequence;
  readonly drafter: Drafter;
  /** Verifies: what it chooses decides which tokens come out. */
  readonly chooser: Chooser;
  /** Drafts are chosen as tokens are, and taken back: a grammar rules both. */
  readonly selector: TokenSelector;
  /** Decides how many tokens are drafted, from what was accepted and what steps cost. */
  readonly meter: SpeculationMeter;
  /** A fixed number of drafts; null: as the meter says. */
  readonly draftTokens: number | null;
  /** The meter may not choose fewer. */
  readonly leastDraftTokens: number;
  /** Looks into the verifying step. */
  readonly observer?: ForwardObserver | undefined;
  /** Looks into the drafter's steps, if it computes with the same engine. */
  readonly draftObserver?: ForwardObserver | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a step brought. */
export interface DecodedStep {
  /** The tokens chosen after the pending one: the accepted drafts, and one that was chosen in their wake. At least one. */
  readonly tokens: readonly number[];
  /** The tokens that were drafted, accepted or not. */
  readonly drafts: readonly number[];
  /** Of each step of drafting, and of the verifying step. */
  readonly draftCosts: readonly TokenStats[];
  readonly verifyCosts: readonly TokenStats[];
}

/** Decodes with drafts: the verifying chooser's tokens, several a step. */
export class SpeculativeDecoder {
  readonly #parts: SpeculativeDecoderParts;

  constructor(parts: SpeculativeDecoderParts) {
    this.#parts = parts;
  }

  /**
   * As {@link TokenDecoder}: computes the pending token, and keeps the drafts that were accepted after it.
   *
   * @param pending The last token of the text, which the sequence does not hold yet; afterwards it does.
   * @param index   Number of the next token to be chosen, for the sampler.
   * @param most    At most so many drafts: what is left of the text that is wanted, and of the context.
   */
  async step(pending: number, index: number, most: number): Promise<DecodedStep> {
    const { sequence, meter } = this.#parts;
    const { tokens: drafts, costs: draftCosts } = await this.#draft(pending, index, most);
    const start = sequence.length;
    const { chosen, verified } = await this.#verify(pending, index, drafts);
    const accepted = chosen.length - 1;
    sequence.rollback(start + chosen.length);
    sequence.engine.retract(drafts.length - accepted);
    meter.observeVerify(drafts.length + 1, verified.ms);
    if (drafts.length > 0) meter.observeAccepted(drafts.length, accepted);
    return { tokens: chosen, drafts, draftCosts, verifyCosts: [verified] };
  }

  /** Computes the pending token and the drafts in one step, and chooses a token after each that is part of the text. */
  async #verify(pending: number, index: number, drafts: readonly number[]) {
    const { sequence, chooser, selector, observer, signal } = this.#parts;
    const chosen: number[] = [];
    const onLogits = (_: number, logits: Float32Array) => {
      // After a draft that was not what is chosen, or after the end of the text, nothing means anything.
      const isRejected = chosen.length > 0 && chosen.at(-1) !== drafts[chosen.length - 1];
      if (isRejected || (chosen.length > 0 && selector.isComplete)) return;
      chosen.push(selector.select(logits, index + chosen.length));
    };
    const rows = [pending, ...drafts].map((token) => ({ sequence, token }));
    const before = selector.length;
    try {
      const verified = await sequence.engine.step(rows, chooser, { logits: "all", onLogits, observer, signal });
      return { chosen, verified };
    } catch (error) {
      selector.rollback(before);
      throw error;
    }
  }

  async #draft(pending: number, index: number, most: number) {
    const { sequence, drafter, selector, meter, draftTokens, leastDraftTokens, signal } = this.#parts;
    const observer = this.#parts.draftObserver;
    const room = Math.min(most, sequence.engine.batchTokens - 1);
    const chosen = draftTokens ?? Math.max(leastDraftTokens, room > 0 ? meter.best(room).draftTokens : 0);
    const wanted = Math.min(room, chosen);
    if (wanted <= 0) return { tokens: [], costs: [] };
    const before = selector.length;
    const context = { sequence, pending, sampler: selector.draft, index, observer, signal };
    const draft = await drafter.propose(context, wanted).finally(() => selector.rollback(before));
    if (draft.tokens.length > 0) {
      const ms = draft.costs.reduce((sum, cost) => sum + cost.ms, 0);
      meter.observeDraft(ms / draft.tokens.length);
    }
    return draft;
  }
}
