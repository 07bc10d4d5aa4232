/** Test support: reader threads of Node's whose n-th read goes wrong, whichever thread it is that reads. */
import { Worker } from "node:worker_threads";
import { FAULT_KINDS, type Fault } from "../conformance/fault.js";
import { FAULT_WORDS } from "../conformance/shared-faults.js";
import type { CreateWorker } from "./node-threads.js";

export class FaultyThreads {
  readonly #words = new Int32Array(new SharedArrayBuffer(20));

  /** @param path Of the file, which faults of its own change. */
  constructor(private readonly path: string) {
    this.arm(null);
  }

  readonly createWorker: CreateWorker = (setup) =>
    new Worker(new URL("./faulty-reader-worker.fixture.js", import.meta.url), {
      workerData: { ...setup, faults: { words: this.#words, path: this.path, kinds: FAULT_KINDS } },
      env: {},
      execArgv: [],
      trackUnmanagedFds: false,
    });

  /** @param fault Null: nothing goes wrong, and reads are counted. */
  arm(fault: Fault | null): void {
    const { kind, at, seed } = fault ?? { kind: null, at: 0, seed: 0 };
    this.#words.set([kind === null ? -1 : FAULT_KINDS.indexOf(kind), at, seed], FAULT_WORDS.kind);
    Atomics.store(this.#words, FAULT_WORDS.operations, 0);
  }

  get operations(): number {
    return Atomics.load(this.#words, FAULT_WORDS.operations);
  }
}
