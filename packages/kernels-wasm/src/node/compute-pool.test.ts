import { once as onceEmitted } from "node:events";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Worker } from "node:worker_threads";
import { FlashwickError } from "@flashwick/core";
import { Arena, type TrainingKernels } from "@flashwick/kernels";
import { CONFORMANCE_ARENA_BYTES, conformanceCases, runConformanceCase, titleOf } from "@flashwick/kernels/conformance";
import { capability } from "@flashwick/test-capabilities";
import { afterAll, describe, expect, it } from "vitest";
import type { ThreadSetup } from "../threads/compute-pool.js";
import { everySplitOp } from "../threads/every-split-op.fixture.js";
import { createWasmKernels } from "../wasm-kernels.js";
import { createComputePool, launchWorker, startPool } from "./compute-pool.js";

for (const threads of [1, 2, 4]) {
  describe(`wasm kernels on ${threads} threads, everything split that can be`, async () => {
    const pool = await startPool({ threads }, { leastWork: 0 });
    const kernels = pool.kernels(new Arena(CONFORMANCE_ARENA_BYTES, true));
    for (const c of conformanceCases) it(titleOf(c), () => expect(() => runConformanceCase(kernels, c)).not.toThrow());
    afterAll(() => pool.close());
  });
}

describe("compute pool", () => {
  const once = everySplitOp(createWasmKernels(new Arena(4 * 2 ** 20, true)));

  for (const threads of [2, 3, 5]) {
    it(`gives one thread's bits on ${threads}, whoever computes what`, async () => {
      const pool = await startPool({ threads }, { leastWork: 0 });
      for (let round = 0; round < 3; round++) {
        const arena = new Arena(4 * 2 ** 20, true);
        expect(Buffer.compare(everySplitOp(pool.kernels(arena)), once)).toBe(0);
        pool.release(arena);
      }
      await pool.close();
    });
  }

  it("has scratch for every thread, computes alone in unshared memory, and gives the same bits there", async () => {
    const pool = await createComputePool({ threads: 3 });
    const one = createWasmKernels(new Arena(1000));
    for (const shared of [true, false]) {
      const kernels = pool.kernels(new Arena(4 * 2 ** 20, shared));
      expect(kernels.scratchBytes(100, 3)).toBe(3 * 64 * Math.ceil(one.scratchBytes(100, 3) / 64));
      expect(kernels.attentionScratchBytes(9)).toBe(3 * 64 * Math.ceil(one.attentionScratchBytes(9) / 64));
      expect(Buffer.compare(everySplitOp(kernels), once)).toBe(0);
    }
    await pool.close();
  });

  it("lets go of a released arena, and takes it in again", async () => {
    const pool = await startPool({ threads: 2 }, { leastWork: 0 });
    const arena = new Arena(2 ** 20, true);
    const run = (kernels: TrainingKernels) => kernels.crc32cSlots(200_000, 70_000, 16, 16, 80_000, 50);
    const kernels = pool.kernels(arena);
    expect(pool.kernels(arena)).toBe(kernels);
    run(kernels);
    pool.release(arena);
    pool.release(arena);
    expect(() => run(kernels)).toThrow(/closed/);
    run(pool.kernels(arena));
    await pool.close();
    pool.release(arena);
  });

  it("lets a released arena be freed although a thread has seen it", async () => {
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const BYTES = 192 * 2 ** 20;
    const pool = await startPool({ threads: 2 });
    const before = (() => {
      const arena = new Arena(BYTES, true);
      arena.bytes.fill(1);
      pool.kernels(arena);
      const resident = process.memoryUsage.rss();
      pool.release(arena);
      return resident;
    })();
    // The thread lets go of it when it comes to it.
    const residentBytes = () => {
      collect();
      return process.memoryUsage.rss();
    };
    await expect.poll(residentBytes, { interval: 1 }).toBeLessThan(before - 0.8 * BYTES);
    setFlagsFromString("--no-expose-gc");
    await pool.close();
  });

  it("changes no flag of V8 when an arena is released: flags are the whole process's", async () => {
    const before = runInNewContext("typeof gc");
    const workers: Worker[] = [];
    let broken = false;
    const launch = (data: ThreadSetup) => {
      const worker = launchWorker(data);
      const post = worker.postMessage.bind(worker);
      worker.postMessage = (message: object) => post(broken ? { ...message, memory: {} } : message);
      return workers[workers.push(worker) - 1]!;
    };
    const pool = await startPool({ threads: 2 }, { launch });
    const arena = new Arena(2 ** 20, true);
    pool.kernels(arena);
    pool.release(arena);
    // A memory that cannot be instantiated ends the thread: then it has dealt with all messages before.
    broken = true;
    const ended = onceEmitted(workers[0]!, "error");
    pool.kernels(new Arena(2 ** 20, true));
    await ended;
    expect(runInNewContext("typeof gc")).toBe(before);
    await pool.close();
  });

  it("ends its threads, and may be closed twice", async () => {
    const workers: Worker[] = [];
    const launch = (data: ThreadSetup) => workers[workers.push(launchWorker(data)) - 1]!;
    const pool = await startPool({ threads: 3 }, { launch, leastWork: 0 });
    const kernels = pool.kernels(new Arena(2 ** 20, true));
    expect(workers.map(({ threadId }) => threadId > 0)).toEqual([true, true]);
    await Promise.all([pool.close(), pool.close()]);
    await pool.close();
    expect(workers.map(({ threadId }) => threadId)).toEqual([-1, -1]);
    expect(() => kernels.crc32cSlots(200_000, 70_000, 16, 16, 80_000, 50)).toThrow(/closed/);
    expect(() => pool.kernels(new Arena(1000, true))).toThrow(/closed/);
  });

  it("refuses numbers of threads that make no sense", async () => {
    await expect(createComputePool({ threads: 0 })).rejects.toMatchObject({ code: "INPUT_INVALID" });
    await expect(createComputePool({ threads: 1.5 })).rejects.toMatchObject({ code: "INPUT_INVALID" });
  });
});

