/**
 * Readers whose reads land when the seed says so, over bytes in memory.
 *
 * Two kinds: {@link threadedReader} is the product's own reader over threads (table, waiting, draining) with threads that take, read and complete in separate steps;
 * {@link hoppingReader} answers with promises, as readers of the web do. Both leave rubbish where a read will land, so that whoever computes with bytes
 * that are not there yet computes something else.
 */
import { DisposedError, eventLoopTurn, type Random } from "@flashwick/core";
import type { FlashReader, FlashRun } from "@flashwick/flash-io";
import { memoryReader } from "@flashwick/flash-io";
import { checkRunIndices } from "../../../../packages/flash-io/src/run-indices.js";
import type {
  MemoryMessage,
  ReaderThread,
  ThreadEvents,
  ThreadSetup,
} from "../../../../packages/flash-io/src/threads/reader-threads.js";
import { TableThread } from "../../../../packages/flash-io/src/threads/table-thread.js";
import { ThreadedReader } from "../../../../packages/flash-io/src/threads/threaded-reader.js";
import type { Actor, SimulatedWorld } from "./simulated-world.js";

/** A quiet NaN in f32 and f16, and -1 in bytes. */
const RUBBISH = 0xff;
/** Small enough that batches are longer than the table. */
const TABLE_ENTRIES = 16;
const TABLE_PIECES = 64;

export interface SimulatedReaderOptions {
  readonly readers: number;
  readonly mergeGapBytes: number;
  readonly leavesCores: boolean;
}

/** The product's reader over threads of the world. */
export function threadedReader(
  world: SimulatedWorld,
  bytes: Uint8Array,
  { readers, mergeGapBytes, leavesCores }: SimulatedReaderOptions,
): FlashReader {
  return new ThreadedReader(
    {
      name: "simulated.gguf",
      mode: "buffered",
      fallback: null,
      alignmentBytes: 1,
      leavesCores,
      fileBytes: bytes.byteLength,
      advice: "run the seed again",
      launch(setup, events) {
        const thread = new SimulatedReaderThread(world, bytes, setup, events);
        world.add(thread);
        events.ready();
        return thread;
      },
      threadsFor: (count) => count,
      checkUnchanged() {},
      closeFile() {},
    },
    {
      readers,
      mergeGapBytes,
      tableSize: { runCapacity: TABLE_ENTRIES, pieceCapacity: TABLE_PIECES, threads: readers },
      checkMs: Number.POSITIVE_INFINITY,
    },
  );
}

class SimulatedReaderThread implements ReaderThread, Actor {
  readonly #world: SimulatedWorld;
  readonly #bytes: Uint8Array;
  readonly #table: TableThread;
  readonly #events: ThreadEvents;
  readonly #posted: MemoryMessage[] = [];
  /** The entry in hand; -1: none. */
  #place = -1;
  /** How many of its pieces have landed; -1: there is rubbish in none of them yet. */
  #landed = -1;

  constructor(world: SimulatedWorld, bytes: Uint8Array, setup: ThreadSetup, events: ThreadEvents) {
    this.#world = world;
    this.#bytes = bytes;
    this.#table = new TableThread(setup.table, setup.thread, setup.received);
    this.#events = events;
  }

  post(message: MemoryMessage): void {
    this.#posted.push(message);
  }

  terminate(): void {
    this.#end("was terminated");
  }

