/**
 * Compute threads in a page: module workers of the dedicated worker that makes the pool and computes with it.
 *
 * That one blocks while it waits, so its workers may need nothing of its event loop: a pool is ready when all of them have loaded their
 * script and greeted. From then on messages reach them directly.
 */
import { UnsupportedError } from "@flashwick/core";
import {
  type ArenaMessage,
  type ComputePool,
  type ComputePoolOptions,
  type ComputeThread,
  startThreadedPool,
  type ThreadEvents,
  type ThreadSetup,
} from "../threads/compute-pool.js";

/** Threads of a pool in a page, and how their workers are made. */
export interface PagePoolOptions extends ComputePoolOptions {
  /** How workers are made, where a bundler needs to know. Default: page-compute-worker.js beside this module. */
  readonly createWorker?: (() => Worker) | undefined;
}

/** What a worker says (page-compute-worker.js). */
type Word = { readonly ready: true } | { readonly failed: string };

/**
 * Starts a pool. In a dedicated worker of a cross-origin isolated page only.
 *
 * @throws {InputError} `INPUT_INVALID` if `threads` is no integer from 1 to 256.
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` without isolation, on a page's main thread, or without WebAssembly SIMD and threads:
 *   compute with `createWasmKernels` there. `THREAD_FAILED` if a worker's script does not load.
 * Cost: some 30 ms a worker, once; an op that is split 0.5-8 µs more than its share.
 */
export async function createComputePool(options: PagePoolOptions): Promise<ComputePool> {
  return await startPagePool(options);
}

/** The same; an op stays on the calling thread below `leastWork` multiply-adds, which is for tests. */
export async function startPagePool(options: PagePoolOptions, leastWork?: number): Promise<ComputePool> {
  const { createWorker = defaultWorker } = options;
  throwUnlessThreadsCanMeet();
  return await startThreadedPool({
    ...options,
    launch: (setup, events) => new PageThread(createWorker(), setup, events),
    leastWork,
  });
}

function defaultWorker(): Worker {
  return new Worker(new URL("./page-compute-worker.js", import.meta.url), { type: "module", name: "compute thread" });
}

function throwUnlessThreadsCanMeet(): void {
  if (typeof SharedArrayBuffer !== "function" || globalThis.crossOriginIsolated !== true) {
    throw new UnsupportedError(
      "UNSUPPORTED_FEATURE",
      "compute threads need shared memory, and this page is not cross-origin isolated; send the headers " +
        "Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp, or compute on one thread",
    );
  }
  try {
    // Returns at once, since the word is not 1; throws where a thread may not block.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 1, 0);
  } catch (cause) {
    const message = "a page's main thread may not wait for compute threads; make the pool in a dedicated worker";
    throw new UnsupportedError("UNSUPPORTED_FEATURE", message, { cause });
  }
}

class PageThread implements ComputeThread {
  readonly #worker: Worker;

  constructor(worker: Worker, setup: ThreadSetup, { ready, lost }: ThreadEvents) {
    this.#worker = worker;
    worker.onmessage = ({ data }: MessageEvent<Word>) => ("ready" in data ? ready() : lost(`failed: ${data.failed}`));
    worker.onerror = (event) => {
      // The pool reports it; to the page it is no error that nobody caught.
      event.preventDefault();
      lost(event.message ? `failed: ${event.message}` : "has no script: it could not be loaded");
    };
    worker.postMessage(setup);
  }

  post(message: ArenaMessage): void {
    this.#worker.postMessage(message);
  }

  /** There is nobody to ask. A worker that throws says so itself, and none dies otherwise but with the whole page. */
  hasEnded(): null {
    return null;
  }

  async end(): Promise<void> {
    this.#worker.terminate();
  }
}
