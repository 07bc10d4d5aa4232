/**
 * Reads of a model file in the origin private file system, by the worker that computes.
 *
 * With shared memory (a page that is cross-origin isolated): workers of their own, each with a read-only handle, read straight into the arena while
 * the caller computes; a shared table carries the reads (../threads/reader-table.ts), no message does. Without: the caller reads.
 *
 * Invariants: whenever `wait` throws, no read is in flight; handles are read-only, so that several tabs run one model.
 */
import { DisposedError, InputError, IoError, truncatedError, UnsupportedError } from "@flashwick/core";
import type { FlashReader } from "../reader.js";
import type { FlashRun } from "../run-plan.js";
import { ReaderTable, type ReadFailure } from "../threads/reader-table.js";
import type { StoredFileHandle, SyncHandle } from "./sync-handle.js";

export interface OpfsReaderOptions {
  /**
   * Workers that read; 0: the caller. Default: 8 where memory can be shared and the file is 64 MiB or more; else 0, since a read of what lies in
   * memory anyway takes less than waking a worker.
   */
  readonly readers?: number;
  /** Unneeded bytes between two runs that are rather read than skipped. Default 16 KiB. */
  readonly mergeGapBytes?: number;
  /** How workers are made, where a bundler needs to know. Default: opfs-reader-worker.js beside this module. */
  readonly createWorker?: () => Worker;
}

const DEFAULT_READERS = 8;
const SMALL_FILE_BYTES = 64 * 2 ** 20;
const MOST_READERS = 64;
/** What a page's private file system costs an operation, about 15 us, at some 2 GB/s. */
const DEFAULT_GAP_BYTES = 16384;
const RUN_CAPACITY = 16384;
const PIECE_CAPACITY = 32768;
/** So long `wait` blocks at once: then the event loop has a turn, in which an abort or a worker's end is heard. */
const PATIENCE_MS = 50;
const SLICE_MS = 10;

/**
 * @param file A file of the private file system. In a dedicated worker only: pages have no synchronous handles.
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` outside a worker. {IoError} `IO_READ` where a handle cannot be had.
 */
export async function openOpfsReader(
  file: FileSystemFileHandle,
  { readers: wanted, mergeGapBytes = DEFAULT_GAP_BYTES, createWorker }: OpfsReaderOptions = {},
): Promise<FlashReader & { readonly fileBytes: number }> {
  const handle = await openHandle(file as StoredFileHandle);
  const suits = canShareMemory() && handle.getSize() >= SMALL_FILE_BYTES ? DEFAULT_READERS : 0;
  const readers = wanted ?? suits;
  if (!(Number.isInteger(readers) && readers >= 0 && readers <= MOST_READERS)) {
    handle.close();
    throw new InputError("INPUT_INVALID", `readers is ${readers}, expected an integer from 0 to ${MOST_READERS}`);
  }
  if (readers === 0) return new CallingReader(file.name, handle, mergeGapBytes);
  if (!canShareMemory()) {
    handle.close();
    throw new UnsupportedError(
      "UNSUPPORTED_FEATURE",
      `${readers} reader workers need shared memory, and this page is not cross-origin isolated; send the headers ` +
        "Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp, or read with 0 readers",
    );
  }
  const workers = new ReaderWorkers(file, readers, createWorker ?? defaultWorker);
  try {
    await workers.ready;
  } catch (error) {
    handle.close();
    await workers.join();
    throw error;
  }
  return new WorkersReader(file.name, handle, workers, readers, mergeGapBytes);
}

/** Whether this page may share memory between workers. */
export function canShareMemory(): boolean {
  return typeof SharedArrayBuffer === "function" && globalThis.crossOriginIsolated === true;
}

function defaultWorker(): Worker {
  return new Worker(new URL("./opfs-reader-worker.js", import.meta.url), { type: "module", name: "flash reader" });
}

/** A read-only handle. Browsers that know no modes give an exclusive one: then one tab at a time. */
export async function openHandle(file: StoredFileHandle): Promise<SyncHandle> {
  if (typeof file.createSyncAccessHandle !== "function") {
    throw new UnsupportedError(
      "UNSUPPORTED_FEATURE",
      "the private file system has synchronous handles in dedicated workers only; open the model in a worker",
    );
  }
  try {
    return await file.createSyncAccessHandle({ mode: "read-only" });
  } catch (cause) {
    const held = (cause as Error).name === "NoModificationAllowedError";
    const why = held ? "another tab, or an import, holds it; close that one" : (cause as Error).message;
    throw new IoError("IO_READ", `${file.name}: the file cannot be opened (${why})`, {
      cause,
      details: { file: file.name },
    });
  }
}

