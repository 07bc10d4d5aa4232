/**
 * Compute threads in Node: one worker for each thread but the calling one, one instance of the module for each pair of
 * thread and arena.
 *
 * The calling thread is thread 0. Ops block it until they are done, as they do without threads. Workers do not keep the
 * process alive.
 */
import { existsSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { DisposedError, InputError } from "@flashwick/core";
import type { Arena, TrainingKernels } from "@flashwick/kernels";
import { ForkJoin, threadFailed } from "../threads/fork-join.js";
import { type ThreadedArena, threadedExports } from "../threads/threaded-exports.js";
import type { WasmExports } from "../wasm-exports.js";
import { instantiate, isShared, kernelsOver } from "../wasm-kernels.js";
import { compileWasmKernels, wasmModule } from "../wasm-module.js";

/** Bridges the gaps between the ops of a layer; shorter than any wait for flash. */
const DEFAULT_SPIN_US = 50;
/**
 * Multiply-adds below which the calling thread is done as soon alone: 6-9 us. A hand-off to a thread that is awake costs some 0.5-1 us,
 * to one asleep 4 us and more, and on a crowded machine a chunk may be taken by a thread that is put aside at once.
 */
const LEAST_WORK = 128 * 1024;
const MOST_THREADS = 256;

export interface ComputePoolOptions {
  /** The calling thread included; 1 makes no worker. */
  readonly threads: number;
  /** How long a thread that has nothing to do looks for more before it sleeps, microseconds. */
  readonly spinUs?: number;
}

export interface ComputePool {
  readonly threads: number;
  /**
   * The kernels of an arena, split over the pool's threads if its memory is shared. Bit for bit those of one thread. Scratch is
   * for all threads together. For the thread that made the pool only; ops throw `THREAD_FAILED` once a thread is lost, and
   * {@link DisposedError} once the arena is released or the pool closed.
   */
  kernels(arena: Arena): TrainingKernels;
  /** Reads `sizeBytes` at `ptr` with all threads, and does nothing with them: the ceiling of every kernel. For measurements. */
  readLoop(arena: Arena, ptr: number, sizeBytes: number): void;
  /** Makes the threads let go of an arena, so that its memory can be freed. */
  release(arena: Arena): void;
  /** Ends the threads. May be called again. */
  close(): Promise<void>;
}

/** For tests and measurements. */
export interface PoolInternals {
  readonly leastWork?: number;
  readonly launch?: (workerData: WorkerData) => Worker;
}

/** What a thread is given at its start (compute-worker.js). */
export interface WorkerData {
  readonly buffer: SharedArrayBuffer;
  readonly module: WebAssembly.Module;
  readonly thread: number;
  readonly spinUs: number;
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
export async function startPool(options: ComputePoolOptions, internals: PoolInternals = {}): Promise<NodeComputePool> {
  const { threads, spinUs = DEFAULT_SPIN_US } = options;
  if (!Number.isInteger(threads) || threads < 1 || threads > MOST_THREADS) {
    throw new InputError("INPUT_INVALID", `threads is ${threads}, expected an integer from 1 to ${MOST_THREADS}`);
  }
  const pool = new NodeComputePool(threads, spinUs, internals.leastWork ?? LEAST_WORK);
  try {
    if (threads > 1) await pool.start(internals.launch ?? launchWorker, spinUs);
    return pool;
  } catch (error) {
    await pool.close();
    throw error;
  }
}

/** The file stands beside this one, in the sources as in the build. */
export function launchWorker(workerData: WorkerData): Worker {
  // Loaders and inspectors of the main thread are none of a compute thread's business.
  return new Worker(new URL("./compute-worker.js", import.meta.url), { workerData, execArgv: [] });
}

/** An arena that the pool knows. */
interface Workplace extends ThreadedArena {
  readonly wasm: WasmExports;
  readonly kernels: TrainingKernels;
}

export class NodeComputePool implements ComputePool {
  readonly threads: number;
  readonly #leastWork: number;
  readonly #forkJoin: ForkJoin;
  readonly #workers: Worker[] = [];
  /** The system's number of each worker's thread; 0 if it does not say. */
  readonly #osThreadIds: number[] = [];
  readonly #workplaces = new WeakMap<Arena, Workplace>();
  #arenas = 0;
  #closed = false;

  constructor(threads: number, spinUs: number, leastWork: number) {
    this.threads = threads;
    this.#leastWork = leastWork;
    this.#forkJoin = new ForkJoin({ spinUs, lostThread: () => this.#lostThread() });
  }

  async start(launch: (workerData: WorkerData) => Worker, spinUs: number): Promise<void> {
    await compileWasmKernels(true);
    const { buffer } = this.#forkJoin;
    const ready: Promise<void>[] = [];
    for (let thread = 1; thread < this.threads; thread++) {
      ready.push(this.#greet(launch({ buffer, module: wasmModule(true), thread, spinUs }), thread));
    }
    await Promise.all(ready);
    for (const worker of this.#workers) worker.unref();
  }

  kernels(arena: Arena): TrainingKernels {
    this.#throwIfClosed();
    const known = this.#workplaces.get(arena);
    if (known && !known.released) return known.kernels;
    const together = this.threads > 1 && isShared(arena);
    const number = together ? ++this.#arenas : 0;
    if (together) this.#post({ arena: number, memory: arena.memory });
    const workplace = this.#workplace(arena, number);
    this.#workplaces.set(arena, workplace);
    return workplace.kernels;
  }

  release(arena: Arena): void {
    const workplace = this.#workplaces.get(arena);
    if (workplace === undefined || workplace.released) return;
    workplace.released = true;
    if (workplace.number !== 0 && !this.#closed) this.#post({ arena: workplace.number, memory: null });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#forkJoin.fail(new DisposedError("the compute pool"));
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }

  /** Reads with all threads and does nothing else: the ceiling. `sizeBytes` a multiple of 64. */
  readLoop(arena: Arena, ptr: number, sizeBytes: number): void {
    this.kernels(arena);
    this.#workplaces.get(arena)!.wasm.readLoop(ptr, sizeBytes);
  }

  /** Resolves when the worker is about to enter its loop. */
  #greet(worker: Worker, thread: number): Promise<void> {
    this.#workers.push(worker);
    return new Promise((resolve, reject) => {
      const lose = (how: string) => {
        const error = threadFailed(`compute thread ${thread} ${how}`, { thread });
        this.#forkJoin.fail(error);
        reject(error);
      };
      worker.on("error", (error) => lose(`failed: ${error.message}`));
      worker.on("exit", (code) => lose(`ended (status ${code})`));
      worker.once("message", ({ osThreadId }: { osThreadId: number }) => {
        this.#osThreadIds[thread] = osThreadId;
        resolve();
      });
    });
  }

  /** Unshared memory: one thread, but scratch for all, so that no plan depends on the kind of memory. */
  #workplace(arena: Arena, number: number): Workplace {
    const wasm = instantiate(arena);
    if (this.threads === 1) return { number, released: false, wasm, kernels: kernelsOver(arena, wasm) };
    const shared: ThreadedArena = { number, released: false };
    const leastWork = number === 0 ? Number.POSITIVE_INFINITY : this.#leastWork;
    const all = threadedExports(wasm, this.#forkJoin, shared, { threads: this.threads, leastWork });
    return Object.assign(shared, { wasm: all, kernels: kernelsOver(arena, all) });
  }

  #post(message: { readonly arena: number; readonly memory: WebAssembly.Memory | null }): void {
    for (const worker of this.#workers) worker.postMessage(message);
    this.#forkJoin.announce();
  }

  /** Asks the system, as events do not arrive while an op waits. */
  #lostThread(): number | null {
    const ids = this.#osThreadIds;
    for (let thread = 1; thread < this.threads; thread++) {
      if (ids[thread] === 0) return null;
      if (!existsSync(`/proc/self/task/${ids[thread]}`)) return thread;
    }
    return 0;
  }

  #throwIfClosed(): void {
    if (this.#closed) throw new DisposedError("the compute pool");
  }
}
