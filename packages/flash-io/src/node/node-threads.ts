/** A reader thread in Node: a worker thread, which does not keep the process alive. */
import { Worker } from "node:worker_threads";
import type { ReaderThread, ThreadEvents, ThreadSetup } from "../threads/reader-threads.js";

/** An open file, one or one of several. */
export interface ThreadFile {
  /** Of the process; every thread reads the inode that was opened once. */
  readonly fd: number;
  /** The offset of entries at which it begins. */
  readonly begin: number;
}

/** `workerData` of flash-reader-worker.js. */
export interface NodeThreadSetup extends ThreadSetup {
  /** Ascending. */
  readonly files: readonly ThreadFile[];
  readonly alignmentBytes: number;
  /** For tests: every read first sleeps a pseudo-random time up to this. */
  readonly jitterUs: number;
  /** It keeps many reads in flight through the kernel's ring; else it blocks in one after another. */
  readonly ring: boolean;
}

/** What a reader uses of a `Worker` of `node:worker_threads`, in words that need none of Node's types. */
export interface WorkerThread {
  once(event: "message", listener: () => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
  on(event: "exit", listener: (status: number) => void): unknown;
  unref(): void;
  postMessage(message: object): void;
  terminate(): unknown;
}

/** Makes one thread. Replaced by tests, to end a thread behind the reader's back. */
export type CreateWorker = (setup: NodeThreadSetup) => WorkerThread;

/** Node runs this file as it stands: beside the sources as beside the bundle. */
export function createReaderWorker(setup: NodeThreadSetup): Worker {
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

export class NodeThread implements ReaderThread {
  constructor(
    private readonly worker: WorkerThread,
    { ready, failed, ended }: ThreadEvents,
  ) {
    worker.once("message", () => {
      // A program that forgets to close a reader ends all the same; one that waits for it to be ready does not end before.
      worker.unref();
      ready();
    });
    worker.on("error", failed);
    worker.on("exit", (code) => ended(`ended with status ${code}`));
  }

  post(message: object): void {
    this.worker.postMessage(message);
  }

  terminate(): void {
    void this.worker.terminate();
  }
}
