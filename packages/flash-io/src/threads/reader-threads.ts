/**
 * The threads behind a reader: starting them, telling them about memories, noticing when one ends, ending them.
 *
 * Nothing here is on the path of a read: that is the table's (reader-table.ts). How a thread is made is the platform's.
 */
import type { ReaderTable } from "./reader-table.js";
import type { TableLayout } from "./table-layout.js";

/** What a thread is given when it is made. */
export interface ThreadSetup {
  readonly table: TableLayout;
  /** Which thread it is, from 0. */
  readonly thread: number;
  /** How many messages have been announced that will not come to it. */
  readonly received: number;
}

/** What threads are told about memory `index`: its bytes, or null when they must let go of it. */
export interface MemoryMessage {
  readonly index: number;
  readonly buffer: SharedArrayBuffer | null;
}

/** How a platform reports what becomes of a thread. */
export interface ThreadEvents {
  /** Its file is open, and it takes entries. */
  ready(): void;
  /** It cannot go on; `ended` follows. */
  failed(error: Error): void;
  /** It reads no more. `how` completes the sentence "a reader thread …" in case nobody told it to end. */
  ended(how: string): void;
}

/** A thread, as its platform has it. */
export interface ReaderThread {
  post(message: MemoryMessage): void;
  /** Ends it, whatever it is doing; {@link ThreadEvents.ended} follows if the platform can end it. */
  terminate(): void;
}

export type LaunchThread = (setup: ThreadSetup, events: ThreadEvents) => ReaderThread;

/** A thread that does not end by itself within this is terminated; one that does not end then either is left to the system. */
const END_MS = 1000;

export class ReaderThreads {
  /** Set when a thread has failed, or has ended without being told to. */
  failure: Error | null = null;

  readonly #threads: ReaderThread[] = [];
  /** Numbers of the threads that have not ended. */
  readonly #running = new Set<number>();
  #readyCount = 0;
  /** Index of each memory that the threads know. */
  readonly #memories = new Map<SharedArrayBuffer, number>();
  readonly #freeIndices: number[] = [];
  #stopping = false;
  /** Called at every event of a thread. */
  #onEvent = new Set<() => void>();

  constructor(
    private readonly table: ReaderTable,
    private readonly launch: LaunchThread,
  ) {}

  /** Starts threads until there are `count`. Returns before they are ready; they read as soon as they are. */
  grow(count: number): void {
    for (let thread = this.#threads.length; thread < count; thread++) {
      this.#running.add(thread);
      const setup = { table: this.table.layout, thread, received: this.table.messages - this.#memories.size };
      const started = this.launch(setup, this.#eventsOf(thread));
      this.#threads.push(started);
      for (const [buffer, index] of this.#memories) started.post({ index, buffer });
    }
  }

  /** Resolves when the first `count` threads are ready, or one has failed: then {@link failure} says why. */
  async whenReady(count: number): Promise<void> {
    await this.#until(() => this.#readyCount >= count || this.failure !== null);
  }

  /** The index under which the threads know `buffer`; the first time they are told. */
  indexOf(buffer: SharedArrayBuffer): number {
    const known = this.#memories.get(buffer);
    if (known !== undefined) return known;
    const index = this.#freeIndices.pop() ?? this.#memories.size;
    this.#memories.set(buffer, index);
    this.#post({ index, buffer });
    return index;
  }

  /** Makes the threads let go of `buffer`. They do so soon, not at once. */
  release(buffer: SharedArrayBuffer): void {
    const index = this.#memories.get(buffer);
    if (index === undefined) return;
    this.#memories.delete(buffer);
    this.#freeIndices.push(index);
    this.#post({ index, buffer: null });
  }

  /** Whether no read is in flight; meaningful after `table.cancel()`. */
  isIdle(): boolean {
    for (const thread of this.#running) if (!this.table.isIdle(thread)) return false;
    return true;
  }

  /**
   * Cancels what no thread has taken and ends all threads, each after the read it is in. Resolves when they have ended; after at most
   * 2 s, even if a thread hangs, has died unnoticed, or waits for a device that never answers.
   */
  async end(): Promise<void> {
    this.#stopping = true;
    this.table.cancel();
    this.table.stop();
    if (await this.#endWithin(END_MS)) return;
    for (const thread of this.#running) this.#threads[thread]!.terminate();
    await this.#endWithin(END_MS);
    this.#running.clear();
  }

  async #endWithin(ms: number): Promise<boolean> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.#wake();
    }, ms);
    await this.#until(() => this.#running.size === 0 || late);
    clearTimeout(timer);
    return this.#running.size === 0;
  }

  #eventsOf(thread: number): ThreadEvents {
    return {
      ready: () => {
        this.#readyCount++;
        this.#wake();
      },
      failed: (error) => {
        this.failure ??= error;
        this.#wake();
      },
      ended: (how) => {
        this.#running.delete(thread);
        if (!this.#stopping) this.failure ??= new Error(how);
        this.#wake();
      },
    };
  }

  /** Resolves at the first event after which `condition` holds. */
  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      await new Promise<void>((resolve) => {
        const woken = () => {
          this.#onEvent.delete(woken);
          resolve();
        };
        this.#onEvent.add(woken);
      });
    }
  }

  #wake(): void {
    for (const woken of [...this.#onEvent]) woken();
  }

  #post(message: MemoryMessage): void {
    // In this order: a thread that finds more announced than it has received waits for the message, never the other way round.
    this.table.announceMessage();
    for (const thread of this.#running) this.#threads[thread]!.post(message);
    this.table.ringDoorbell();
  }
}
