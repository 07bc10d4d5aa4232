/** A FlashReader over range requests: a model runs from a web server, slowly, without being fetched. */
import { DisposedError, InputError, partAt, type SourcePart, truncatedError } from "@flashwick/core";
import type { FlashReader } from "../reader.js";
import { checkRunIndices } from "../run-indices.js";
import type { FlashRun } from "../run-plan.js";
import { type HttpFile, type HttpSourceOptions, RangeRequests } from "./http-source.js";

/** How a reader asks a web server. */
export interface HttpReaderOptions extends HttpSourceOptions {
  /** Requests in flight. Default 6, what browsers allow to one server. */
  readonly readers?: number;
  /** Unneeded bytes between two runs that are rather fetched than asked for anew. Default 64 KiB. */
  readonly mergeGapBytes?: number;
}

const DEFAULT_READERS = 6;
const DEFAULT_GAP_BYTES = 65536;

/** A file on the server, and the offset of runs at which it begins. */
interface HttpPart {
  readonly requests: RangeRequests;
  readonly file: HttpFile;
  readonly begin: number;
}

/**
 * @param url An address, or the parts of a split model: runs are at offsets among those of all, each run within one part.
 * @throws As `httpSource`.
 */
export async function openHttpReader(
  url: string | readonly SourcePart[],
  options: HttpReaderOptions = {},
): Promise<FlashReader & { readonly file: HttpFile }> {
  const wanted = typeof url === "string" ? [{ name: url, begin: 0 }] : url;
  const open = async ({ name, begin }: Pick<SourcePart, "name" | "begin">): Promise<HttpPart> => {
    const requests = new RangeRequests(name, options);
    return { requests, file: await requests.open(), begin };
  };
  return new HttpReader(await Promise.all(wanted.map(open)), options);
}

/** A batch in flight. */
interface Batch {
  /** By run: settled once it has landed. One that fails aborts all others with its error. */
  readonly landed: readonly Promise<void>[];
  readonly stop: AbortController;
  /** Runs that have not landed. */
  pending: number;
}

class HttpReader implements FlashReader {
  readonly name: string;
  readonly mode = "buffered";
  readonly fallback = null;
  readonly alignmentBytes = 1;
  readonly readers: number;
  readonly leavesCores = true;
  readonly mergeGapBytes: number;
  readonly needsSharedMemory = false;
  /** Of the first part. */
  readonly file: HttpFile;
  readonly #parts: readonly HttpPart[];
  #batch: Batch | null = null;
  /** Runs of the last batch, in flight or not. */
  #batchRuns = 0;
  #closed = false;

  constructor(
    parts: readonly HttpPart[],
    { readers = DEFAULT_READERS, mergeGapBytes = DEFAULT_GAP_BYTES }: HttpReaderOptions,
  ) {
    this.file = parts[0]!.file;
    this.name = this.file.url;
    this.readers = readers;
    this.mergeGapBytes = mergeGapBytes;
    this.#parts = parts;
  }

  start(memory: Uint8Array, runs: readonly FlashRun[], signal?: AbortSignal): void {
    if (this.#closed) throw new DisposedError(this.name);
    signal?.throwIfAborted();
    this.#refuseInFlight();
    this.#batchRuns = runs.length;
    if (runs.length === 0) return;
    const stop = new AbortController();
    const both = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
    // Lanes take the runs in turn: as many requests in flight as there are lanes, in the order of the runs.
    const lanes = new Array<Promise<void>>(this.readers).fill(Promise.resolve());
    const batch = { landed: [] as Promise<void>[], stop, pending: runs.length };
    batch.landed = runs.map((run, i) => {
      const read = lanes[i % this.readers]!.then(() => this.#read(memory, run, both));
      read.then(
        () => batch.pending--,
        (error) => stop.abort(error),
      );
      lanes[i % this.readers] = read;
      return read;
    });
    this.#batch = batch;
  }

  async wait(runCount = Number.POSITIVE_INFINITY): Promise<void> {
    const batch = this.#batch;
    if (batch === null) return;
    await this.#settle(batch, batch.landed.slice(0, runCount));
  }

  async waitFor(runs: ArrayLike<number>): Promise<void> {
    checkRunIndices(this.name, runs, this.#batchRuns);
    const batch = this.#batch;
    if (batch === null) return;
    await this.#settle(
      batch,
      Array.from(runs, (run) => batch.landed[run]!),
    );
  }

  release(): void {
    this.#refuseInFlight();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#batch?.stop.abort(new DisposedError(this.name));
    await Promise.allSettled(this.#batch?.landed ?? []);
  }

  async #read(memory: Uint8Array, run: FlashRun, signal: AbortSignal): Promise<void> {
    const { requests, file, begin } = partAt(this.#parts, run.offset);
    const [offset, { sizeBytes }] = [run.offset - begin, run];
    if (offset + sizeBytes > file.sizeBytes) throw truncatedError(file.url, offset, sizeBytes, file.sizeBytes);
    const bytes = await requests.read(offset, sizeBytes, signal);
    // A body may have come whole just before the abort: nothing lands after it.
    signal.throwIfAborted();
    let at = 0;
    for (const { ptr, sizeBytes } of run.pieces) {
      memory.set(bytes.subarray(at, at + sizeBytes), ptr);
      at += sizeBytes;
    }
  }

  /** Returns when all of `awaited` have landed. After a failure it throws once no request is in flight, and the batch has ended. */
  async #settle(batch: Batch, awaited: readonly Promise<void>[]): Promise<void> {
    try {
      await Promise.all(awaited);
      if (batch.pending === 0) this.#forget(batch);
    } catch (error) {
      await Promise.allSettled(batch.landed);
      this.#forget(batch);
      throw error;
    }
  }

  #forget(batch: Batch): void {
    if (this.#batch === batch) this.#batch = null;
  }

  #refuseInFlight(): void {
    if (this.#batch === null) return;
    throw new InputError("INPUT_INVALID", `${this.name}: a batch is in flight; wait for all of it first`);
  }
}
