/**
 * Sequences of texts that have ended, kept for prompts that begin the same: such a prompt shares their pages and computes only what is new.
 *
 * They take nothing that another text could use: when a sequence is wanted and none is free, the least recently used one is given up. Only tokens
 * computed the way prompts are computed count, since those have the same bits in every sequence.
 */
import { assert, KV_PAGE_TOKENS } from "@flashwick/core";
import type { Engine } from "../engine.js";
import { Sequence } from "../sequence.js";

export class KeptPrefixes {
  /** Least recently used first. */
  readonly #kept: Sequence[] = [];

  /** Takes over the sequence of a text that has ended, and gives up those that it makes redundant. */
  keep(sequence: Sequence): void {
    sequence.rollback(sequence.promptLength);
    for (const other of [...this.#kept]) {
      if (sequence.sharedLength(other.tokens) === other.length) this.#remove(other).release();
    }
    this.#kept.push(sequence);
  }

  /** Tokens of the prompt that need not be computed. */
  reusableLength(prompt: readonly number[], running: readonly Sequence[]): number {
    const source = this.#longest(prompt, running);
    return source?.reusableLength(prompt) ?? 0;
  }

  /**
   * A sequence for a prompt, which begins with what the prompt shares with a kept sequence or a running one.
   *
   * @throws {BudgetError} `BUDGET_SEQUENCES` if all are in use by others.
   */
  begin(prompt: readonly number[], running: readonly Sequence[], engine: Engine): Sequence {
    const source = this.#longest(prompt, running);
    if (source === null) return this.#open(engine);
    const isKept = this.#kept.includes(source);
    if (isKept) this.#kept.push(this.#remove(source));
    // A turn of a conversation goes on where the one before has ended: nothing of it is lost.
    if (isKept && source.reusableLength(prompt) === source.length) return this.#continue(source, prompt);
    this.#makeRoom(engine, isKept ? 1 : 0);
    if (isKept && isFull(engine)) return this.#continue(source, prompt);
    const fork = source.fork();
    fork.rollback(source.reusableLength(prompt));
    return fork;
  }

  /** Gives up all of them. */
  clear(): void {
    for (const sequence of this.#kept.splice(0)) sequence.release();
  }

  /** The sequence that shares most with the prompt, of equals a kept one; null where that is less than a page. */
  #longest(prompt: readonly number[], running: readonly Sequence[]): Sequence | null {
    let longest: Sequence | null = null;
    let most = KV_PAGE_TOKENS - 1;
    for (const sequence of [...this.#kept, ...running]) {
      const length = sequence.reusableLength(prompt);
      if (length > most) [longest, most] = [sequence, length];
    }
    return longest;
  }

  #open(engine: Engine): Sequence {
    this.#makeRoom(engine, 0);
    return new Sequence(engine);
  }

  /** Gives up the least recently used sequence if none is free, but keeps the last `keeps`. */
  #makeRoom(engine: Engine, keeps: number): void {
    if (isFull(engine) && this.#kept.length > keeps) this.#kept.shift()!.release();
  }

  #continue(source: Sequence, prompt: readonly number[]): Sequence {
    this.#remove(source).rollback(source.reusableLength(prompt));
    return source;
  }

  #remove(sequence: Sequence): Sequence {
    const [removed] = this.#kept.splice(this.#kept.indexOf(sequence), 1);
    assert(removed === sequence, "only a kept sequence is removed");
    return sequence;
  }
}

function isFull(engine: Engine): boolean {
  return engine.openSequences === engine.parts.plan.sequences;
}
