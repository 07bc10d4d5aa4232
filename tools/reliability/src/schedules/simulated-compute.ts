/**
 * Compute threads without threads: each takes a chunk, computes it and says so in three steps, whenever the seed lets it.
 *
 * Everything but the order of events is the product's: the pool, its plans, the caller's side of a hand-off (fork-join.ts), the exchange by which a chunk is
 * taken, and the kernels. What a thread does between two of its steps is written anew here, as the loop in worker-loop.js cannot stop half-way; that loop itself is
 * checked over all interleavings (../interleavings).
 */
import {
  type ArenaMessage,
  type ComputePool,
  type ComputeThread,
  type LaunchThread,
  startThreadedPool,
  type ThreadSetup,
} from "../../../../packages/kernels-wasm/src/threads/compute-pool.js";
import {
  chunksLeft,
  DONE,
  MESSAGES,
  ORDER_ARENA,
  runChunk,
  TICKET,
  takeChunk,
  viewControl,
} from "../../../../packages/kernels-wasm/src/threads/control-block.js";
import { instanceOver } from "../../../../packages/kernels-wasm/src/threads/instance.js";
import type { WasmExports } from "../../../../packages/kernels-wasm/src/wasm-exports.js";
import type { Actor, SimulatedWorld } from "./simulated-world.js";

/** A pool of `threads`, the caller included. Every op is split, however small. */
export async function simulatedPool(world: SimulatedWorld, threads: number): Promise<ComputePool> {
  const launch: LaunchThread = (setup, events) => {
    const thread = new SimulatedComputeThread(world, setup);
    world.add(thread);
    events.ready();
    return thread;
  };
  return await startThreadedPool({ threads, spinUs: 0, leastWork: 1, launch });
}

class SimulatedComputeThread implements ComputeThread, Actor {
  readonly #world: SimulatedWorld;
  readonly #setup: ThreadSetup;
  readonly #control: ReturnType<typeof viewControl>;
  readonly #instances = new Map<number, WasmExports>();
  readonly #posted: ArenaMessage[] = [];
  #received = 0;
  /** Chunks that were left with the one in hand; 0: none is in hand. */
  #taken = 0;
  #isComputed = false;

  constructor(world: SimulatedWorld, setup: ThreadSetup) {
    this.#world = world;
    this.#setup = setup;
    this.#control = viewControl(setup.buffer);
  }

  post(message: ArenaMessage): void {
    this.#posted.push(message);
  }

  hasEnded(): boolean {
    return false;
  }

  async end(): Promise<void> {
    this.#world.remove(this);
  }

  step(): boolean {
    if (this.#taken > 0) return this.#goOn();
    const { words } = this.#control;
    const ticket = Atomics.load(words, TICKET);
    if (Atomics.load(words, MESSAGES) !== this.#received) return this.#obey();
    const left = chunksLeft(ticket);
    if (left === 0 || !takeChunk(words, ticket)) return false;
    this.#taken = left;
    this.#isComputed = false;
    return true;
  }

  #goOn(): boolean {
    const { words, order } = this.#control;
    if (this.#isComputed) {
      this.#taken = 0;
      Atomics.add(words, DONE, 1);
      Atomics.notify(words, DONE);
      return true;
    }
    runChunk(order, this.#instances.get(order[ORDER_ARENA]!)!, this.#setup.thread, this.#taken);
    this.#isComputed = true;
    return true;
  }

  #obey(): boolean {
    const message = this.#posted.shift();
    if (message === undefined) return false;
    this.#received++;
    const { arena, memory } = message;
    if (memory) this.#instances.set(arena, instanceOver(this.#setup, memory));
    else this.#instances.delete(arena);
    return true;
  }
}
