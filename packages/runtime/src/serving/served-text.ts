/**
 * One text of a scheduler, from its prompt to its end: what of it is to be computed next, and what becomes of the logits.
 *
 * Invariants. `sequence` holds the prompt's first tokens while that is computed, and later the whole text but the pending token, which was chosen
 * last. What was handed out is never taken back.
 */
import { assert, type TokenStats } from "@flashwick/core";
import { GrowingText } from "../growing-text.js";
import type { Sequence } from "../sequence.js";
import type { TextStream } from "../text-stream.js";
import type { TokenSelector } from "../token-selector.js";
import { Handover } from "./handover.js";
import { TextAccount } from "./text-account.js";

export interface ServedTextParts {
  readonly prompt: readonly number[];
  readonly maxTokens: number;
  /** Of the sequence, prompt included. */
  readonly contextTokens: number;
  readonly eosTokenId: number | null;
  readonly selector: TokenSelector;
  /** Null where only token ids are known. */
  readonly stream: TextStream | null;
  /** Milliseconds, monotonic. */
  readonly clock: () => number;
  /** Called when a text that has paused may go on. */
  readonly onResume: () => void;
}

export class ServedText {
  readonly output: Handover;
  readonly account: TextAccount;
  readonly #parts: ServedTextParts;
  readonly #text: GrowingText;
  #sequence: Sequence | null = null;
  /** Chosen, and not computed yet. */
  #pending: number | null = null;

  constructor(parts: ServedTextParts) {
    this.#parts = parts;
    this.output = new Handover(parts.onResume);
    this.account = new TextAccount(parts.clock);
    this.#text = new GrowingText(parts);
  }

  get prompt(): readonly number[] {
    return this.#parts.prompt;
  }

  /** Null before the text begins and after it has given its sequence back. */
  get sequence(): Sequence | null {
    return this.#sequence;
  }

  /** Whether nothing more of it is to be computed. */
  get isOver(): boolean {
    return this.output.hasEnded;
  }

  /** Tokens of the prompt that are to be computed. */
  get promptLeft(): number {
    return this.#pending === null ? this.prompt.length - (this.#sequence?.length ?? 0) : 0;
  }

  /** Whether its next token can be computed: one was chosen, and its consumer keeps up. */
  get isReady(): boolean {
    return this.#pending !== null && !this.output.isFull;
  }

  /** @param sequence Begins with a part of the prompt, and belongs to the text from now on. */
  begin(sequence: Sequence): void {
    this.#sequence = sequence;
    this.account.begin();
    this.account.reuse(sequence.length);
  }

  /** The next `count` tokens to be computed: of the prompt, or the pending one. */
  nextTokens(count: number): readonly number[] {
    if (this.#pending !== null) return [this.#pending];
    const { length } = this.#sequence!;
    return this.prompt.slice(length, length + count);
  }

  /** Chooses the token after the last one computed. What goes wrong ends this text only. */
  choose(logits: Float32Array): void {
    if (this.isOver || this.#text.finishReason !== null) return;
    const { selector } = this.#parts;
    const index = this.#text.tokens.length;
    try {
      const token = selector.select(logits, index);
      this.#pending = token;
      const text = this.#text.push(token, selector.isComplete);
      if (text === null) return;
      this.output.push({ text, token, logprob: selector.takeLogprob(index), finishReason: null });
    } catch (error) {
      this.output.fail(error);
    }
  }

  /**
   * After a step: `tokens` of this text are stored now.
   *
   * @param share Of the step's cost.
   */
  settle(share: TokenStats, tokens: number): void {
    this.account.add(share, tokens);
    if (this.promptLeft > 0 || this.isOver) return;
    this.account.endPrompt();
    if (this.#sequence!.length >= this.#parts.contextTokens) this.#text.endOfContext();
    if (this.#text.finishReason !== null) this.#finish();
  }

  /** Gives the sequence back. */
  leave(): Sequence {
    assert(this.isOver && this.#sequence, "a text that is over gives its sequence back once");
    const sequence = this.#sequence;
    this.#sequence = null;
    return sequence;
  }

  /** Whether it has come to its own end, rather than to an error. */
  get isFinished(): boolean {
    return this.account.hasEnded;
  }

  #finish(): void {
    const { tokens, finishReason } = this.#text;
    this.output.push({ text: this.#text.rest(), token: null, logprob: null, finishReason });
    const summary = { promptTokens: this.prompt.length, tokens, finishReason: finishReason! };
    this.output.finish({ ...summary, ...this.account.end() });
  }
}
