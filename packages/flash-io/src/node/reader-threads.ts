/**
 * The threads behind a reader: starting them, telling them about memories, noticing when one ends, ending them.
 *
 * Nothing here is on the path of a read: that is the table's (reader-table.ts).
 */
import { Worker } from "node:worker_threads";
import type { ReaderTable, TableLayout } from "../threads/reader-table.js";

/** `workerData` of flash-reader-worker.js. */
export interface ThreadSetup {
  readonly table: TableLayout;
  /** Of the process; every thread reads the inode that was opened once. */
  readonly fd: number;
  /** Which thread it is, from 0. */
  readonly thread: number;
  readonly alignmentBytes: number;
  readonly jitterUs: number;
  /** It keeps many reads in flight through the kernel's ring; else it blocks in one after another. */
  readonly ring: boolean;
}

/** What threads are told about memory `index`: its bytes, or null when they must let go of it. */
export interface MemoryMessage {
  readonly index: number;
  readonly buffer: SharedArrayBuffer | null;
}

/** Makes one thread. Replaced by tests, to end a thread behind the reader's back. */
export type CreateWorker = (setup: ThreadSetup) => Worker;

/** A thread that does not end by itself within this is terminated; one that does not end then is left to the system. */
const JOIN_MS = 1000;

/** Node runs this file as it stands: beside the sources as beside the bundle. */
export function createReaderWorker(setup: ThreadSetup): Worker {
  return new Worker(new URL("./flash-reader-worker.js", import.meta.url), {
    name: `flash reader ${setup.thread}`,
    workerData: setup,
    env: {},
    execArgv: [],
    trackUnmanagedFds: false,
    // A thread holds next to nothing: small spaces keep its resident set small.
    resourceLimits: { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 1, stackSizeMb: 1 },
  });
}

export class ReaderThreads {
  /** Set when a thread has ended that was not told to. */
  failure: Error | null = null;

  readonly #workers: Worker[] = [];
  /** Threads that run, by number. */
  readonly #running = new Set<number>();
  /** Index of each memory that the threads know. */
  readonly #memories = new Map<SharedArrayBuffer, number>();
  readonly #freeIndices: number[] = [];
  #stopping = false;

  constructor(
    private readonly table: ReaderTable,
    private readonly setup: Omit<ThreadSetup, "table" | "thread">,
    private readonly createWorker: CreateWorker = createReaderWorker,
  ) {}

  /** Threads for `readers` reads in flight: as many, or one with a ring. */
  countFor(readers: number): number {
    return this.setup.ring ? 1 : readers;
  }

  /** From now on `readers` reads are in flight at most; there are threads for them already. */
  limit(readers: number): void {
    this.table.setDepth(readers);
    this.table.activate(this.countFor(readers));
  }

  /** Starts threads until there are enough. Returns before they are up; they begin to read when they are. */
  grow(readers: number): void {
    const count = this.countFor(readers);
    this.limit(readers);
    for (let thread = this.#workers.length; thread < count; thread++) {
      const worker = this.createWorker({ ...this.setup, table: this.table.layout, thread });
      this.#workers.push(worker);
      this.#running.add(thread);
      worker.on("error", (error) => {
        this.failure ??= error;
      });
      worker.on("exit", (code) => {
        this.#running.delete(thread);
        if (!this.#stopping) this.failure ??= new Error(`a reader thread ended with status ${code}`);
      });
      for (const [buffer, index] of this.#memories) worker.postMessage({ index, buffer } satisfies MemoryMessage);
      // A program that forgets to close a reader ends all the same: its threads sleep, or end with their read.
      worker.unref();
    }
    if (this.#memories.size > 0) this.table.announceMessage();
  }

  /** The index under which the threads know `buffer`; the first time they are told. */
  indexOf(buffer: SharedArrayBuffer): number {
    const known = this.#memories.get(buffer);
    if (known !== undefined) return known;
    const index = this.#freeIndices.pop() ?? this.#memories.size;
    this.#memories.set(buffer, index);
    this.#tell({ index, buffer });
    return index;
  }

  /** Makes the threads let go of `buffer`. They do so soon, not at once. */
  release(buffer: SharedArrayBuffer): void {
    const index = this.#memories.get(buffer);
    if (index === undefined) return;
    this.#memories.delete(buffer);
    this.#freeIndices.push(index);
    this.#tell({ index, buffer: null });
    this.table.ring();
  }

  /** Whether no read is in flight; meaningful after `table.cancel()`. */
  isIdle(): boolean {
    for (const thread of this.#running) if (!this.table.isIdle(thread)) return false;
    return true;
  }

  /** Ends all threads. Resolves when they have ended, or after 2 s if a device holds one for ever. */
  async join(): Promise<void> {
    this.#stopping = true;
    const ending = [...this.#running].map((thread) => this.#workers[thread]!);
    const ended = Promise.all(ending.map((worker) => new Promise((resolve) => worker.once("exit", resolve))));
    this.table.stop();
    if (await within(ended, JOIN_MS)) return;
    for (const worker of ending) void worker.terminate();
    await within(ended, JOIN_MS);
  }

  #tell(message: MemoryMessage): void {
    for (const thread of this.#running) this.#workers[thread]!.postMessage(message);
    this.table.announceMessage();
  }
}

/** Whether `done` resolves within `ms`. */
async function within(done: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, ms, false);
  });
  try {
    return await Promise.race([done.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}
