/**
 * A pool of compute threads: one worker for each thread but the calling one, one instance of the module for each pair of
 * thread and arena.
 *
 * The calling thread is thread 0. Ops block it until they are done, as they do without threads. How a worker is started, heard and
 * ended is the platform's ({@link LaunchThread}: ../node, ../browser); everything else is here.
 */
import { DisposedError, InputError } from "@flashwick/core";
import {
  type Arena,
  type KernelFactory,
  kernelFactory,
  type ScratchSizes,
  type TrainingKernels,
} from "@flashwick/kernels";
import { compileByteVectorKernels } from "../byte-module.js";
import { poolScratch } from "../scratch-sizes.js";
import type { WasmExports } from "../wasm-exports.js";
import { type ActivationBits, instantiate, isShared, kernelModules, kernelsOver } from "../wasm-kernels.js";
import { compileWasmKernels } from "../wasm-module.js";
import { ForkJoin, threadFailed } from "./fork-join.js";
import type { KernelModules } from "./instance.js";
import { type ThreadedArena, threadedExports } from "./threaded-exports.js";

/** Bridges the gaps between the ops of a layer; shorter than any wait for flash. */
const DEFAULT_SPIN_US = 50;
/**
 * Multiply-adds below which the calling thread is done as soon alone: 6-9 us. A hand-off to a thread that is awake costs some 0.5-1 us,
 * to one asleep 4 us and more, and on a crowded machine a chunk may be taken by a thread that is put aside at once.
 */
const LEAST_WORK = 128 * 1024;
const MOST_THREADS = 256;

/** Threads of a pool, and how long an idle one spins. */
export interface ComputePoolOptions {
  /** The calling thread included; 1 makes no worker. */
  readonly threads: number;
  /** How long a thread that has nothing to do looks for more before it sleeps, microseconds. */
  readonly spinUs?: number;
  /** 8: activations have so many bits beside blocks, in `linear`. Default: 15. */
  readonly activationBits?: ActivationBits | undefined;
}

/** Threads that compute over shared arenas. */
export interface ComputePool {
  readonly threads: number;
  /**
   * The kernels of an arena, split over the pool's threads if its memory is shared. Bit for bit those of one thread. Scratch is
   * for all threads together. For the thread that made the pool only; ops throw `THREAD_FAILED` once a thread is lost, and
   * {@link DisposedError} once the arena is released or the pool closed.
   */
  readonly kernels: KernelFactory;
  /** Reads `sizeBytes` at `ptr` with all threads, and does nothing with them: the ceiling of every kernel. For measurements. */
  readLoop(arena: Arena, ptr: number, sizeBytes: number): void;
  /** Makes the threads let go of an arena, so that its memory can be freed. */
  release(arena: Arena): void;
  /** Ends the threads. May be called again. */
  close(): Promise<void>;
}

/** What a worker is given at its start. */
export interface ThreadSetup extends KernelModules {
  readonly buffer: SharedArrayBuffer;
  readonly thread: number;
  readonly spinUs: number;
}

/** What a worker is told later: an arena's number and memory; null: it is released. */
export interface ArenaMessage {
  readonly arena: number;
  readonly memory: WebAssembly.Memory | null;
}

/** What a platform tells the pool of a worker. */
export interface ThreadEvents {
  /** It is about to enter its loop. */
  ready(): void;
  /** It works no more; `how` goes on after "compute thread 3 …". */
  lost(how: string): void;
}

/** A worker, as its platform has it. */
export interface ComputeThread {
  post(message: ArenaMessage): void;
  /** Asked while an op waits, when no event can arrive. Null where the platform cannot tell. */
  hasEnded(): boolean | null;
  /** May be called again. */
  end(): Promise<void>;
}

export type LaunchThread = (setup: ThreadSetup, events: ThreadEvents) => ComputeThread;

export interface ThreadedPoolOptions extends ComputePoolOptions {
  readonly launch: LaunchThread;
  /** For tests and measurements: multiply-adds below which an op stays on the calling thread. */
  readonly leastWork?: number | undefined;
}

/**
 * A pool whose threads are all ready.
 *
 * @throws {InputError} `INPUT_INVALID` if `threads` is no integer from 1 to 256.
 * @throws {UnsupportedError} without WebAssembly SIMD and threads; with `activationBits`, without relaxed SIMD.
 */
