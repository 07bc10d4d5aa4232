/**
 * From a prompt to tokens: prefill, then one step after another until the text is complete.
 *
 * Whether a step brings one token or several is the decoder's business; every token comes out alone, in order, with its share of what the step
 * cost.
 */
import type { OnProgress, SpeculationStats, TokenStats } from "@flashwick/core";
import type { Chooser } from "./chooser.js";
import type { ForwardObserver } from "./forward-observer.js";
import type { FinishReason, GrowingText } from "./growing-text.js";
import type { Sequence } from "./sequence.js";
import type { DecodedStep } from "./speculation/speculative-decoder.js";
import { shareStats, sumStats } from "./step-stats.js";
import type { TokenLogprob } from "./token-logprob.js";
import type { TokenSelector } from "./token-selector.js";

/** The step that computed a token: one after another they make the run. */
export interface TokenStep {
  /** Number of the step in the run, from 0. */
  readonly index: number;
  /** Row of the token in the step. Row 0 is a token that the model chose by itself; every other was drafted, and accepted. */
  readonly row: number;
  /** The tokens that were drafted after row 0, in order: the first `accepted` are rows 1 … `accepted`, the others were rejected. */
  readonly drafts: readonly number[];
  readonly accepted: number;
  /** What the whole step cost, drafting included. */
  readonly stats: TokenStats;
}

/** One token of a text, with what it cost. */
export interface GeneratedToken {
  /** Text that this token completes; empty while a character or a stop text is unfinished. */
  readonly text: string;
  /** Null for the last item, which only ends the run. */
  readonly token: number | null;
  /** What it cost to compute this token; of a step that brought several, its share. Null for a token that nothing comes after. */
  readonly stats: TokenStats | null;
  /** Null where `stats` is. Of a step that brought several tokens, each comes with the same one but for `row`. */
  readonly step: TokenStep | null;
  /** Null unless `topLogprobs` asks for it, and for the last item. */
  readonly logprob: TokenLogprob | null;
  readonly finishReason: FinishReason | null;
}

/** What is known of a token once it is computed. */
interface Computed {
  readonly stats: TokenStats;
  readonly step: TokenStep;
}

const NOT_COMPUTED = { stats: null, step: null } as const;

/** How the token after a pending one is found. */
export interface TokenDecoder {
  /** Computes the pending token, and finds those that follow it. */
  step(pending: number, index: number, mostDrafts: number): Promise<DecodedStep>;
}

/** One token a step, as the chooser says. */
export class PlainDecoder implements TokenDecoder {
  readonly #sequence: Sequence;
  readonly #chooser: Chooser;
  readonly #selector: TokenSelector;
  readonly #observer: ForwardObserver | undefined;
  readonly #signal: AbortSignal | undefined;

  constructor(
    sequence: Sequence,
    chooser: Chooser,
    selector: TokenSelector,
    observer: ForwardObserver | undefined,
    signal: AbortSignal | undefined,
  ) {
    this.#sequence = sequence;
    this.#chooser = chooser;
    this.#selector = selector;
    this.#observer = observer;
    this.#signal = signal;
  }

  /** As {@link TokenDecoder.step}: one token. */
  async step(pending: number, index: number): Promise<DecodedStep> {
    let token = 0;
    const verifyCosts = await this.#sequence.extend([pending], {
      chooser: this.#chooser,
      logits: "last",
      onLogits: (_, logits) => {
        token = this.#selector.select(logits, index);
      },
      observer: this.#observer,
      signal: this.#signal,
    });
    return { tokens: [token], drafts: [], draftCosts: [], verifyCosts };
  }
}

/** What a text begins with, computed: its sequence, the logits after it, and what that cost. */
export interface Beginning {
  readonly sequence: Sequence;
  readonly logits: Float32Array;
  readonly batches: readonly TokenStats[];
  /** Tokens of the prompt whose keys and values were there already. */
  readonly reused: number;
}

/**
 * Takes in a prompt.
 *
 * @param continues The prompt goes on from what the sequence holds, whatever computed that; otherwise it replaces it, but for an exact beginning.
 */
export async function begin(
  sequence: Sequence,
  prompt: readonly number[],
  continues: boolean,
  options: { readonly onProgress?: OnProgress | undefined; readonly signal?: AbortSignal | undefined },
): Promise<Beginning> {
  const { signal } = options;
  const report = (loaded: number) =>
    options.onProgress?.({ phase: "prefill", loaded, total: prompt.length, unit: "tokens" });
  if (!continues) return { sequence, ...(await sequence.prefill(prompt, signal, report)) };
  const reused = sequence.length;
  return { sequence, reused, ...(await sequence.extendDensely(prompt, signal, report)) };
}

/** The same, and tokens that were chosen after the prompt already, as `chooser` computes them. */
export async function beginAgain(
  sequence: Sequence,
  prompt: readonly number[],
  chosen: readonly number[],
  chooser: Chooser,
  signal: AbortSignal | undefined,
): Promise<Beginning> {
  const { batches, reused } = await sequence.prefill(prompt, signal);
  let logits = new Float32Array(0);
  const onLogits = (_: number, values: Float32Array) => {
    logits = values.slice();
  };
  const steps = await sequence.extend(chosen, { chooser, logits: "last", onLogits, signal });
  return { sequence, logits, batches: [...batches, ...steps], reused };
}

