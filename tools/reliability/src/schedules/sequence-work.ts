/**
 * Sequences of one engine, interleaved step by step: they grow in steps of any width, together and alone, shrink, fork, end, draft and are cancelled.
 *
 * Invariant: `history` says how each token that a sequence holds was computed, so that the logits after it can be had from the reference.
 */
import { isFlashwickError, type Random } from "@flashwick/core";
import type { Model, Sequence } from "@flashwick/runtime";
import type { Chooser, StepRow } from "@flashwick/runtime/engine";
import { Alarm } from "./alarm.js";
import type { Observed } from "./observed.js";
import type { HistoryEntry } from "./reference.js";
import { CONTEXT_TOKENS } from "./schedule-plan.js";
import type { SimulatedWorld } from "./simulated-world.js";
import { stemToken } from "./stems.js";

/** A sequence, and what it holds. */
interface Tracked {
  readonly sequence: Sequence;
  /** The text that its next tokens are of. */
  stem: number;
  history: HistoryEntry[];
}

const LEAST_OPERATIONS = 8;
const MORE_OPERATIONS = 12;
/** Tokens that are appended at once, at most. */
const MOST_TOKENS = 20;
const CANCELLED_SHARE = 0.15;

/** Runs some operations, and leaves everything released. */
export async function workOnSequences(world: SimulatedWorld, model: Model, random: Random, observed: Observed) {
  const work = new SequenceWork(world, model, random, observed);
  const count = LEAST_OPERATIONS + random.below(MORE_OPERATIONS);
  for (let i = 0; i < count; i++) await work.operate();
  work.end();
}

class SequenceWork {
  readonly #world: SimulatedWorld;
  readonly #model: Model;
  readonly #random: Random;
  readonly #observed: Observed;
  readonly #tracked: Tracked[] = [];
  #freePages = Number.NaN;

  constructor(world: SimulatedWorld, model: Model, random: Random, observed: Observed) {
    this.#world = world;
    this.#model = model;
    this.#random = random;
    this.#observed = observed;
  }

  async operate(): Promise<void> {
    const what = this.#random.below(16);
    if (this.#tracked.length === 0 || what === 0) return await this.#open();
    const one = this.#tracked[this.#random.below(this.#tracked.length)]!;
    if (what < 5) return await this.#extend(one);
    if (what < 9) return await this.#stepTogether();
    if (what < 10) return this.#rollBack(one);
    if (what < 11) return this.#fork(one);
    if (what < 12) return this.#release(one);
    if (what < 13) return await this.#draft(one);
    if (what < 14) return await this.#extendTooFar(one);
    if (what < 15) return await this.#extendAtOnce();
    return await this.#releaseMidway(one);
  }

  /** Releases all sequences, and sees that their pages are free. */
  end(): void {
    const engine = this.#tracked[0]?.sequence.engine;
    for (const { sequence } of this.#tracked.splice(0)) sequence.release();
    if (!engine) return;
    if (engine.freePages !== this.#freePages) {
      this.#fault(`${engine.freePages} pages are free at the end, ${this.#freePages} were at the beginning`);
    }
    if (engine.openSequences !== 0) this.#fault(`${engine.openSequences} sequences are open at the end`);
  }

  #fault(what: string): void {
    this.#observed.faults.push(what);
  }

  async #open(): Promise<void> {
    try {
      const sequence = await this.#model.openSequence();
      if (Number.isNaN(this.#freePages)) this.#freePages = sequence.engine.freePages;
      this.#tracked.push({ sequence, stem: this.#random.below(3), history: [] });
    } catch (error) {
      this.#expectCode(error, "BUDGET_SEQUENCES");
    }
  }

  #expectCode(error: unknown, code: string): void {
    if (!isFlashwickError(error) || error.code !== code) throw error;
  }

  #nextEntries({ sequence, stem }: Tracked, count: number, how: HistoryEntry["how"], from = sequence.length) {
    const most = Math.max(0, Math.min(count, CONTEXT_TOKENS - from));
    return Array.from({ length: most }, (_, i): HistoryEntry => ({ token: stemToken(stem, from + i), how }));
  }

