/** A FlashReader over range requests: a model runs from a web server, slowly, without being fetched. */
import type { FlashReader } from "../reader.js";
import type { FlashRun } from "../run-plan.js";
import { type HttpFile, type HttpSourceOptions, RangeRequests } from "./http-source.js";

export interface HttpReaderOptions extends HttpSourceOptions {
  /** Requests in flight. Default 6, what browsers allow to one server. */
  readonly readers?: number;
  /** Unneeded bytes between two runs that are rather fetched than asked for anew. Default 64 KiB. */
  readonly mergeGapBytes?: number;
}

const DEFAULT_READERS = 6;
const DEFAULT_GAP_BYTES = 65536;

/** @throws As `httpSource`. */
export async function openHttpReader(
  url: string,
  options: HttpReaderOptions = {},
): Promise<FlashReader & { readonly file: HttpFile }> {
  const requests = new RangeRequests(url, options);
  return new HttpReader(requests, await requests.open(), options);
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
  readonly #requests: RangeRequests;
  /** By run: settled once it has landed. */
  #batch: Promise<void>[] = [];

  constructor(
    requests: RangeRequests,
    readonly file: HttpFile,
    { readers = DEFAULT_READERS, mergeGapBytes = DEFAULT_GAP_BYTES }: HttpReaderOptions,
  ) {
    this.name = file.url;
    this.readers = readers;
    this.mergeGapBytes = mergeGapBytes;
    this.#requests = requests;
  }

  start(memory: Uint8Array, runs: readonly FlashRun[], signal?: AbortSignal): void {
    // Lanes take the runs in turn: as many requests in flight as there are lanes, in the order of the runs.
    const lanes = new Array<Promise<void>>(this.readers).fill(Promise.resolve());
    const stop = new AbortController();
    const both = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
    this.#batch = runs.map((run, i) => {
      const landed = lanes[i % this.readers]!.then(async () => {
        const bytes = await this.#requests.read(run.offset, run.sizeBytes, both);
        let at = 0;
        for (const { ptr, sizeBytes } of run.pieces) {
          memory.set(bytes.subarray(at, at + sizeBytes), ptr);
          at += sizeBytes;
        }
      });
      // One failure ends the batch: what it says is thrown by wait.
      landed.catch((error) => stop.abort(error));
      lanes[i % this.readers] = landed;
      return landed;
    });
  }

  async wait(runCount = this.#batch.length): Promise<void> {
    try {
      await Promise.all(this.#batch.slice(0, runCount));
    } catch (error) {
      await Promise.allSettled(this.#batch);
      this.#batch = [];
      throw error;
    }
    if (runCount >= this.#batch.length) this.#batch = [];
  }

  release(): void {}

  async close(): Promise<void> {
    await Promise.allSettled(this.#batch);
    this.#batch = [];
  }
}
