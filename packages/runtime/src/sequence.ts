/**
 * One sequence of tokens in an engine: what its keys and values hold, and how it grows, shrinks and forks.
 *
 * Invariants. Keys and values of tokens 0 … length − 1 are stored, in pages that only this sequence writes. What a step did not finish does not
 * count: after a failure the sequence is as it was before, and usable. `exactLength` tells how many tokens from the beginning were computed
 * as the dense model does. Those that were computed as the engine computes prompts, which is the same unless it is to use fewer experts, may serve any
 * sequence of the engine that begins the same; the others only as what they are.
 */
import { assert, DisposedError, InputError, KV_PAGE_TOKENS, type TokenStats } from "@flashwick/core";
import type { Chooser } from "./chooser.js";
import type { Engine } from "./engine.js";
import type { ForwardObserver } from "./forward-observer.js";
import type { KvPool } from "./kv-pool.js";

/** Tokens whose sets fill the neuron caches after a prefill. */
export const SEED_TOKENS = 8;

/** Who names neurons, which logits are wanted, and who looks on. */
export interface ExtendOptions {
  /** Default: the engine's own, which is what its mode says. */
  readonly chooser?: Chooser;
  /** Which of the tokens' logits are wanted; default `none`. */
  readonly logits?: "none" | "last" | "all";
  /**
   * Sees the logits after each wanted token; they are valid during the call only.
   *
   * @param position Of the token in the sequence.
   */
  readonly onLogits?: (position: number, logits: Float32Array) => void;
  /** The neuron caches are to be filled for decoding with what this many of the last tokens use. Default 0. */
  readonly seedTokens?: number;
  readonly observer?: ForwardObserver | undefined;
  /** Called after each step with how many of the tokens are done. */
  readonly onProgress?: ((done: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Tokens whose keys and values are stored. */
export class Sequence {
  readonly engine: Engine;
  readonly #pool: KvPool;
  /** Number of its page table. */
  readonly #table: number;
  readonly #pages: number[] = [];
  readonly #tokens: number[] = [];
  #exactLength = 0;
  #promptLength = 0;
  #pending: readonly number[] = [];
  #released = false;
  /** A step is writing to its pages. */
  #isInStep = false;

  /** @throws {BudgetError} `BUDGET_SEQUENCES` if as many are open as the engine was planned for. */
  constructor(engine: Engine) {
    this.engine = engine;
    this.#pool = engine.pool;
    this.#table = this.#pool.openTable();
  }

  /** The tokens whose keys and values are stored. */
  get tokens(): readonly number[] {
    return this.#tokens;
  }

  /** Tokens whose keys and values are stored. */
  get length(): number {
    return this.#tokens.length;
  }

  /** How many of them, from the beginning, were computed as the dense model does. */
  get exactLength(): number {
    return this.#exactLength;
  }

  /** Tokens from the beginning that were computed the way prompts are computed: another sequence may reuse them. */
  get promptLength(): number {
    return this.#promptLength;
  }

  /** For the engine: where the attention kernels find keys and values. */
  get table(): number {
    return this.#table;
  }

  /**
   * Appends tokens: computes them in steps as wide as the engine's batches, and stores their keys and values.
   *
   * @returns What each step cost. After an error the sequence holds the steps that were finished.
   * @throws {InputError} `INPUT_CONTEXT_LENGTH` for more tokens than a sequence may have; nothing has been computed then. {BudgetError}
   *   `BUDGET_KV_PAGES`, likewise.
   */
  async extend(tokens: readonly number[], options: ExtendOptions = {}): Promise<TokenStats[]> {
    const { chooser = this.engine.chooser, logits = "none", onLogits, seedTokens = 0, observer, signal } = options;
    this.#checkRoom(tokens.length);
    const { batchTokens } = this.engine;
    const steps: TokenStats[] = [];
    for (let at = 0; at < tokens.length; at += batchTokens) {
      const batch = tokens.slice(at, at + batchTokens);
      const isLast = at + batch.length === tokens.length;
      const stats = await this.engine.step(
        batch.map((token) => ({ sequence: this, token })),
        chooser,
        {
          logits: logits === "last" && !isLast ? "none" : logits,
          onLogits: (row, values) => onLogits?.(this.length + row, values),
          seedTokens: isLast ? seedTokens : 0,
          observer,
          signal,
        },
      );
      steps.push(stats);
      options.onProgress?.(at + batch.length);
    }
    return steps;
  }

  /**
   * Takes in a prompt, which replaces what the sequence holds: a beginning that is the same and was computed as prompts are is kept. Dense, hence exact,
   * unless fewer experts are to be used.
   *
   * @returns The logits after its last token (a copy), what each step cost, and how many tokens were kept.
   */
  async prefill(
    prompt: readonly number[],
    signal?: AbortSignal,
    onProgress?: (done: number) => void,
  ): Promise<{ logits: Float32Array; batches: TokenStats[]; reused: number }> {
    const reused = this.reusableLength(prompt);
    this.rollback(reused);
    const done = await this.extendDensely(prompt.slice(reused), signal, (count) => onProgress?.(reused + count));
    return { ...done, reused };
  }

  /**
   * Appends tokens as the engine computes prompts, and leaves the neuron caches ready for decoding.
   *
   * @returns The logits after the last token (a copy), and what each step cost.
   */
  async extendDensely(
    tokens: readonly number[],
    signal?: AbortSignal,
    onProgress?: (done: number) => void,
  ): Promise<{ logits: Float32Array; batches: TokenStats[] }> {
    let logits = new Float32Array(0);
    const batches = await this.extend(tokens, {
      chooser: this.engine.promptChooser,
      logits: "last",
      onLogits: (_, values) => {
        logits = values.slice();
      },
      seedTokens: SEED_TOKENS,
      onProgress,
      signal,
    });
    return { logits, batches };
  }

  /** Appends one token as the engine's mode says. @returns The logits after it (a copy), and what the step cost. */
  async decode(
    token: number,
    signal?: AbortSignal,
    observer?: ForwardObserver,
  ): Promise<{ logits: Float32Array; stats: TokenStats }> {
    let logits = new Float32Array(0);
    const [stats] = await this.extend([token], {
      logits: "last",
      onLogits: (_, values) => {
        logits = values.slice();
      },
      observer,
      signal,
    });
    return { logits, stats: stats! };
  }

  /** The last tokens of the text, which nothing came after: they are not stored, and are to be computed when the text goes on. */
  get pending(): readonly number[] {
    return this.#pending;
  }

  /** Forgotten by whatever changes the sequence. */
  setPending(tokens: readonly number[]): void {
    this.#pending = [...tokens];
  }

  /** Whether its pages were given back. */
  get isReleased(): boolean {
    return this.#released;
  }

  /** How many of `tokens` the sequence begins with. */
  sharedLength(tokens: readonly number[]): number {
    const most = Math.min(tokens.length, this.length);
    let shared = 0;
    while (shared < most && this.#tokens[shared] === tokens[shared]) shared++;
    return shared;
  }

  /** Tokens of a prompt that need not be computed, since the sequence begins with them: at most all but the last, whose logits are wanted. */
  reusableLength(prompt: readonly number[]): number {
    return Math.min(this.sharedLength(prompt), this.#promptLength, prompt.length - 1);
  }

  /**
   * Forgets all tokens from `length` on.
   *
   * @throws {InputError} `INPUT_INVALID` unless 0 ≤ length ≤ this.length. `INPUT_BUSY` while a step appends to the sequence.
   */
  rollback(length: number): void {
    this.#assertOpen();
    if (this.#isInStep) throw isInStep();
    if (!Number.isInteger(length) || length < 0 || length > this.length) {
      throw new InputError(
        "INPUT_INVALID",
        `rollback to ${length} tokens, expected an integer from 0 to the ${this.length} that the sequence has`,
      );
    }
    this.#forget(length);
  }

  /**
   * A sequence that begins with all of this one's tokens, the pending ones included, and goes its own way from there. Pages are shared until one of the
   * two writes to them.
   *
   * @throws {BudgetError} `BUDGET_SEQUENCES` if no further sequence was planned for. The model's own counts, if `generate` has used it: `openSequence` takes
   *   its place, a fork does not.
   */
  fork(): Sequence {
    this.#assertOpen();
    const fork = new Sequence(this.engine);
    // Pages behind the last token are reserved: both would write to them.
    for (const page of this.#pages.slice(0, Math.ceil(this.length / KV_PAGE_TOKENS))) {
      this.#pool.share(page);
      fork.#append(page);
    }
    fork.#tokens.push(...this.#tokens);
    fork.#exactLength = this.#exactLength;
    fork.#promptLength = this.#promptLength;
    fork.#pending = this.#pending;
    return fork;
  }

  /** A copy of the keys and values of the tokens 16 · `index` to 16 · `index` + 15: what {@link restorePage} takes. */
  async readPage(index: number): Promise<Uint8Array> {
    this.#assertOpen();
    assert((index + 1) * KV_PAGE_TOKENS <= this.length, "only a whole page is read");
    return await this.#pool.read(this.#pages[index]!);
  }

  /**
   * Appends the 16 tokens of a page without computing them. They have been reserved.
   *
   * @param page Their keys and values after the same tokens, as an engine of the same model and precision has computed them for a prompt.
   */
  restorePage(tokens: readonly number[], page: Uint8Array): void {
    this.#assertOpen();
    assert(tokens.length === KV_PAGE_TOKENS && this.length % KV_PAGE_TOKENS === 0, "a page is restored whole");
    this.#pool.write(this.#pages[this.length / KV_PAGE_TOKENS]!, page);
    this.commit(tokens, this.engine.promptChooser.exact, true);
  }

  /** Gives its pages back; if a step is writing to them, as soon as that has ended. Safe to call twice, and at any time. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    if (!this.#isInStep) this.#giveBack();
  }

  /** For the engine: a step that appends to the sequence begins. @throws {DisposedError} once it is released. */
  stepBegins(): void {
    this.#assertOpen();
    this.#isInStep = true;
  }

  /** For the engine: that step has ended. */
  stepEnds(): void {
    this.#isInStep = false;
    if (this.#released) this.#giveBack();
  }

  /**
   * Makes sure that `count` more tokens have pages of this sequence's own to go to.
   *
   * @throws {InputError} `INPUT_CONTEXT_LENGTH`. {BudgetError} `BUDGET_KV_PAGES`. Nothing is lost then.
   */
  async reserve(count: number): Promise<void> {
    if (!this.#isInStep) this.#assertOpen();
    this.#checkLength(count);
    const writes = Math.floor(this.length / KV_PAGE_TOKENS);
    const wanted = Math.ceil((this.length + count) / KV_PAGE_TOKENS);
    if (count > 0) await this.#own(writes);
    const before = this.#pages.length;
    try {
      while (this.#pages.length < wanted) this.#append(this.#pool.allocate());
    } catch (error) {
      for (const page of this.#pages.splice(before)) this.#pool.release(page);
      throw error;
    }
  }

  /** Whether `count` more tokens have somewhere to go, as things are. @throws As {@link reserve}. */
  #checkRoom(count: number): void {
    this.#assertOpen();
    this.#checkLength(count);
    const writes = this.#pages[Math.floor(this.length / KV_PAGE_TOKENS)];
    const copies = count > 0 && writes !== undefined && this.#pool.isShared(writes) ? 1 : 0;
    this.#pool.checkFree(copies + Math.ceil((this.length + count) / KV_PAGE_TOKENS) - this.#pages.length);
  }

  #checkLength(count: number): void {
    const { contextTokens } = this.engine;
    const length = this.length + count;
    if (length > contextTokens) {
      throw new InputError(
        "INPUT_CONTEXT_LENGTH",
        `the sequence would have ${length} tokens, but the engine was planned for ${contextTokens}; open the model with more contextTokens, or ` +
          `begin a new sequence`,
        { details: { tokens: length, contextTokens } },
      );
    }
  }

  /** Replaces a page that others hold too, if it is one, by a copy. @throws {BudgetError} `BUDGET_KV_PAGES`. {DisposedError} if it is released meanwhile. */
  async #own(index: number): Promise<void> {
    const shared = this.#pages[index];
    if (shared === undefined || !this.#pool.isShared(shared)) return;
    const own = this.#pool.allocate();
    try {
      await this.#pool.copy(shared, own);
      if (!this.#isInStep) this.#assertOpen();
    } catch (error) {
      this.#pool.release(own);
      throw error;
    }
    // Whoever else appends to the sequence may have been faster, or have rolled it back.
    const isStillThere = this.#pages[index] === shared;
    if (isStillThere) {
      this.#pages[index] = own;
      this.#pool.enter(this.#table, index, own);
    }
    this.#pool.release(isStillThere ? shared : own);
  }

  /** For the engine, after a step: these tokens' keys and values are stored now. */
  commit(tokens: readonly number[], exact: boolean, promptLike: boolean): void {
    assert(this.length + tokens.length <= this.#pages.length * KV_PAGE_TOKENS, "a step writes to reserved pages only");
    this.#pending = [];
    if (exact && this.#exactLength === this.length) this.#exactLength += tokens.length;
    if (promptLike && this.#promptLength === this.length) this.#promptLength += tokens.length;
    this.#tokens.push(...tokens);
  }

  #forget(length: number): void {
    this.#pending = [];
    this.#tokens.length = length;
    this.#exactLength = Math.min(this.#exactLength, length);
    this.#promptLength = Math.min(this.#promptLength, length);
    for (const page of this.#pages.splice(Math.ceil(length / KV_PAGE_TOKENS))) this.#pool.release(page);
  }

  #giveBack(): void {
    this.#forget(0);
    this.#pool.closeTable(this.#table);
  }

  #append(page: number): void {
    this.#pool.enter(this.#table, this.#pages.length, page);
    this.#pages.push(page);
  }

  #assertOpen(): void {
    if (this.#released) throw new DisposedError("the sequence");
  }
}

function isInStep(): InputError {
  return new InputError("INPUT_BUSY", "the sequence is being appended to; await what appends before rolling it back");
}
