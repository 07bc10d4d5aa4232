/**
 * The reader for files larger than memory: threads that block in direct positional reads, so that many are in flight, while
 * the calling thread computes.
 *
 * Invariants:
 * - `start` and a `wait` that need not wait long touch no promise and no message: a shared table (reader-table.ts) carries reads.
 * - Whenever `wait` throws, no read is in flight.
 * - A wait that takes longer than {@link PATIENCE_MS} gives turns to the event loop: that is where aborts and the end of a thread
 *   are seen.
 */
import { setImmediate as turn } from "node:timers/promises";
import { DisposedError, InputError, IoError, truncatedError } from "@flashwick/core";
import type { FlashReader } from "../reader.js";
import type { FlashRun } from "../run-plan.js";
import { ReaderTable, type ReadFailure } from "../threads/reader-table.js";
import type { FlashFile } from "./flash-file.js";
import { type CreateWorker, ReaderThreads } from "./reader-threads.js";

export interface ThreadedReaderOptions {
  /**
   * One thread with the kernel's submission ring instead of a thread a read. Default: where Node offers it ({@link hasRing}) and reads
   * are direct.
   */
  readonly ring?: boolean;
  /** For tests: every read first sleeps a pseudo-random time up to this. Default 0. */
  readonly jitterUs?: number;
  /** For tests: how threads are made. */
  readonly createWorker?: CreateWorker;
  /** How often `start` asks whether the file is still the same. Default 500. */
  readonly checkMs?: number;
  /** Runs and pieces in flight, powers of two. Longer batches go in portions, from `wait`. */
  readonly runCapacity?: number;
  readonly pieceCapacity?: number;
}

/** More threads than this queue for the cores, not for the device. */
export const MAX_READERS = 256;
const RUN_CAPACITY = 32768;
const PIECE_CAPACITY = 65536;
/** So long `wait` blocks before it goes over to a promise. */
const PATIENCE_MS = 50;
/** Longest sleep between two turns of the event loop. */
const SLICE_MS = 10;
const CHECK_MS = 500;
/** Looks at the table before sleeping, a few us: a read that is nearly there is not worth a sleep. */
const SPINS = 64;

/** A reader over an open file, which it closes, with settled numbers; `openFlashReader` (flash-reader.ts) settles them. */
export class ThreadedReader implements FlashReader {
  readonly name: string;
  readonly mode: "direct" | "buffered";
  readonly fallback: string | null;
  readonly alignmentBytes: number;
  readonly needsSharedMemory = true;
  readonly leavesCores: boolean;

  readonly #file: FlashFile;
  readonly #table: ReaderTable;
  readonly #threads: ReaderThreads;
  readonly #checkMs: number;
  #readers: number;
  /** Runs of the batch in flight; 0: there is none. */
  #batchRuns = 0;
  #signal: AbortSignal | undefined;
  #checkedAt = performance.now();
  #closed: Promise<void> | null = null;

  constructor(
    file: FlashFile,
    readers: number,
    readonly mergeGapBytes: number,
    options: ThreadedReaderOptions = {},
  ) {
    this.name = file.path;
    this.mode = file.access.direct ? "direct" : "buffered";
    this.fallback = file.access.fallback;
    this.alignmentBytes = file.access.alignmentBytes;
    this.#file = file;
    this.#readers = readers;
    this.#checkMs = options.checkMs ?? CHECK_MS;
    const { runCapacity = RUN_CAPACITY, pieceCapacity = PIECE_CAPACITY, jitterUs = 0 } = options;
    this.#table = new ReaderTable({ runCapacity, pieceCapacity, threads: MAX_READERS });
    const { fd, alignmentBytes } = file.access;
    const { ring = hasRing() && file.access.direct } = options;
    this.leavesCores = ring;
    this.#threads = new ReaderThreads(this.#table, { fd, alignmentBytes, jitterUs, ring }, options.createWorker);
    this.#threads.grow(readers);
  }

  /** Of the file when it was opened. */
  get fileBytes(): number {
    return this.#file.sizeBytes;
  }

  get readers(): number {
    return this.#readers;
  }

