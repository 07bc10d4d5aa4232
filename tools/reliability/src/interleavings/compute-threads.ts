/**
 * The hand-off between the thread that calls an op and the threads that compute parts of it (packages/kernels-wasm/src/threads), as a search over all interleavings:
 * its own code, with kernels that count how often each part is computed.
 */
import {
  CONTROL_BYTES,
  MESSAGES,
  READ_LOOP,
  viewControl,
} from "../../../../packages/kernels-wasm/src/threads/control-block.js";
import { ForkJoin } from "../../../../packages/kernels-wasm/src/threads/fork-join.js";
import { workUntilMessage } from "../../../../packages/kernels-wasm/src/threads/worker-loop.js";
import type { WasmExports } from "../../../../packages/kernels-wasm/src/wasm-exports.js";
import type { Exploration, ExploredThread } from "./explore.js";
import { SharedMemory, type SharedOp } from "./shared-memory.js";

export const ARENA = 7;
/** Of an op, at most: counters of op k begin at k times this. */
const MOST_PARTS = 4;

/** The top of a worker's loop: it knows nothing but the ticket that it has just loaded. */
export const isHome = ({ name, word }: SharedOp) => name === "load" && word === MESSAGES;

/** What is explored. */
export interface ComputeSetting {
  readonly workers: number;
  /** Parts of each op, one op after another. */
  readonly ops: readonly number[];
}

/** Searched by the tests, and by the long run alone. */
export const SHORT_COMPUTE: readonly ComputeSetting[] = [
  { workers: 1, ops: [2, 2] },
  { workers: 1, ops: [1, 3] },
];
export const LONG_COMPUTE: readonly ComputeSetting[] = [
  { workers: 1, ops: [4, 4, 4, 4] },
  { workers: 2, ops: [1] },
  { workers: 2, ops: [2, 1] },
];

/** The caller and its workers. */
export function computeExploration({ workers, ops }: ComputeSetting): Exploration {
  const memory = new SharedMemory(CONTROL_BYTES + 64);
  const counters = () => new Int32Array(memory.buffer, CONTROL_BYTES, 16);
  const wasm = () => {
    const counts = counters();
    const readLoop = (part: number) => {
      counts[part]!++;
      return 0;
    };
    return { readLoop } as unknown as WasmExports;
  };
  const caller = () => {
    const forkJoin = new ForkJoin({ spinUs: 0, lostThread: () => 0 });
    const counts = counters();
    // Between two ops it knows nothing but which comes next.
    for (let k = memory.resume(); k < ops.length; memory.checkpoint(++k)) {
      const parts = ops[k]!;
      const operands = { scratch: 0, scratchStride: 0, arguments: [k * MOST_PARTS] };
      const order = { op: READ_LOOP, arena: ARENA, begin: 0, end: parts, ...operands };
      forkJoin.run(wasm(), order, { chunk: 1, chunks: parts });
      for (let part = 0; part < parts; part++) {
        const count = counts[k * MOST_PARTS + part];
        if (count !== 1) throw new Error(`part ${part} of op ${k} was computed ${count} times when the op returned`);
      }
    }
  };
  const worker = (thread: number): ExploredThread => ({
    ...{ name: `worker ${thread}`, mustEnd: false },
    run: () => workUntilMessage(viewControl(memory.buffer), new Map([[ARENA, wasm()]]), thread, 0, 0),
    isHome,
  });
  const threads = Array.from({ length: workers }, (_, i) => worker(i + 1));
  return { memory, threads: [{ name: "caller", run: caller, mustEnd: true }, ...threads] };
}