/** A worker that greets as a real one does, then runs `code`, with the control block's words at hand. */
function fakeWorker(code: string): (data: ThreadSetup) => Worker {
  const script = `
    const { parentPort, workerData } = require("node:worker_threads");
    const words = new Int32Array(workerData.buffer, 0, 64);
    let osThreadId = 0;
    try { osThreadId = Number(require("node:fs").readlinkSync("/proc/thread-self").split("/").pop()); } catch {}
    parentPort.postMessage({ osThreadId });
    ${code}`;
  return (workerData) => new Worker(script, { eval: true, workerData, execArgv: [] });
}

const TAKE_A_CHUNK = `
  for (let taken = false; !taken; ) {
    const ticket = Atomics.load(words, 0);
    taken = (ticket & 1023) > 0 && Atomics.compareExchange(words, 0, ticket, ticket - 1) === ticket;
  }`;

/** Of some 50 µs each. */
const MOST_OPS = 1_000_000;

/**
 * Ops without a turn of the event loop between, until one throws. A loop without turns is none that vitest's time-out can end:
 * the count is the deadline, some minutes.
 */
function errorOfOps(kernels: TrainingKernels): unknown {
  for (let op = 0; op < MOST_OPS; op++) {
    try {
      kernels.crc32cSlots(200_000, 70_000, 16, 16, 80_000, 5000);
    } catch (error) {
      return error;
    }
  }
  return undefined;
}

describe("a compute thread that is lost", () => {
  const { platform } = process;
  const linux = capability("linux", platform === "linux" ? null : `on ${platform} only the long time-out tells`);
  it.skipIf(linux.isMissing)(linux.title("in the middle of an op is a typed error, then and ever after"), async () => {
    const launch = fakeWorker(`${TAKE_A_CHUNK} process.exit(3);`);
    const pool = await startPool({ threads: 2 }, { launch, leastWork: 0 });
    const kernels = pool.kernels(new Arena(2 ** 20, true));
    const error = errorOfOps(kernels);
    expect(error).toBeInstanceOf(FlashwickError);
    expect(error).toMatchObject({ code: "THREAD_FAILED", details: { thread: 1 } });
    expect(errorOfOps(kernels)).toBe(error);
    await pool.close();
    expect(errorOfOps(kernels)).toBe(error);
  });

  it("between two ops fails the next one", async () => {
    const workers: Worker[] = [];
    const launch = (data: ThreadSetup) => workers[workers.push(launchWorker(data)) - 1]!;
    const pool = await startPool({ threads: 2 }, { launch, leastWork: 0 });
    const kernels = pool.kernels(new Arena(2 ** 20, true));
    await workers[0]!.terminate();
    expect(errorOfOps(kernels)).toMatchObject({ code: "THREAD_FAILED" });
    await pool.close();
  });

  it("while the pool starts is reported, and nothing is left running", async () => {
    const workers: Worker[] = [];
    const launch = (data: ThreadSetup) => {
      const broken = () => new Worker("throw new Error('no such luck')", { eval: true, workerData: data });
      return workers[workers.push(data.thread === 2 ? broken() : launchWorker(data)) - 1]!;
    };
    const starting = startPool({ threads: 3 }, { launch });
    await expect(starting).rejects.toMatchObject({ code: "THREAD_FAILED", message: /thread 2 failed: no such luck/ });
    expect(workers.map(({ threadId }) => threadId)).toEqual([-1, -1]);
  });
});
