/** Compute threads in Node: worker threads, which do not keep the process alive. */
import { existsSync } from "node:fs";
import { Worker } from "node:worker_threads";
import {
  type ComputePool,
  type ComputePoolOptions,
  type ComputeThread,
  startThreadedPool,
  type ThreadEvents,
  type ThreadSetup,
} from "../threads/compute-pool.js";

/** For tests and measurements. */
export interface PoolInternals {
  readonly leastWork?: number;
  readonly launch?: (workerData: ThreadSetup) => Worker;
}

/**
 * Starts a pool.
 *
 * @throws {InputError} `INPUT_INVALID` if `threads` is no integer from 1 to 256.
 * @throws {UnsupportedError} without WebAssembly SIMD and threads.
 * Cost: some 30 ms a worker, once; an op that is split 0.5-8 µs more than its share.
 */
export async function createComputePool(options: ComputePoolOptions): Promise<ComputePool> {
  return await startPool(options);
}

/** The same, with the inside adjustable. */
export async function startPool(options: ComputePoolOptions, internals: PoolInternals = {}): Promise<ComputePool> {
  const { launch = launchWorker, leastWork } = internals;
  return await startThreadedPool({
    ...options,
    launch: (setup, events) => new NodeThread(launch(setup), events),
    leastWork,
  });
}

/** The file stands beside this one, in the sources as in the build. */
export function launchWorker(workerData: ThreadSetup): Worker {
  // Loaders and inspectors of the main thread are none of a compute thread's business.
  return new Worker(new URL("./compute-worker.js", import.meta.url), { workerData, execArgv: [] });
}

class NodeThread implements ComputeThread {
  readonly #worker: Worker;
  /** The system's number of its thread; 0 if it does not say. */
  #osThreadId = 0;

  constructor(worker: Worker, { ready, lost }: ThreadEvents) {
    this.#worker = worker;
    worker.on("error", (error) => lost(`failed: ${error.message}`));
    worker.on("exit", (code) => lost(`ended (status ${code})`));
    worker.once("message", ({ osThreadId }: { osThreadId: number }) => {
      this.#osThreadId = osThreadId;
      worker.unref();
      ready();
    });
  }

  post(message: object): void {
    this.#worker.postMessage(message);
  }

  hasEnded(): boolean | null {
    return this.#osThreadId === 0 ? null : !existsSync(`/proc/self/task/${this.#osThreadId}`);
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}
