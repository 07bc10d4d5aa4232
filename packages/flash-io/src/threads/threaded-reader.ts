/**
 * A reader over threads: batches, waiting, cancelling, failures, draining. Node's reader threads and a page's reader workers
 * are both this reader; what differs between them is a {@link ReaderPlatform}.
 *
 * Invariants:
 * - Whatever `wait` throws, no read is in flight any more.
 * - `close` ends within two seconds, whatever has become of the threads.
 */
import { DisposedError, eventLoopTurn, InputError, IoError, truncatedError } from "@flashwick/core";
import type { FlashReader } from "../reader.js";
import { checkRunIndices } from "../run-indices.js";
import type { FlashRun } from "../run-plan.js";
import { type AwaitedRuns, ReaderTable } from "./reader-table.js";
import { type LaunchThread, ReaderThreads } from "./reader-threads.js";
import type { TableSize } from "./table-layout.js";

/** What a platform adds: an open file, and threads that read it. */
export interface ReaderPlatform {
  /** Path or name of the file, for messages. */
  readonly name: string;
  readonly mode: "direct" | "buffered";
  readonly fallback: string | null;
  readonly alignmentBytes: number;
  readonly leavesCores: boolean;
  /** Of the file when it was opened. */
  readonly fileBytes: number;
  /** What to do when a read fails: the end of an error message. */
  readonly advice: string;
  /** Makes a thread that opens or shares the file, and serves the table (table-thread.js). */
  readonly launch: LaunchThread;
  /** How many threads keep `readers` reads in flight. */
  threadsFor(readers: number): number;
  /** The file that an offset of runs is in, and where there. Absent: `name`, and that offset. */
  placeOf?(offset: number): { readonly name: string; readonly offset: number };
  /** @throws {IntegrityError} `IO_FILE_CHANGED` if the file is no longer the one that was opened. */
  checkUnchanged(): void;
  closeFile(): void;
}

export interface ThreadedReaderSettings {
  /** Reads in flight. */
  readonly readers: number;
  readonly mergeGapBytes: number;
  readonly tableSize: TableSize;
  /** How often `start` asks whether the file is still the same, milliseconds. */
  readonly checkMs: number;
}

/** How long `wait` blocks before it goes over to a promise, so that the event loop gets its turns. */
const BLOCK_MS = 50;
/** Longest sleep between two turns of the event loop. */
const SLICE_MS = 10;
/** Looks at the table before sleeping, a few us: a read that is nearly there is not worth a sleep. */
const SPINS = 64;

/** A reader over threads, which a platform starts. */
export class ThreadedReader implements FlashReader {
  readonly name: string;
  readonly mode: "direct" | "buffered";
  readonly fallback: string | null;
  readonly alignmentBytes: number;
  readonly needsSharedMemory = true;
  readonly leavesCores: boolean;
  readonly mergeGapBytes: number;
  /** Of the file when it was opened. */
  readonly fileBytes: number;

  readonly #platform: ReaderPlatform;
  readonly #table: ReaderTable;
  readonly #threads: ReaderThreads;
  readonly #checkMs: number;
  #readers: number;
  /** Runs of the batch in flight; 0: there is none. */
  #batchRuns = 0;
  /** Runs of the last batch, in flight or not. */
  #lastBatchRuns = 0;
  #signal: AbortSignal | undefined;
  #checkedAt = performance.now();
  #closed: Promise<void> | null = null;

  constructor(platform: ReaderPlatform, settings: ThreadedReaderSettings) {
    this.name = platform.name;
    this.mode = platform.mode;
    this.fallback = platform.fallback;
    this.alignmentBytes = platform.alignmentBytes;
    this.leavesCores = platform.leavesCores;
    this.fileBytes = platform.fileBytes;
    this.mergeGapBytes = settings.mergeGapBytes;
    this.#platform = platform;
    this.#readers = settings.readers;
    this.#checkMs = settings.checkMs;
    this.#table = new ReaderTable(settings.tableSize);
    this.#threads = new ReaderThreads(this.#table, platform.launch);
    this.limit(settings.readers);
    this.#threads.grow(platform.threadsFor(settings.readers));
  }

  get readers(): number {
    return this.#readers;
  }