  start(memory: Uint8Array, runs: readonly FlashRun[], signal?: AbortSignal): void {
    if (this.#closed) throw new DisposedError(this.name);
    signal?.throwIfAborted();
    if (this.#batchRuns > 0) {
      throw new InputError("INPUT_INVALID", `${this.name}: a batch is in flight; wait for all of it before the next`);
    }
    if (!(memory.buffer instanceof SharedArrayBuffer)) {
      throw new InputError("INPUT_INVALID", `${this.name}: reader threads need a view of shared WebAssembly memory`);
    }
    if (this.#threads.failure) throw this.#threadError(this.#threads.failure);
    this.#checkFileNowAndThen();
    if (runs.length === 0) return;
    this.#batchRuns = runs.length;
    this.#signal = signal;
    this.#table.begin(runs, this.#threads.indexOf(memory.buffer), memory.byteOffset);
  }

  wait(runCount = Number.POSITIVE_INFINITY): void | Promise<void> {
    if (this.#batchRuns === 0) return;
    const target = Math.min(runCount, this.#batchRuns);
    if (this.#signal?.aborted || this.#closed) return this.#waitInTurns(target);
    for (let i = 0; i < SPINS; i++) if (this.#hasLanded(target)) return;
    const patience = performance.now() + PATIENCE_MS;
    do {
      this.#table.sleep(target, SLICE_MS);
      if (this.#hasLanded(target)) return;
    } while (!this.#table.hasError() && performance.now() < patience);
    return this.#waitInTurns(target);
  }

  release(memory: Uint8Array): void {
    if (this.#batchRuns > 0)
      throw new InputError("INPUT_INVALID", `${this.name}: a batch is in flight; wait for it first`);
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

  /** More threads, up to `readers` in all; resolves when they are up. For measuring a device at several depths. */
  async grow(readers: number): Promise<void> {
    this.#readers = Math.max(this.#readers, readers);
    this.#threads.grow(this.#readers);
    const threads = this.#threads.countFor(this.#readers);
    while (this.#table.readyThreads < threads && this.#threads.failure === null) await turn();
    if (this.#threads.failure) throw this.#threadError(this.#threads.failure);
  }

  /** Lets only the first `readers` threads read, from the next batch on. For measuring, likewise. */
  limit(readers: number): void {
    this.#readers = readers;
    this.#threads.limit(readers);
  }

  #hasLanded(runCount: number): boolean {
    if (!this.#table.hasLanded(runCount)) return false;
    if (this.#table.landedRuns === this.#batchRuns) this.#forgetBatch();
    return true;
  }

  async #waitInTurns(target: number): Promise<void> {
    for (;;) {
      await turn();
      // Another wait, or close(), may have ended the batch meanwhile.
      if (this.#batchRuns === 0) return;
      if (this.#hasFailed()) {
        await this.#drain();
        const failure = this.#failure();
        this.#table.reset();
        this.#forgetBatch();
        throw failure;
      }
      if (this.#hasLanded(target)) return;
      this.#table.sleep(target, SLICE_MS);
    }
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
    const failure = this.#table.failure();
    try {
      this.#file.checkUnchanged();
    } catch (changed) {
      return changed;
    }
    return failure === null ? this.#threadError(new Error("no record was left")) : readError(this.name, failure);
  }

  #threadError(cause: Error): IoError {
    return new IoError("IO_READ", `${this.name}: a reader thread ended (${cause.message}); open the file again`, {
      cause,
    });
  }

  async #drain(): Promise<void> {
    this.#table.cancel();
    while (!this.#threads.isIdle()) await turn();
  }

  async #end(): Promise<void> {
    await this.#drain();
    await this.#threads.join();
    this.#file.close();
  }

  #forgetBatch(): void {
    this.#batchRuns = 0;
    this.#signal = undefined;
  }

  #checkFileNowAndThen(): void {
    const now = performance.now();
    if (now - this.#checkedAt < this.#checkMs) return;
    this.#file.checkUnchanged();
    this.#checkedAt = now;
  }
}

/**
 * Whether Node reads through io_uring here: where libuv does so when the process was started with UV_USE_IO_URING=1. Node 20 ships
 * such a libuv and leaves it off unless asked, since a process that gives up privileges keeps a ring's (CVE-2024-22017); later
 * ones want another flag, which Node does not set. To be looked at again when Node has a way to ask for it.
 */
export function hasRing(): boolean {
  const [major = 0, minor = 0] = (process.versions.uv ?? "").split(".").map(Number);
  const offers = process.platform === "linux" && major === 1 && minor >= 45 && minor <= 48;
  return offers && process.env.UV_USE_IO_URING === "1";
}

function readError(path: string, { kind, offset, sizeBytes, endsAt, text }: ReadFailure): Error {
  if (kind === "truncated") return truncatedError(path, offset, sizeBytes, endsAt);
  return new IoError("IO_READ", `${path} @ ${offset}: reading ${sizeBytes} bytes failed (${text}); check the device`, {
    details: { offset, sizeBytes },
  });
}