  #chooserOf({ sequence: { engine } }: Tracked, how: HistoryEntry["how"]): Chooser {
    return how === "prompt" ? engine.promptChooser : engine.chooser;
  }

  #see(history: readonly HistoryEntry[], logits: Float32Array): void {
    this.#observed.logits.push({ history, logits: logits.slice() });
  }

  async #extend(one: Tracked): Promise<void> {
    const how = this.#random.below(2) === 0 ? "prompt" : "mode";
    const entries = this.#nextEntries(one, 1 + this.#random.below(MOST_TOKENS), how);
    const intended = [...one.history, ...entries];
    const logits = (["none", "last", "last", "all"] as const)[this.#random.below(4)]!;
    const seen: [number, Float32Array][] = [];
    await this.#cancellable([one], async (signal) => {
      await one.sequence.extend(
        entries.map(({ token }) => token),
        {
          chooser: this.#chooserOf(one, how),
          logits,
          seedTokens: this.#random.below(3) * 4,
          onLogits: (position, values) => void seen.push([position, values.slice()]),
          signal,
        },
      );
    });
    // Steps that were finished before a cancel stay.
    one.history = intended.slice(0, one.sequence.length);
    for (const [position, values] of seen) this.#see(intended.slice(0, position + 1), values);
    this.#check(one);
  }

  /** Calls that do not wait for each other: their steps must. */
  async #extendAtOnce(): Promise<void> {
    await Promise.all(this.#tracked.map((one) => this.#extend(one)));
  }

  /** Released at any moment, perhaps in the middle of a step, while another sequence takes pages. */
  async #releaseMidway(one: Tracked): Promise<void> {
    const others = this.#tracked.filter((other) => other !== one);
    if (others.length === 0) return;
    this.#tracked.splice(this.#tracked.indexOf(one), 1);
    const alarm = new Alarm(this.#world, this.#random);
    alarm.signal.addEventListener("abort", () => one.sequence.release());
    const tokens = this.#nextEntries(one, 1 + this.#random.below(MOST_TOKENS), "mode").map(({ token }) => token);
    const extending = one.sequence.extend(tokens).catch((error) => this.#expectCode(error, "DISPOSED"));
    await Promise.all([extending, this.#extend(others[this.#random.below(others.length)]!)]);
    alarm.stop();
    one.sequence.release();
  }

  async #stepTogether(): Promise<void> {
    const how = this.#random.below(3) === 0 ? "prompt" : "mode";
    const { engine } = this.#tracked[0]!.sequence;
    let room = engine.batchTokens;
    const parts = this.#tracked.flatMap((one) => {
      const entries = this.#nextEntries(one, Math.min(room, this.#random.below(4)), how);
      room -= entries.length;
      return entries.length === 0 ? [] : [{ one, intended: [...one.history, ...entries], entries }];
    });
    if (parts.length === 0) return;
    const rows = parts.flatMap(({ one, entries }) =>
      entries.map(({ token }): StepRow => ({ sequence: one.sequence, token })),
    );
    const histories = parts.flatMap(({ one, intended, entries }) =>
      entries.map((_, i) => intended.slice(0, one.history.length + i + 1)),
    );
    const wanted = rows.flatMap((_, row) => (this.#random.below(3) > 0 ? [row] : []));
    const isDone = await this.#cancellable(
      parts.map(({ one }) => one),
      async (signal) => {
        const seen: [number, Float32Array][] = [];
        const onLogits = (row: number, values: Float32Array) => void seen.push([row, values.slice()]);
        await engine.step(rows, this.#chooserOf(parts[0]!.one, how), { logits: wanted, onLogits, signal });
        for (const [row, values] of seen) this.#see(histories[row]!, values);
      },
    );
    for (const { one, intended } of parts) {
      if (isDone) one.history = intended;
      this.#check(one);
    }
  }

  /** Several tokens at once, of which some are taken back as rejected drafts are. */
  async #draft(one: Tracked): Promise<void> {
    const { sequence } = one;
    const { engine } = sequence;
    const entries = this.#nextEntries(one, Math.min(engine.batchTokens, 2 + this.#random.below(5)), "mode");
    if (entries.length < 2) return;
    const intended = [...one.history, ...entries];
    const kept = 1 + this.#random.below(entries.length);
    const isDone = await this.#cancellable([one], async (signal) => {
      await engine.step(
        entries.map(({ token }) => ({ sequence, token })),
        engine.chooser,
        {
          logits: "all",
          onLogits: (row, values) => this.#see(intended.slice(0, one.history.length + row + 1), values),
          signal,
        },
      );
    });
    if (isDone) {
      sequence.rollback(one.history.length + kept);
      engine.retract(entries.length - kept);
      one.history = intended.slice(0, sequence.length);
    }
    this.#check(one);
  }

  async #extendTooFar(one: Tracked): Promise<void> {
    const tokens = new Array<number>(CONTEXT_TOKENS + 1 - one.sequence.length).fill(1);
    try {
      await one.sequence.extend(tokens);
      this.#fault("a sequence has grown beyond its context");
    } catch (error) {
      this.#expectCode(error, "INPUT_CONTEXT_LENGTH");
    }
    this.#check(one);
  }

  #rollBack(one: Tracked): void {
    const length = this.#random.below(one.sequence.length + 1);
    one.sequence.rollback(length);
    one.history = one.history.slice(0, length);
    if (this.#random.below(3) === 0) one.stem = this.#random.below(3);
  }

  #fork(one: Tracked): void {
    try {
      // Of another text mostly, so that the two write different keys and values.
      this.#tracked.push({ ...one, stem: this.#random.below(3), sequence: one.sequence.fork() });
    } catch (error) {
      this.#expectCode(error, "BUDGET_SEQUENCES");
    }
  }

  /** One stays, so that the engine can be asked at the end. */
  #release(one: Tracked): void {
    if (this.#tracked.length < 2) return;
    one.sequence.release();
    this.#tracked.splice(this.#tracked.indexOf(one), 1);
  }

  /** @returns False if it was cancelled; then every sequence has what it had, or more of what was asked for. */
  async #cancellable(parts: readonly Tracked[], work: (signal: AbortSignal | undefined) => Promise<void>) {
    if (this.#random.uniform() >= CANCELLED_SHARE) {
      await work(undefined);
      return true;
    }
    const alarm = new Alarm(this.#world, this.#random);
    try {
      await work(alarm.signal);
      return true;
    } catch (error) {
      if (error !== alarm.reason) throw error;
      this.#observed.cancels++;
      for (const { sequence, history } of parts) {
        if (sequence.length < history.length) this.#fault("a sequence has lost tokens to a cancel");
      }
      return false;
    } finally {
      alarm.stop();
    }
  }

  #check({ sequence, history }: Tracked): void {
    const isSame = sequence.length === history.length && sequence.tokens.every((t, i) => t === history[i]!.token);
    if (!isSame)
      this.#fault(`a sequence holds ${sequence.tokens.join(" ")}, not ${history.map((e) => e.token).join(" ")}`);
  }
}