/** Reads when asked, on the calling worker. */
class CallingReader implements FlashReader {
  readonly mode = "buffered";
  readonly fallback = canShareMemory() ? null : "this page is not cross-origin isolated, so memory cannot be shared";
  readonly alignmentBytes = 1;
  readonly readers = 0;
  readonly leavesCores = false;
  readonly needsSharedMemory = false;
  readonly fileBytes: number;
  #closed = false;

  constructor(
    readonly name: string,
    private readonly handle: SyncHandle,
    readonly mergeGapBytes: number,
  ) {
    this.fileBytes = handle.getSize();
  }

  start(memory: Uint8Array, runs: readonly FlashRun[], signal?: AbortSignal): void {
    if (this.#closed) throw new DisposedError(this.name);
    for (const { offset, sizeBytes, pieces } of runs) {
      signal?.throwIfAborted();
      let at = offset;
      for (const piece of pieces) {
        const got = this.handle.read(memory.subarray(piece.ptr, piece.ptr + piece.sizeBytes), { at });
        if (got < piece.sizeBytes) throw truncatedError(this.name, offset, sizeBytes, at + got);
        at += got;
      }
    }
  }

  wait(): void {}

  release(): void {}

  async close(): Promise<void> {
    if (!this.#closed) this.handle.close();
    this.#closed = true;
  }
}

/** The workers, and what they have been told. */
class ReaderWorkers {
  readonly table: ReaderTable;
  /** Resolves when all have their handles. */
  readonly ready: Promise<void>;
  failure: Error | null = null;
  readonly #workers: Worker[];
  readonly #memories = new Map<SharedArrayBuffer, number>();
  readonly #freeIndices: number[] = [];
  readonly #ended: Promise<unknown>;

  constructor(file: FileSystemFileHandle, count: number, createWorker: () => Worker) {
    this.table = new ReaderTable({ runCapacity: RUN_CAPACITY, pieceCapacity: PIECE_CAPACITY, threads: count });
    this.table.activate(count);
    this.#workers = Array.from({ length: count }, createWorker);
    const up = this.#workers.map((worker, thread) => this.#hear(worker, thread));
    this.ready = Promise.all(up.map(({ ready }) => ready)).then(() => {});
    this.#ended = Promise.all(up.map(({ ended }) => ended));
    for (const [thread, worker] of this.#workers.entries())
      worker.postMessage({ table: this.table.layout, thread, file });
  }

  get count(): number {
    return this.#workers.length;
  }

  /** The index under which the workers know `buffer`; the first time they are told. */
  indexOf(buffer: SharedArrayBuffer): number {
    const known = this.#memories.get(buffer);
    if (known !== undefined) return known;
    const index = this.#freeIndices.pop() ?? this.#memories.size;
    this.#memories.set(buffer, index);
    this.#tell(index, buffer);
    return index;
  }

  release(buffer: SharedArrayBuffer): void {
    const index = this.#memories.get(buffer);
    if (index === undefined) return;
    this.#memories.delete(buffer);
    this.#freeIndices.push(index);
    this.#tell(index, null);
  }

  isIdle(): boolean {
    return this.#workers.every((_, thread) => this.table.isIdle(thread));
  }

  /** Ends them; those that do not end within a second are terminated. */
  async join(): Promise<void> {
    this.table.stop();
    await Promise.race([this.#ended, new Promise((resolve) => setTimeout(resolve, 1000))]);
    for (const worker of this.#workers) worker.terminate();
  }

  #tell(index: number, buffer: SharedArrayBuffer | null): void {
    // In this order: a worker that finds the count ahead of what it has taken waits for the message, never the other way round.
    this.table.announceMessage();
    for (const worker of this.#workers) worker.postMessage({ index, buffer });
    this.table.ring();
  }

  #hear(worker: Worker, thread: number): { readonly ready: Promise<void>; readonly ended: Promise<void> } {
    let end = () => {};
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    const ready = new Promise<void>((resolve, reject) => {
      const fail = (message: string) => {
        const error = new IoError("IO_READ", `reader worker ${thread}: ${message}; open the model again`);
        this.failure ??= error;
        reject(error);
      };
      worker.onerror = (event) => fail(event.message || "its script could not be loaded");
      worker.onmessage = ({ data }) => {
        if ("ready" in data) resolve();
        else if ("failed" in data) fail(data.failed);
        else if ("ended" in data) end();
      };
    });
    return { ready, ended };
  }
}

class WorkersReader implements FlashReader {
  readonly mode = "buffered";
  readonly fallback = null;
  readonly alignmentBytes = 1;
  readonly leavesCores = false;
  readonly needsSharedMemory = true;
  readonly fileBytes: number;
  #batchRuns = 0;
  #signal: AbortSignal | undefined;
  #closed: Promise<void> | null = null;

  constructor(
    readonly name: string,
    private readonly handle: SyncHandle,
    private readonly workers: ReaderWorkers,
    readonly readers: number,
    readonly mergeGapBytes: number,
  ) {
    this.fileBytes = handle.getSize();
  }

  start(memory: Uint8Array, runs: readonly FlashRun[], signal?: AbortSignal): void {
    if (this.#closed) throw new DisposedError(this.name);
    signal?.throwIfAborted();
    if (this.#batchRuns > 0) {
      throw new InputError("INPUT_INVALID", `${this.name}: a batch is in flight; wait for all of it before the next`);
    }
    const { buffer } = memory;
    if (!(buffer instanceof SharedArrayBuffer)) {
      throw new InputError("INPUT_INVALID", `${this.name}: reader workers need a view of shared WebAssembly memory`);
    }
    if (this.workers.failure) throw this.workers.failure;
    if (runs.length === 0) return;
    this.#batchRuns = runs.length;
    this.#signal = signal;
    this.workers.table.begin(runs, this.workers.indexOf(buffer), memory.byteOffset);
  }

  wait(runCount = Number.POSITIVE_INFINITY): void | Promise<void> {
    if (this.#batchRuns === 0) return;
    const target = Math.min(runCount, this.#batchRuns);
    if (this.#signal?.aborted || this.#closed) return this.#waitInTurns(target);
    const patience = performance.now() + PATIENCE_MS;
    while (!this.#hasLanded(target)) {
      if (this.#hasFailed() || performance.now() > patience) return this.#waitInTurns(target);
      this.workers.table.sleep(target, SLICE_MS);
    }
  }

  release(memory: Uint8Array): void {
    if (memory.buffer instanceof SharedArrayBuffer) this.workers.release(memory.buffer);
  }

  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  #hasLanded(runCount: number): boolean {
    const { table } = this.workers;
    if (!table.hasLanded(runCount)) return false;
    if (table.landedRuns === this.#batchRuns) this.#forgetBatch();
    return true;
  }

  #hasFailed(): boolean {
    const { table, failure } = this.workers;
    return table.hasError() || failure !== null || this.#closed !== null || this.#signal?.aborted === true;
  }

  async #waitInTurns(target: number): Promise<void> {
    for (;;) {
      await turn();
      if (this.#batchRuns === 0) return;
      if (this.#hasFailed()) {
        await this.#drain();
        const failure = this.#failure();
        this.workers.table.reset();
        this.#forgetBatch();
        throw failure;
      }
      if (this.#hasLanded(target)) return;
      this.workers.table.sleep(target, SLICE_MS);
    }
  }

  #failure(): unknown {
    if (this.#signal?.aborted) return this.#signal.reason;
    if (this.#closed) return new DisposedError(this.name);
    return this.workers.failure ?? readError(this.name, this.workers.table.failure());
  }

  async #drain(): Promise<void> {
    this.workers.table.cancel();
    while (!this.workers.isIdle()) await turn();
  }

  async #end(): Promise<void> {
    await this.#drain();
    await this.workers.join();
    this.handle.close();
  }

  #forgetBatch(): void {
    this.#batchRuns = 0;
    this.#signal = undefined;
  }
}

/** A turn of the event loop; a timer would take four milliseconds. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

function readError(name: string, failure: ReadFailure | null): Error {
  if (failure === null) return new IoError("IO_READ", `${name}: a reader worker ended; open the model again`);
  const { kind, offset, sizeBytes, endsAt, text } = failure;
  if (kind === "truncated") return truncatedError(name, offset, sizeBytes, endsAt);
  return new IoError(
    "IO_READ",
    `${name} @ ${offset}: reading ${sizeBytes} bytes failed (${text}); import the model again`,
    {
      details: { offset, sizeBytes },
    },
  );
}
