/**
 * The calling thread's side: publishes an op, takes its share, waits until the last chunk is done.
 *
 * It waits without turning the event loop (a wait of microseconds), so it may not run on a page's main thread. Whether a
 * worker is dead cannot come as an event then: a worker that throws says so in the control block, and when nothing has been
 * finished for {@link SUSPECT_MS}, the platform is asked whether all are there (`lostThread`). Where it cannot tell, nothing
 * finished in {@link HOPELESS_MS} counts as death: chunks take milliseconds. Waiting is counted in time-outs of short sleeps and not by the
 * clock, so a machine that was suspended is no reason. A worker that died without a chunk in hand holds up nobody.
 *
 * After a failure every op throws the same error: what the op has written is undefined.
 */
import { assert, FlashwickError } from "@flashwick/core";
import type { WasmExports } from "../wasm-exports.js";
import {
  ARGUMENTS,
  CALLER_WAITS,
  CONTROL_BYTES,
  chunksLeft,
  DONE,
  FAILED,
  FAILURE_BYTES,
  LEFT_BITS,
  MESSAGES,
  MOST_CHUNKS,
  ORDER_ARENA,
  ORDER_BEGIN,
  ORDER_CHUNK,
  ORDER_CHUNKS,
  ORDER_END,
  ORDER_OP,
  ORDER_SCRATCH,
  ORDER_SCRATCH_STRIDE,
  runChunk,
  SLEEPERS,
  TICKET,
  takeChunk,
  viewControl,
} from "./control-block.js";
import type { SplitPlan } from "./split-plan.js";

const SLICE_MS = 50;
const SUSPECT_MS = 200;
const HOPELESS_MS = 10_000;
const TURNS_A_LOOK = 64;

/** An op over a range of its output. */
export interface Order {
  /** Its number in control-block.js. */
  readonly op: number;
  readonly arena: number;
  readonly begin: number;
  readonly end: number;
  /** Scratch of thread 0, and from one thread's to the next, bytes; 0 for none. */
  readonly scratch: number;
  readonly scratchStride: number;
  /** The export's other arguments. */
  readonly arguments: readonly number[];
}

export interface ForkJoinOptions {
  /** How long the caller looks for the end of an op before it sleeps. */
  readonly spinUs: number;
  /** A worker that is known to have ended, or 0; null if the platform cannot tell. Asked rarely. */
  readonly lostThread: () => number | null;
}

export class ForkJoin {
  readonly buffer = new SharedArrayBuffer(CONTROL_BYTES);
  readonly #control = viewControl(this.buffer);
  readonly #options: ForkJoinOptions;
  #failure: FlashwickError | null = null;

  constructor(options: ForkJoinOptions) {
    this.#options = options;
  }

  /** Runs every chunk of `plan`, `wasm` being the caller's instance. */
  run(wasm: WasmExports, order: Order, plan: SplitPlan): void {
    assert(plan.chunks >= 1 && plan.chunks <= MOST_CHUNKS, "a ticket counts the chunks of a plan");
    this.#throwIfFailed();
    this.#publish(order, plan);
    let own = 0;
    try {
      for (let left = this.#takeChunk(); left > 0; left = this.#takeChunk()) {
        own++;
        runChunk(this.#control.order, wasm, 0, left);
      }
    } catch (error) {
      // Nobody may still be writing when the caller hears of it.
      this.#join(plan.chunks - own - this.#cancel());
      throw error;
    }
    this.#join(plan.chunks - own);
  }

  /** Wakes all workers to a message that has just been posted to each of them. */
  announce(): void {
    Atomics.add(this.#control.words, MESSAGES, 1);
    this.#offer(0);
  }

  /** From now on every op throws `error`, or the one before it. */
  fail(error: FlashwickError): void {
    this.#failure ??= error;
  }

  #publish({ op, arena, begin, end, scratch, scratchStride, arguments: operands }: Order, plan: SplitPlan): void {
    const { words, order } = this.#control;
    order[ORDER_OP] = op;
    order[ORDER_ARENA] = arena;
    order[ORDER_BEGIN] = begin;
    order[ORDER_END] = end;
    order[ORDER_CHUNK] = plan.chunk;
    order[ORDER_CHUNKS] = plan.chunks;
    order[ORDER_SCRATCH] = scratch;
    order[ORDER_SCRATCH_STRIDE] = scratchStride;
    for (let i = 0; i < operands.length; i++) order[ARGUMENTS + i] = operands[i]!;
    Atomics.store(words, DONE, 0);
    this.#offer(plan.chunks);
  }

  /** The next op's ticket, with so many chunks. */
  #offer(chunks: number): void {
    const { words } = this.#control;
    const number = (Atomics.load(words, TICKET) >> LEFT_BITS) + 1;
    Atomics.store(words, TICKET, (number << LEFT_BITS) | chunks);
    if (Atomics.load(words, SLEEPERS) > 0) Atomics.notify(words, TICKET);
  }