export async function startThreadedPool(options: ThreadedPoolOptions): Promise<ComputePool> {
  const { threads, launch, spinUs = DEFAULT_SPIN_US, leastWork = LEAST_WORK } = options;
  if (!Number.isInteger(threads) || threads < 1 || threads > MOST_THREADS) {
    throw new InputError("INPUT_INVALID", `threads is ${threads}, expected an integer from 1 to ${MOST_THREADS}`);
  }
  const pool = new ThreadedPool(threads, spinUs, leastWork, options.activationBits);
  try {
    if (options.activationBits === 8) await compileByteVectorKernels();
    if (threads > 1) await pool.start(launch, spinUs);
    return pool;
  } catch (error) {
    await pool.close();
    throw error;
  }
}

/** An arena that the pool knows. */
interface Workplace extends ThreadedArena {
  readonly wasm: WasmExports;
  readonly kernels: TrainingKernels;
}

class ThreadedPool implements ComputePool {
  readonly threads: number;
  readonly kernels: KernelFactory;
  readonly #scratch: ScratchSizes;
  readonly #leastWork: number;
  readonly #activationBits: ActivationBits | undefined;
  readonly #forkJoin: ForkJoin;
  /** Thread 1 and on. */
  readonly #workers: ComputeThread[] = [];
  readonly #workplaces = new WeakMap<Arena, Workplace>();
  #arenas = 0;
  #closed = false;

  constructor(threads: number, spinUs: number, leastWork: number, activationBits: ActivationBits | undefined) {
    this.threads = threads;
    this.#activationBits = activationBits;
    this.#scratch = poolScratch(threads);
    this.kernels = kernelFactory((arena) => this.#kernelsOf(arena), this.#scratch);
    this.#leastWork = leastWork;
    this.#forkJoin = new ForkJoin({ spinUs, lostThread: () => this.#lostThread() });
  }

  async start(launch: LaunchThread, spinUs: number): Promise<void> {
    await compileWasmKernels(true);
    const { buffer } = this.#forkJoin;
    const modules = kernelModules(true, this.#activationBits);
    const ready: Promise<void>[] = [];
    for (let thread = 1; thread < this.threads; thread++) {
      ready.push(this.#greet(launch, { buffer, ...modules, thread, spinUs }));
    }
    await Promise.all(ready);
  }

  #kernelsOf(arena: Arena): TrainingKernels {
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
    const ended = this.#workers.map((worker) => worker.end());
    // Back to their event loops: Chromium waits two seconds before it ends a worker that sleeps, and its memory stays as long.
    this.#forkJoin.announce();
    await Promise.all(ended);
  }

  /** `sizeBytes` a multiple of 64. */
  readLoop(arena: Arena, ptr: number, sizeBytes: number): void {
    this.kernels(arena);
    this.#workplaces.get(arena)!.wasm.readLoop(ptr, sizeBytes);
  }

  /** Resolves when the worker is about to enter its loop. */
  #greet(launch: LaunchThread, setup: ThreadSetup): Promise<void> {
    const { thread } = setup;
    return new Promise((resolve, reject) => {
      const lost = (how: string) => {
        const error = threadFailed(`compute thread ${thread} ${how}`, { thread });
        this.#forkJoin.fail(error);
        reject(error);
      };
      this.#workers.push(launch(setup, { ready: resolve, lost }));
    });
  }

  /** Unshared memory: one thread, but scratch for all, so that no plan depends on the kind of memory. */
  #workplace(arena: Arena, number: number): Workplace {
    const wasm = instantiate(arena, this.#activationBits);
    if (this.threads === 1) return { number, released: false, wasm, kernels: kernelsOver(arena, wasm, this.#scratch) };
    const shared: ThreadedArena = { number, released: false };
    const leastWork = number === 0 ? Number.POSITIVE_INFINITY : this.#leastWork;
    const all = threadedExports(wasm, this.#forkJoin, shared, { threads: this.threads, leastWork });
    return Object.assign(shared, { wasm: all, kernels: kernelsOver(arena, all, this.#scratch) });
  }

  #post(message: ArenaMessage): void {
    for (const worker of this.#workers) worker.post(message);
    this.#forkJoin.announce();
  }

  /** Asks the platform, as events do not arrive while an op waits. */
  #lostThread(): number | null {
    for (const [i, worker] of this.#workers.entries()) {
      const ended = worker.hasEnded();
      if (ended === null) return null;
      if (ended) return i + 1;
    }
    return 0;
  }

  #throwIfClosed(): void {
    if (this.#closed) throw new DisposedError("the compute pool");
  }
}
