/**
 * What a page's worker runs during tests of its compute threads (tools/browser/src/page-threads.test.ts): each command of the test comes back as plain
 * data, errors as `{ error: { code, message } }`.
 */
import { isFlashwickError } from "@flashwick/core";
import { ARENA_RESERVED_BYTES, Arena, type Matrix, type TrainingKernels } from "@flashwick/kernels";
import {
  byteVectorCases,
  CONFORMANCE_ARENA_BYTES,
  conformanceCases,
  runConformanceCase,
  titleOf,
} from "@flashwick/kernels/conformance";
import { createReferenceKernels } from "@flashwick/kernels/reference";
import { compileByteVectorKernels } from "../byte-module.js";
import type { ComputePool } from "../threads/compute-pool.js";
import { everySplitOp, SPLIT_OPS_ARENA_BYTES } from "../threads/every-split-op.fixture.js";
import { createByteVectorKernels, createWasmKernels } from "../wasm-kernels.js";
import { createComputePool, startPagePool } from "./compute-pool.js";

export interface PageCaseResult {
  readonly title: string;
  /** Null: it holds. */
  readonly failure: string | null;
}

const COLS = 64;
const ROWS = 4096;

const commands = {
  /**
   * @param threads        0: the reference; 1: the module without a pool. Everything is split that can be.
   * @param activationBits 8: with activations of eight bits.
   */
  async conformance({ threads, activationBits }: { threads: number; activationBits?: 8 }): Promise<PageCaseResult[]> {
    const pool = threads > 1 ? await startPagePool({ threads, activationBits }, 0) : null;
    if (activationBits) await compileByteVectorKernels();
    const arena = new Arena(CONFORMANCE_ARENA_BYTES, threads > 1);
    const module = activationBits ? createByteVectorKernels : createWasmKernels;
    const alone = threads === 0 ? createReferenceKernels : module;
    const kernels = pool ? pool.kernels(arena) : alone(arena);
    const results = (activationBits ? byteVectorCases : conformanceCases).map((c) => {
      try {
        runConformanceCase(kernels, c);
        return { title: titleOf(c), failure: null };
      } catch (error) {
        return { title: titleOf(c), failure: String(error) };
      }
    });
    await pool?.close();
    return results;
  },
  /** Whether every split op leaves one thread's bytes behind, arena after arena. */
  async sameBits({ threads, rounds }: { threads: number; rounds: number }) {
    const once = everySplitOp(createWasmKernels(new Arena(SPLIT_OPS_ARENA_BYTES)));
    const pool = await startPagePool({ threads }, 0);
    const same: boolean[] = [];
    for (let round = 0; round < rounds; round++) {
      const arena = new Arena(SPLIT_OPS_ARENA_BYTES, true);
      const bytes = everySplitOp(pool.kernels(arena));
      same.push(bytes.length === once.length && bytes.every((byte, i) => byte === once[i]));
      pool.release(arena);
    }
    await pool.close();
    return same;
  },
  /** Which threads worked, in arenas that come and go while the caller never returns to its event loop. */
  async whoWorks({ threads, rounds }: { threads: number; rounds: number }) {
    const pool = await startPagePool({ threads }, 0);
    const worked: boolean[][] = [];
    const arena = new Arena(2 ** 22, true);
    for (let round = 0; round < rounds; round++) {
      worked.push(threadsAtWork(pool, arena));
      pool.release(arena);
    }
    await pool.close();
    return worked;
  },
  /** What ops say of an arena that is released, taken again, and of a closed pool. */
  async lifeOfAnArena() {
    const pool = await startPagePool({ threads: 2 }, 0);
    const arena = new Arena(2 ** 20, true);
    const run = (kernels: TrainingKernels) => codeOf(() => kernels.crc32cSlots(200_000, 70_000, 16, 16, 80_000, 50));
    const first = pool.kernels(arena);
    const said = [run(first), pool.kernels(arena) === first ? "same" : "other"];
    pool.release(arena);
    pool.release(arena);
    said.push(run(first), run(pool.kernels(arena)));
    await Promise.all([pool.close(), pool.close()]);
    await pool.close();
    pool.release(arena);
    said.push(
      run(first),
      codeOf(() => pool.kernels(arena)),
    );
    return said;
  },
  /** Leaves a pool open. */
  async open({ threads }: { threads: number }) {
    opened = await createComputePool({ threads });
    return opened.threads;
  },
  /** Arenas whose every byte was used, released again. */
  async useAndRelease({ arenas, sizeBytes }: { arenas: number; sizeBytes: number }) {
    for (let i = 0; i < arenas; i++) useArena(opened!, sizeBytes);
  },
  /** In a browser that is started with `--expose-gc`. */
  async collectGarbage() {
    (globalThis as unknown as { gc(): void }).gc();
  },
  async close() {
    await opened!.close();
  },
  /** Works with a pool of workers from another address until an op throws; if none does, until the test's time is up. */
  async openFrom({ address }: { address: string }) {
    const pool = await createComputePool({ threads: 2, createWorker: () => new Worker(address, { type: "module" }) });
    try {
      for (;;) {
        everySplitOp(pool.kernels(new Arena(SPLIT_OPS_ARENA_BYTES, true)));
        // A turn of the event loop, in which a loss is heard.
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    } finally {
      await pool.close();
    }
  },
};

let opened: ComputePool | null = null;

/**
 * Products over and over until each thread has left its prepared vector in its scratch. A thread that has not heard of the arena
 * never does: the test's time-out tells.
 */
function threadsAtWork(pool: ComputePool, arena: Arena): boolean[] {
  const kernels = pool.kernels(arena);
  const mark = arena.mark();
  const data = arena.allocate(2 * ROWS * COLS + 64, 64);
  const [x, out] = [arena.allocate(4 * COLS, 64), arena.allocate(4 * ROWS, 64)];
  arena.f32(x, COLS).fill(1);
  const scratchBytes = kernels.scratchBytes(COLS, 1);
  const scratch = arena.allocate(scratchBytes, 64);
  const w: Matrix = { dtype: "f16", data, scales: 0, rows: ROWS, cols: COLS };
  const own = scratchBytes / pool.threads;
  const worked = () =>
    Array.from({ length: pool.threads }, (_, thread) => arena.u8(scratch + thread * own, own).some((byte) => byte > 0));
  while (worked().includes(false)) kernels.linear(out, x, w, 0, 1, scratch);
  const result = worked();
  arena.rewind(mark);
  return result;
}

function useArena(pool: ComputePool, sizeBytes: number): void {
  const arena = new Arena(sizeBytes, true);
  pool.kernels(arena);
  arena.bytes.fill(1, ARENA_RESERVED_BYTES);
  pool.release(arena);
}

function codeOf(run: () => unknown): string {
  try {
    run();
    return "done";
  } catch (error) {
    return isFlashwickError(error) ? error.code : String(error);
  }
}

type Command = { readonly id: number; readonly name: keyof typeof commands; readonly args: never };

async function answer({ name, args }: Omit<Command, "id">): Promise<object> {
  try {
    return { result: await (commands[name] as (args: never) => Promise<unknown>)(args) };
  } catch (error) {
    return { error: { code: isFlashwickError(error) ? error.code : "", message: (error as Error).message } };
  }
}

// The page itself imports this module, too, to see what it is refused.
if (typeof document === "undefined") {
  self.onmessage = async ({ data }: MessageEvent<Command>) =>
    self.postMessage({ id: data.id, ...(await answer(data)) });
} else Object.assign(globalThis, { answerHere: answer });