/** What a text may become. */
export interface TextLimits {
  readonly maxTokens: number;
  /** Of the sequence, prompt included. */
  readonly contextTokens: number;
}

/** What computes a text: replaced once, where a device is lost and the host goes on. */
export interface GenerationRun {
  readonly beginning: Beginning;
  readonly decoder: TokenDecoder;
}

/** A text as it is generated: its tokens, what they cost, and why it ended. */
export class Generation {
  readonly decoded: TokenStats[] = [];
  readonly #limits: TextLimits;
  readonly #selector: TokenSelector;
  readonly #text: GrowingText;
  readonly #recover: (error: unknown, chosen: readonly number[]) => Promise<GenerationRun>;
  #run: GenerationRun;
  /** Chosen, computed, and not handed out yet; and their rows of the step, with their shares of its cost. */
  readonly #ahead: number[] = [];
  readonly #paid: Computed[] = [];
  #steps = 0;
  #drafted = 0;
  #accepted = 0;
  #draftMs = 0;
  #verifyMs = 0;

  /** @param recover After a failed step: what to go on with, from the prompt and the tokens chosen so far; throws where nothing can. */
  constructor(
    run: GenerationRun,
    limits: TextLimits,
    selector: TokenSelector,
    text: GrowingText,
    recover: (error: unknown, chosen: readonly number[]) => Promise<GenerationRun>,
  ) {
    this.#run = run;
    this.#limits = limits;
    this.#selector = selector;
    this.#text = text;
    this.#recover = recover;
  }

  get beginning(): Beginning {
    return this.#run.beginning;
  }

  get tokens(): readonly number[] {
    return this.#text.tokens;
  }

  /** Of a text that is not complete: `length`, since its context ends where nothing else does. */
  get finishReason(): FinishReason {
    return this.#text.finishReason ?? "length";
  }

  /** Null without a drafter. */
  speculation(drafter: string | null): SpeculationStats | null {
    if (drafter === null) return null;
    const tokensPerStep = this.#steps > 0 ? this.decoded.length / this.#steps : 0;
    return {
      drafter,
      drafted: this.#drafted,
      accepted: this.#accepted,
      steps: this.#steps,
      tokensPerStep,
      draftMs: this.#draftMs,
      verifyMs: this.#verifyMs,
    };
  }

  /** The next token; null when the text is complete. */
  async next(): Promise<GeneratedToken | null> {
    const index = this.tokens.length;
    if (this.#text.finishReason !== null || (index > 0 && this.#ahead.length === 0)) return null;
    const token = index === 0 ? this.#selector.select(this.beginning.logits, 0) : this.#ahead.shift()!;
    const text = this.#text.push(token, this.#ahead.length === 0 && this.#selector.isComplete);
    if (text === null) return null;
    const logprob = this.#selector.takeLogprob(index);
    const computed = this.#text.finishReason === null ? await this.#compute(token) : null;
    return { text, token, ...(computed ?? NOT_COMPUTED), logprob, finishReason: null };
  }

  /**
   * When the text is complete: the sequence holds the text and no more, whatever was computed ahead; a last token that was not computed is noted.
   *
   * @param promptEnd Tokens of the sequence before the first generated one.
   */
  settle(promptEnd: number): void {
    const { sequence } = this.beginning;
    const length = Math.min(sequence.length, promptEnd + this.tokens.length);
    sequence.rollback(length);
    sequence.setPending(this.tokens.slice(length - promptEnd));
    this.#selector.rollback(this.tokens.length);
  }

  /** Computes a token unless that is done; null if nothing comes after it. */
  async #compute(token: number): Promise<Computed | null> {
    const { maxTokens, contextTokens } = this.#limits;
    if (this.#paid.length === 0) {
      const wanted = maxTokens - this.tokens.length;
      // A token at the end of the context needs no logits after it.
      const room = contextTokens - this.beginning.sequence.length;
      if (room === 0) return null;
      const step = await this.#step(token, Math.min(wanted, room) - 1);
      const index = this.#steps++;
      const accepted = step.tokens.length - 1;
      this.#drafted += step.drafts.length;
      this.#accepted += accepted;
      const [drafting, verifying] = [sumStats(step.draftCosts), sumStats(step.verifyCosts)];
      this.#draftMs += drafting.ms;
      this.#verifyMs += verifying.ms;
      const stats = sumStats([drafting, verifying]);
      const share = shareStats(stats, step.tokens.length);
      const { drafts } = step;
      this.#paid.push(
        ...step.tokens.map((_, row) => ({ stats: share, step: { index, row, drafts, accepted, stats } })),
      );
      this.#ahead.push(...step.tokens);
    }
    const computed = this.#paid.shift()!;
    this.decoded.push(computed.stats);
    return computed;
  }

  async #step(pending: number, mostDrafts: number): Promise<DecodedStep> {
    try {
      return await this.#run.decoder.step(pending, this.tokens.length, mostDrafts);
    } catch (error) {
      this.#run = await this.#recover(error, this.tokens);
      const { logits, batches } = this.beginning;
      return {
        tokens: [this.#selector.select(logits, this.tokens.length)],
        drafts: [],
        draftCosts: [],
        verifyCosts: batches.slice(-1),
      };
    }
  }
}
