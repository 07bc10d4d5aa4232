/**
 * The texts that have a place in the engine: each round computes a token of every one, and a batch of the prompts that join them.
 *
 * Plan, then act: `planRound` says which tokens, this executes it. Sequences begin, fork and end between steps only.
 */
import { KV_PAGE_TOKENS } from "@flashwick/core";
import type { Engine } from "../engine.js";
import type { EngineHolder } from "../engine-holder.js";
import { SEED_TOKENS } from "../sequence.js";
import { shareStats } from "../step-stats.js";
import { KeptPrefixes } from "./kept-prefixes.js";
import { planRound, type RoundStep } from "./plan-round.js";
import type { ServedText } from "./served-text.js";
import type { StoredPrefixes } from "./stored-prefixes.js";

export interface RunningParts {
  readonly engines: EngineHolder;
  /** Tokens of each sequence. */
  readonly contextTokens: number;
  /** Texts that may run at once. */
  readonly sequences: number;
  /** Prompts beyond the process; null: none are kept. */
  readonly stored: StoredPrefixes | null;
  /** A text has given its place back. */
  readonly onLeave: (text: ServedText) => void;
}

/** A step in progress. */
interface Flight {
  readonly texts: readonly ServedText[];
  readonly controller: AbortController;
  readonly landed: Promise<void>;
}

export class RunningTexts {
  readonly #parts: RunningParts;
  readonly #placed: ServedText[] = [];
  readonly #prefixes = new KeptPrefixes();
  #flight: Flight | null = null;

  constructor(parts: RunningParts) {
    this.#parts = parts;
  }

  get count(): number {
    return this.#placed.length;
  }

  /** In order of their coming. */
  get all(): readonly ServedText[] {
    return this.#placed;
  }

  /**
   * Whether the text has a place now. One that begins like a prompt in progress waits for that: most of it will then be computed already.
   */
  mayBegin({ prompt }: ServedText): boolean {
    if (this.#placed.length >= this.#parts.sequences) return false;
    const coming = this.#placed.filter((text) => text.promptLeft > 0).map((text) => commonLength(text.prompt, prompt));
    return (
      Math.min(prompt.length - 1, Math.max(0, ...coming)) <
      this.#prefixes.reusableLength(prompt, this.#sequences()) + KV_PAGE_TOKENS
    );
  }

  /** Gives the text a place. What goes wrong ends this text only. */
  async begin(text: ServedText): Promise<void> {
    this.#placed.push(text);
    const { engines, contextTokens } = this.#parts;
    try {
      const engine = await engines.withDevice(() => engines.engineFor(contextTokens, {}));
      if (!text.isOver) {
        text.begin(this.#prefixes.begin(text.prompt, this.#sequences(), engine));
        this.#parts.stored?.restore(text);
      }
    } catch (error) {
      text.output.fail(error);
    }
    this.#dismiss();
  }

  /** Computes what comes next of all texts. @returns Whether there was anything. */
  async round(): Promise<boolean> {
    const { stored } = this.#parts;
    const isStoring = (await stored?.advance()) ?? false;
    const engine = this.#placed.find(({ sequence }) => sequence)?.sequence?.engine;
    if (!engine) return isStoring;
    const prompts = this.#placed
      .filter((text) => text.promptLeft > 0 && !stored?.isRestoring(text))
      .map((text) => ({ text, tokens: text.promptLeft }));
    const running = this.#placed.filter((text) => text.isReady);
    const limits = { batchTokens: engine.batchTokens, mixes: engine.chooser === engine.promptChooser };
    const steps = planRound(prompts, running, limits);
    for (const step of steps) await this.#compute(engine, step);
    return isStoring || steps.length > 0;
  }

  /** Takes a text out that is over, now or as soon as no step computes it. */
  async release(text: ServedText, reason: unknown): Promise<void> {
    if (this.#flight?.texts.includes(text)) {
      if (this.#flight.texts.every(({ isOver }) => isOver)) this.#flight.controller.abort(reason);
      await this.#flight.landed;
    } else {
      this.#dismiss();
    }
  }

  /** Gives up what is kept of earlier texts. */
  clear(): void {
    this.#prefixes.clear();
  }

  async #compute(engine: Engine, { as, parts }: RoundStep<ServedText>): Promise<void> {
    const live = parts.filter(({ text }) => !text.isOver);
    if (live.length === 0) return;
    const texts = live.map(({ text }) => text);
    const controller = new AbortController();
    const landed = this.#step(engine, as, live, controller.signal).catch((error) => this.#fail(texts, error));
    this.#flight = { texts, controller, landed };
    await landed;
    this.#flight = null;
    this.#dismiss();
  }

  async #step(
    engine: Engine,
    as: RoundStep<ServedText>["as"],
    parts: RoundStep<ServedText>["parts"],
    signal: AbortSignal,
  ): Promise<void> {
    const rows = parts.flatMap(({ text, tokens }) =>
      text.nextTokens(tokens).map((token) => ({ sequence: text.sequence!, token })),
    );
    const choosing = lastRows(parts);
    const ending = parts.filter(({ text, tokens }) => text.promptLeft === tokens);
    const isAlone = this.#placed.every((text) => !text.isReady);
    const stats = await engine.step(rows, as === "prompt" ? engine.promptChooser : engine.chooser, {
      logits: [...choosing.keys()],
      onLogits: (row, logits) => choosing.get(row)!.choose(logits),
      // What running texts use would be pushed out of the caches.
      seedTokens: as === "prompt" && isAlone && choosing.size > 0 ? SEED_TOKENS : 0,
      signal,
    });
    const share = shareStats(stats, rows.length);
    for (const { text, tokens } of parts) text.settle(share, tokens);
    for (const { text } of ending) this.#parts.stored?.save(text.sequence!, text.prompt);
  }

  /** A step has failed: its texts end, and all of them if the engine is gone with it. */
  #fail(texts: readonly ServedText[], error: unknown): void {
    const { engines } = this.#parts;
    for (const { output } of texts) output.fail(error);
    const isLost = engines.replaceDevice(error) || engines.dropAfter(error);
    if (!isLost) return;
    for (const { output } of this.#placed) output.fail(error);
    this.#prefixes.clear();
  }

  /** Takes out all texts that are over and that no step computes: prefixes of those that have come to their end are kept. */
  #dismiss(): void {
    const isFree = (text: ServedText) => text.isOver && !this.#flight?.texts.includes(text);
    for (const text of this.#placed.filter(isFree)) {
      this.#placed.splice(this.#placed.indexOf(text), 1);
      if (text.sequence) {
        const sequence = text.leave();
        if (text.isFinished) this.#prefixes.keep(sequence);
        else sequence.release();
      }
      this.#parts.onLeave(text);
    }
  }

  #sequences() {
    return this.#placed.flatMap(({ sequence }) => sequence ?? []);
  }
}

/** The rows after which a token is chosen: the last one of each text whose prompt ends in the step, or that runs. */
function lastRows(parts: RoundStep<ServedText>["parts"]): Map<number, ServedText> {
  const rows = new Map<number, ServedText>();
  let row = 0;
  for (const { text, tokens } of parts) {
    row += tokens;
    if (text.promptLeft === 0 || text.promptLeft === tokens) rows.set(row - 1, text);
  }
  return rows;
}

function commonLength(a: readonly number[], b: readonly number[]): number {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) length++;
  return length;
}
