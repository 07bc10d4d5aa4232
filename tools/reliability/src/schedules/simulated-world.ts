/**
 * A world on one thread in which everything that happens beside the caller happens when a seed says so.
 *
 * Threads are {@link Actor}s that do one small step at a time. The caller runs the product's own code; wherever that looks at shared memory
 * (`Atomics`) or at the clock, some of the actors take steps first. So each hand-off meets any order of events, and one seed gives one order.
 *
 * Invariants: nothing here depends on real time or on other threads. An actor's own looks at shared memory move nobody else.
 */
import type { Random } from "@flashwick/core";

/** Something that goes on beside the caller. */
export interface Actor {
  /** Does the next small thing, if there is any. @returns Whether it did. */
  step(): boolean;
}

/** Mean of what a look at the clock takes, and of what an actor's step takes, milliseconds: any number would do. */
const LOOK_MS = 0.01;
const STEP_MS = 0.05;
/** One look in so many takes as long as a machine that is busy elsewhere. */
const LOOKS_A_STALL = 400;
const STALL_MS = 40;
/** Steps that a sleep may take before it ends by its time-out, whatever the clock says. */
const MOST_STEPS_A_SLEEP = 10_000;

/** Actors, a clock, and hooks into the caller's looks at both. */
export class SimulatedWorld {
  readonly #random: Random;
  readonly #actors: Actor[] = [];
  /** How likely another step is, wherever steps may happen. */
  readonly #pace: number;
  #nowMs = 0;
  /** An actor is taking a step. */
  #isInside = false;
  /** Calls of `Atomics.notify` so far, by buffer and index. */
  readonly #notified = new Map<ArrayBufferLike, Map<number, number>>();

  constructor(random: Random) {
    this.#random = random;
    this.#pace = 0.05 + 0.9 * random.uniform();
  }

  /** Milliseconds, monotonic; each look takes some. */
  now(): number {
    const isStalled = this.#random.below(LOOKS_A_STALL) === 0;
    this.#nowMs += isStalled ? STALL_MS : LOOK_MS * this.#random.uniform();
    return this.#nowMs;
  }

  add(actor: Actor): void {
    this.#actors.push(actor);
  }

  remove(actor: Actor): void {
    const at = this.#actors.indexOf(actor);
    if (at >= 0) this.#actors.splice(at, 1);
  }

  /** A moment at which anything may happen elsewhere: none, one or several steps. */
  pass(): void {
    if (this.#isInside) return;
    while (this.#actors.length > 0 && this.#random.uniform() < this.#pace) this.#step();
  }

  /** Runs `work` with the caller's looks at shared memory and at the clock in this world's hands, and something happening in every turn of the event loop. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    const restore = this.#hook();
    let isOver = false;
    const turn = () => {
      if (isOver) return;
      this.pass();
      setImmediate(turn);
    };
    setImmediate(turn);
    try {
      return await work();
    } finally {
      isOver = true;
      restore();
    }
  }

  /** @returns Whether an actor had something to do. */
  #step(): boolean {
    const first = this.#random.below(this.#actors.length);
    this.#isInside = true;
    this.#nowMs += STEP_MS * this.#random.uniform();
    try {
      // Of actors that have nothing to do, none hides the next one.
      const from = [...this.#actors.slice(first), ...this.#actors.slice(0, first)];
      return from.some((actor) => actor.step());
    } finally {
      this.#isInside = false;
    }
  }

  /** `Atomics.wait` of the caller: steps of others until one wakes it, or until its time is over. */
  #sleep(words: Int32Array, index: number, value: number, ms: number): "ok" | "not-equal" | "timed-out" {
    if (Atomics.load(words, index) !== value) return "not-equal";
    const before = this.#notifications(words, index);
    const endMs = this.#nowMs + ms;
    for (let steps = 0; this.#nowMs < endMs && steps < MOST_STEPS_A_SLEEP; steps++) {
      if (!this.#step()) break;
      if (this.#notifications(words, index) !== before) return "ok";
    }
    this.#nowMs = Math.max(this.#nowMs, Number.isFinite(endMs) ? endMs : this.#nowMs);
    return "timed-out";
  }

  #notifications(words: Int32Array, index: number): number {
    return this.#notified.get(words.buffer)?.get(words.byteOffset / 4 + index) ?? 0;
  }

  #notify(words: Int32Array, index: number): void {
    const ofBuffer = this.#notified.get(words.buffer) ?? new Map<number, number>();
    this.#notified.set(words.buffer, ofBuffer);
    ofBuffer.set(words.byteOffset / 4 + index, this.#notifications(words, index) + 1);
  }

  /** @returns What takes the hooks out again. */
  #hook(): () => void {
    const atomics = Atomics as unknown as Record<string, (...operands: never[]) => unknown>;
    const real = { ...pick(atomics, HOOKED) };
    for (const name of PASSING) {
      const op = real[name]!;
      atomics[name] = (...operands) => {
        this.pass();
        return op(...operands);
      };
    }
    const hooks = {
      wait: (words: Int32Array, index: number, value: number, ms = Number.POSITIVE_INFINITY) =>
        this.#sleep(words, index, value, ms),
      // Nobody really sleeps, so none is woken: whoever looks at the count must look at the world's.
      notify: (words: Int32Array, index: number) => {
        this.pass();
        this.#notify(words, index);
        return 0;
      },
    };
    Object.assign(atomics, hooks);
    const now = Object.getOwnPropertyDescriptor(performance, "now");
    Object.defineProperty(performance, "now", { configurable: true, value: () => this.now() });
    return () => {
      Object.assign(atomics, real);
      if (now) Object.defineProperty(performance, "now", now);
      else delete (performance as { now?: unknown }).now;
    };
  }
}

/** What lets others take steps before it is done. */
const PASSING = ["load", "store", "add", "sub", "compareExchange", "exchange"] as const;
const HOOKED = [...PASSING, "wait", "notify"] as const;

function pick<T>(from: Record<string, T>, names: readonly string[]): Record<string, T> {
  return Object.fromEntries(names.map((name) => [name, from[name]!]));
}
