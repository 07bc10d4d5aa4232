/** Compute threads: short searches. The long ones are `node tools/reliability/interleavings.mjs`. */
import { describe, expect, it } from "vitest";
import {
  CALLER_WAITS,
  CONTROL_BYTES,
  DONE,
  READ_LOOP,
  SLEEPERS,
  TICKET,
  viewControl,
} from "../../../../packages/kernels-wasm/src/threads/control-block.js";
import { ForkJoin } from "../../../../packages/kernels-wasm/src/threads/fork-join.js";
import { workUntilMessage } from "../../../../packages/kernels-wasm/src/threads/worker-loop.js";
import type { WasmExports } from "../../../../packages/kernels-wasm/src/wasm-exports.js";
import { ARENA, computeExploration, isHome, SHORT_COMPUTE } from "./compute-threads.js";
import { type ExploredThread, explore } from "./explore.js";
import { SharedMemory, type SharedOp } from "./shared-memory.js";

describe("every part is computed once before the op returns, and nobody sleeps through what concerns it", () => {
  it.each(SHORT_COMPUTE)("$workers workers, ops of $ops parts", (setting) => {
    const { fault, states } = explore(computeExploration(setting));
    expect(fault).toBeNull();
    expect(states).toBeGreaterThan(200);
  });
});

describe("a fault that is planted is found", () => {
  const inWorker = (name: SharedOp["name"], word: number) => (op: SharedOp, thread: string) =>
    thread !== "caller" && op.name === name && op.word === word;
  const inCaller = (name: SharedOp["name"], word: number) => (op: SharedOp, thread: string) =>
    thread === "caller" && op.name === name && op.word === word;
  it.each([
    ["a part is taken without an exchange", inWorker("compareExchange", TICKET), /computed 2 times/],
    ["a finished part is not counted", inWorker("add", DONE), /nobody wakes caller/],
    ["the caller does not say that it sleeps", inCaller("store", CALLER_WAITS), /nobody wakes caller/],
    ["a worker does not wake the caller", inWorker("notify", DONE), /nobody wakes caller/],
  ] as const)("%s", (_, sabotage, expected) => {
    expect(explore({ ...computeExploration({ workers: 1, ops: [2, 2] }), sabotage }).fault).toMatch(expected);
  });

  it("a worker does not say that it sleeps: no part is lost, since the caller computes what nobody takes", () => {
    const sabotage = inWorker("add", SLEEPERS);
    expect(explore({ ...computeExploration({ workers: 1, ops: [2] }), sabotage }).fault).toBeNull();
  });
});

describe("a message", () => {
  const [PART, POSTED] = [0, 4];
  const countersIn = (memory: SharedMemory) => () => new Int32Array(memory.buffer, CONTROL_BYTES, 16);
  const newMemory = () => new SharedMemory(CONTROL_BYTES + 64);

  /** Posts a message, and then calls an op of one part. */
  function caller(memory: SharedMemory): ExploredThread {
    const counters = countersIn(memory);
    const run = () => {
      const forkJoin = new ForkJoin({ spinUs: 0, lostThread: () => 0 });
      counters()[POSTED] = 1;
      forkJoin.announce();
      const order = { op: READ_LOOP, arena: ARENA, begin: 0, end: 1, scratch: 0, scratchStride: 0, arguments: [0] };
      forkJoin.run(kernels(memory), order, { chunk: 1, chunks: 1 });
      if (counters()[PART] !== 1) throw new Error("a part was not computed once");
    };
    return { name: "caller", run, mustEnd: true };
  }

  function kernels(memory: SharedMemory): WasmExports {
    const counts = countersIn(memory)();
    return { readLoop: (part: number) => void counts[PART + part]!++ } as unknown as WasmExports;
  }

  /** Until the message: it knows no arena, so that a part that it takes throws. */
  function obey(memory: SharedMemory): void {
    workUntilMessage(viewControl(memory.buffer), new Map(), 1, 0, 0);
    if (countersIn(memory)()[POSTED] !== 1) throw new Error("a message was announced before it was posted");
  }

  it("wakes a worker that sleeps, or is about to", () => {
    const explorationOf = (memory: SharedMemory) => ({
      memory,
      threads: [caller(memory), { name: "worker 1", run: () => obey(memory), mustEnd: true, isHome }],
    });
    expect(explore(explorationOf(newMemory())).fault).toBeNull();
    const deaf = (op: SharedOp, thread: string) => thread === "worker 1" && op.name === "add" && op.word === SLEEPERS;
    expect(explore({ ...explorationOf(newMemory()), sabotage: deaf }).fault).toMatch(/nobody wakes worker 1/);
  });

  it("that was posted before an op has come to whoever computes a part of it", () => {
    const memory = newMemory();
    const worker = () => {
      if (memory.resume() === 0) {
        obey(memory);
        memory.checkpoint(1);
      }
      workUntilMessage(viewControl(memory.buffer), new Map([[ARENA, kernels(memory)]]), 1, 1, 0);
    };
    const threads = [caller(memory), { name: "worker 1", run: worker, mustEnd: false, isHome }];
    expect(explore({ memory, threads }).fault).toBeNull();
  });
});

it("a worker that throws ends the op with its error, also for a caller that has just gone to sleep", () => {
  const memory = new SharedMemory(CONTROL_BYTES + 64);
  const caller = () => {
    const forkJoin = new ForkJoin({ spinUs: 0, lostThread: () => 0 });
    const wasm = { readLoop: () => 0 } as unknown as WasmExports;
    const order = { op: READ_LOOP, arena: ARENA, begin: 0, end: 2, scratch: 0, scratchStride: 0, arguments: [0] };
    let code = "nothing";
    try {
      forkJoin.run(wasm, order, { chunk: 1, chunks: 2 });
      code = "done";
    } catch (error) {
      code = (error as { code: string }).code;
    }
    const failed = new Int32Array(memory.buffer, CONTROL_BYTES, 1)[0] === 1;
    if (code !== "done" && code !== "THREAD_FAILED") throw new Error(`the op ended with ${code}`);
    if (failed && code === "done") throw new Error("the op is done, although a part of it has failed");
  };
  const worker = () => {
    const readLoop = () => {
      new Int32Array(memory.buffer, CONTROL_BYTES, 1)[0] = 1;
      throw new RangeError("out of bounds");
    };
    const instances = new Map([[ARENA, { readLoop } as unknown as WasmExports]]);
    try {
      workUntilMessage(viewControl(memory.buffer), instances, 1, 0, 0);
    } catch {
      // The thread ends.
    }
  };
  const threads: ExploredThread[] = [
    { name: "caller", run: caller, mustEnd: true },
    { name: "worker 1", run: worker, mustEnd: false, isHome },
  ];
  // It looks for failures between two sleeps of 50 ms: the only place where a time-out is needed.
  expect(explore({ memory, threads, timeOuts: true }).fault).toBeNull();
});