  start(memory: Uint8Array, runs: readonly FlashRun[], signal?: AbortSignal): void {
    if (this.#closed) throw new DisposedError(this.name);
    signal?.throwIfAborted();
    this.#refuseInFlight();
    const { buffer } = memory;
    if (!(buffer instanceof SharedArrayBuffer)) {
      throw new InputError("INPUT_INVALID", `${this.name}: reader threads need a view of shared WebAssembly memory`);
    }
    if (this.#threads.failure) throw this.#threadError(this.#threads.failure);
    this.#checkFileNowAndThen();
    this.#lastBatchRuns = runs.length;
    if (runs.length === 0) return;
    this.#batchRuns = runs.length;
    this.#signal = signal;
    this.#table.startBatch(runs, this.#threads.indexOf(buffer), memory.byteOffset);
  }

  wait(runCount = Number.POSITIVE_INFINITY): void | Promise<void> {
    return this.#await(Math.min(runCount, this.#batchRuns));
  }

  waitFor(runs: ArrayLike<number>): void | Promise<void> {
    checkRunIndices(this.name, runs, this.#lastBatchRuns);
    return this.#await(runs);
  }

  release(memory: Uint8Array): void {
    this.#refuseInFlight();
    if (memory.buffer instanceof SharedArrayBuffer) this.#threads.release(memory.buffer);
  }

  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  /** Runs of the batch that have landed by now, and all before them. */
  countLanded(): number {
    this.#table.hasLanded(0);
    return this.#table.landedRuns;
  }

  /**
   * Adds threads, up to `readers` reads in flight in all; resolves when they are ready. For measuring a device at several depths.
   *
   * @throws {IoError} `IO_READ` if a thread cannot start.
   */
  async grow(readers: number): Promise<void> {
    this.#readers = Math.max(this.#readers, readers);
    const threads = this.#platform.threadsFor(this.#readers);
    this.limit(this.#readers);
    this.#threads.grow(threads);
    await this.#threads.whenReady(threads);
    if (this.#threads.failure) throw this.#threadError(this.#threads.failure);
  }

  /**
   * Lets at most `readers` reads be in flight from the next batch on; there are threads for them already. 0: reads that have not begun are
   * held back. For measuring and for tests.
   */
  limit(readers: number): void {
    this.#readers = readers;
    this.#table.activate(this.#platform.threadsFor(readers), readers);
  }

  #await(awaited: AwaitedRuns): void | Promise<void> {
    if (this.#batchRuns === 0) return;
    if (this.#signal?.aborted || this.#closed) return this.#awaitInTurns(awaited);
    for (let i = 0; i < SPINS; i++) if (this.#hasLanded(awaited)) return;
    const end = performance.now() + BLOCK_MS;
    do {
      this.#table.sleep(awaited, SLICE_MS);
      if (this.#hasLanded(awaited)) return;
    } while (!this.#table.hasError() && performance.now() < end);
    return this.#awaitInTurns(awaited);
  }

  async #awaitInTurns(awaited: AwaitedRuns): Promise<void> {
    for (;;) {
      await eventLoopTurn();
      // Another wait, or close(), may have ended the batch meanwhile.
      if (this.#batchRuns === 0) return;
      if (this.#hasFailed()) {
        await this.#drain();
        const failure = this.#failure();
        this.#table.reset();
        this.#forgetBatch();
        throw failure;
      }
      if (this.#hasLanded(awaited)) return;
      this.#table.sleep(awaited, SLICE_MS);
    }
  }

  #hasLanded(awaited: AwaitedRuns): boolean {
    if (!this.#table.hasLanded(awaited)) return false;
    if (this.#table.landedRuns === this.#batchRuns) this.#forgetBatch();
    return true;
  }

  #hasFailed(): boolean {
    return (
      this.#table.hasError() ||
      this.#threads.failure !== null ||
      this.#closed !== null ||
      this.#signal?.aborted === true
    );
  }

  /** What to throw; the reason that the caller gave comes first. No read is in flight. */
  #failure(): unknown {
    if (this.#signal?.aborted) return this.#signal.reason;
    if (this.#closed) return new DisposedError(this.name);
    if (this.#threads.failure) return this.#threadError(this.#threads.failure);
    try {
      this.#platform.checkUnchanged();
    } catch (changed) {
      return changed;
    }
    return this.#readError();
  }

  #readError(): Error {
    const failure = this.#table.failure();
    if (failure === null) return this.#threadError(new Error("left no record of why"));
    const { kind, sizeBytes, endsAt, text } = failure;
    const { name, offset } = this.#platform.placeOf?.(failure.offset) ?? { name: this.name, offset: failure.offset };
    if (kind === "truncated") return truncatedError(name, offset, sizeBytes, endsAt);
    const message = `${name} @ ${offset}: reading ${sizeBytes} bytes failed (${text}); ${this.#platform.advice}`;
    return new IoError("IO_READ", message, { details: { offset, sizeBytes } });
  }

  #threadError(cause: Error): IoError {
    const message = `${this.name}: a reader thread ended (${cause.message}); open the file again`;
    return new IoError("IO_READ", message, { cause });
  }

  /** Cancels what no thread has taken, and returns when no read is in flight. */
  async #drain(): Promise<void> {
    this.#table.cancel();
    while (!this.#threads.isIdle()) await eventLoopTurn();
  }

  async #end(): Promise<void> {
    await this.#threads.end();
    this.#platform.closeFile();
  }

  #forgetBatch(): void {
    this.#batchRuns = 0;
    this.#signal = undefined;
  }

  #refuseInFlight(): void {
    if (this.#batchRuns === 0) return;
    throw new InputError("INPUT_INVALID", `${this.name}: a batch is in flight; wait for all of it first`);
  }

  #checkFileNowAndThen(): void {
    const now = performance.now();
    if (now - this.#checkedAt < this.#checkMs) return;
    this.#platform.checkUnchanged();
    this.#checkedAt = now;
  }
}