  /** How many chunks were left with the one taken; 0: none. */
  #takeChunk(): number {
    const { words } = this.#control;
    for (;;) {
      const ticket = Atomics.load(words, TICKET);
      const left = chunksLeft(ticket);
      if (left === 0 || takeChunk(words, ticket)) return left;
    }
  }

  /** Takes back the chunks that nobody has taken; returns how many. */
  #cancel(): number {
    let cancelled = 0;
    while (this.#takeChunk() > 0) cancelled++;
    return cancelled;
  }

  /** Returns when workers have finished `chunks` chunks. */
  #join(chunks: number): void {
    const { words } = this.#control;
    const end = performance.now() + this.#options.spinUs / 1000;
    do {
      for (let turn = 0; turn < TURNS_A_LOOK; turn++) if (Atomics.load(words, DONE) === chunks) return;
    } while (performance.now() < end);
    Atomics.store(words, CALLER_WAITS, 1);
    try {
      this.#sleepUntilDone(chunks);
    } finally {
      Atomics.store(words, CALLER_WAITS, 0);
    }
  }

  #sleepUntilDone(chunks: number): void {
    const { words } = this.#control;
    let stalledMs = 0;
    for (let done = Atomics.load(words, DONE); done !== chunks; done = Atomics.load(words, DONE)) {
      this.#throwIfFailed();
      const outcome = Atomics.wait(words, DONE, done, SLICE_MS);
      stalledMs = outcome === "timed-out" ? stalledMs + SLICE_MS : 0;
      if (stalledMs >= SUSPECT_MS) this.#investigate(stalledMs);
    }
  }

  #investigate(stalledMs: number): void {
    const lost = this.#options.lostThread();
    if (lost) this.fail(threadFailed(`compute thread ${lost} ended in the middle of an op`, { thread: lost }));
    else if (lost === null && stalledMs >= HOPELESS_MS) {
      const seconds = HOPELESS_MS / 1000;
      this.fail(threadFailed(`no compute thread has finished a part of an op for ${seconds} s`, { stalledMs }));
    }
    this.#throwIfFailed();
  }

  #throwIfFailed(): void {
    const { words, text } = this.#control;
    const thread = Atomics.load(words, FAILED);
    if (this.#failure === null && thread !== 0) {
      const message = new TextDecoder().decode(text.slice(0, Atomics.load(words, FAILURE_BYTES)));
      this.#failure = threadFailed(`compute thread ${thread} failed: ${message}`, { thread, message });
    }
    if (this.#failure !== null) {
      this.#cancel();
      throw this.#failure;
    }
  }
}

/** `THREAD_FAILED`: what was computed last is lost, and so is the pool. */
export function threadFailed(what: string, details: Readonly<Record<string, unknown>>): FlashwickError {
  return new FlashwickError("THREAD_FAILED", `${what}; close the model (or the pool) and open it again`, { details });
}