  step(): boolean {
    const table = this.#table;
    if (this.#place >= 0 && !table.hasMessage()) return this.#read();
    if (Atomics.load(table.words, table.layout.words.stopping) !== 0 && this.#place < 0) return this.#end("ended");
    if (table.hasMessage()) {
      const message = this.#posted.shift();
      if (message) table.receive(message);
      return message !== undefined;
    }
    table.setBusy(true);
    this.#place = table.takeEntry();
    this.#landed = -1;
    if (this.#place < 0) table.setBusy(false);
    return this.#place >= 0;
  }

  /** One piece of the entry in hand; after the last, the entry is complete. */
  #read(): boolean {
    const { offset, firstPiece, pieceCount, piecePtr, pieceBytes, pieceMask } = this.#table;
    const count = pieceCount[this.#place]!;
    const piece = (i: number) => (firstPiece[this.#place]! + i) & pieceMask;
    const memory = this.#table.memoryOf(this.#place);
    if (this.#landed < 0) {
      for (let i = 0; i < count; i++) {
        const ptr = piecePtr[piece(i)]!;
        memory.fill(RUBBISH, ptr, ptr + pieceBytes[piece(i)]!);
      }
      this.#landed = 0;
    } else if (this.#landed < count) {
      let from = offset[this.#place]!;
      for (let i = 0; i < this.#landed; i++) from += pieceBytes[piece(i)]!;
      const at = piece(this.#landed++);
      memory.set(this.#bytes.subarray(from, from + pieceBytes[at]!), piecePtr[at]!);
    } else {
      this.#table.complete(this.#place);
      this.#place = -1;
      this.#table.setBusy(false);
    }
    return true;
  }

  #end(how: string): boolean {
    this.#world.remove(this);
    this.#events.ended(how);
    return true;
  }
}

/** What flies: a run, and where it goes. */
interface Flying {
  readonly memory: Uint8Array;
  readonly run: FlashRun;
  readonly index: number;
}

/** A reader whose waits are promises of several hops, unless what they wait for happens to have landed. */
export function hoppingReader(
  world: SimulatedWorld,
  random: Random,
  bytes: Uint8Array,
  { readers, mergeGapBytes, leavesCores }: SimulatedReaderOptions,
): FlashReader {
  const plain = memoryReader(bytes, "simulated.gguf");
  const name = plain.name;
  let flying: Flying[] = [];
  let landed: boolean[] = [];
  let signal: AbortSignal | undefined;
  let isClosed = false;
  const actor: Actor = {
    step() {
      if (flying.length === 0) return false;
      // Any of those that so many readers would have begun.
      const [next] = flying.splice(random.below(Math.min(flying.length, readers)), 1);
      plain.start(next!.memory, [next!.run]);
      landed[next!.index] = true;
      return true;
    },
  };
  world.add(actor);
  const cancel = (reason: unknown) => {
    flying = [];
    landed = [];
    throw reason;
  };
  const hop = () => (random.below(2) === 0 ? Promise.resolve() : eventLoopTurn());
  const until = async (isThere: () => boolean): Promise<void> => {
    for (;;) {
      await hop();
      if (landed.length === 0) return;
      if (signal?.aborted) cancel(signal.reason);
      if (isClosed) cancel(new DisposedError(name));
      if (isThere()) return;
      world.pass();
    }
  };
  const whenThere = (isThere: () => boolean): void | Promise<void> => {
    world.pass();
    const isKnown = !signal?.aborted && !isClosed && isThere();
    if (isKnown && random.below(4) > 0) return;
    return until(isThere);
  };
  return {
    ...plain,
    readers,
    mergeGapBytes,
    leavesCores,
    start(memory, runs, ends) {
      if (isClosed) throw new DisposedError(name);
      ends?.throwIfAborted();
      if (flying.length > 0) throw new Error(`${name}: a batch is in flight`);
      for (const { pieces } of runs)
        for (const { ptr, sizeBytes } of pieces) memory.fill(RUBBISH, ptr, ptr + sizeBytes);
      signal = ends;
      landed = runs.map(() => false);
      flying = runs.map((run, index) => ({ memory, run, index }));
      world.pass();
    },
    wait(runCount = Number.POSITIVE_INFINITY) {
      return whenThere(() => landed.every((isThere, i) => isThere || i >= runCount));
    },
    waitFor(runs) {
      checkRunIndices(name, runs, landed.length);
      const wanted = Array.from(runs);
      return whenThere(() => wanted.every((run) => landed[run]));
    },
    release() {
      if (flying.length > 0) throw new Error(`${name}: a batch is in flight`);
    },
    async close() {
      isClosed = true;
      flying = [];
      world.remove(actor);
      await hop();
    },
  };
}
