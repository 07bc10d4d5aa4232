/** The loop of a compute thread, entered by the test's own thread in the middle of an op. */
import { isFlashwickError } from "@flashwick/core";
import { expect, it, onTestFinished, vi } from "vitest";
import type { WasmExports } from "../wasm-exports.js";
import { READ_LOOP, viewControl } from "./control-block.js";
import { ForkJoin, type Order } from "./fork-join.js";
import { workUntilMessage } from "./worker-loop.js";

const order: Order = { op: READ_LOOP, arena: 7, begin: 0, end: 256, scratch: 0, scratchStride: 0, arguments: [1000] };
const plan = { chunk: 64, chunks: 4 };

function errorOf(run: () => void): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}

it("a worker that throws fails this op and all that follow, with its own words", () => {
  const forkJoin = new ForkJoin({ spinUs: 0, lostThread: () => 0 });
  const broken = (): number => {
    throw new RangeError("memory access out of bounds");
  };
  const instances = new Map([[7, { readLoop: broken } as unknown as WasmExports]]);
  const read: number[] = [];
  const caller = {
    readLoop(ptr: number) {
      if (read.push(ptr) > 1) return 0;
      expect(() => workUntilMessage(viewControl(forkJoin.buffer), instances, 3, 0, 0)).toThrow(RangeError);
      return 0;
    },
  } as unknown as WasmExports;
  const first = errorOf(() => forkJoin.run(caller, order, plan));
  expect(first).toMatchObject({ code: "THREAD_FAILED", details: { thread: 3 } });
  expect(isFlashwickError(first) && first.message).toContain("compute thread 3 failed: memory access out of bounds");
  expect(read).toEqual([1000, 1128, 1192]);
  expect(errorOf(() => forkJoin.run(caller, order, plan))).toBe(first);
});

it("a worker that died with a part in hand is noticed by asking the system, which is not asked for a wait of less than 200 ms", () => {
  // No time passes here: every sleep is one that nothing has ended.
  const sleeps = vi.spyOn(Atomics, "wait").mockReturnValue("timed-out");
  onTestFinished(() => sleeps.mockRestore());
  const sleptMs = () => sleeps.mock.calls.reduce((sum, [, , , timeoutMs]) => sum + timeoutMs!, 0);
  const askedAfterMs: number[] = [];
  const lostThread = () => (askedAfterMs.push(sleptMs()) === 2 ? 2 : 0);
  const forkJoin = new ForkJoin({ spinUs: 0, lostThread });
  const { words } = viewControl(forkJoin.buffer);
  const caller = {
    readLoop(ptr: number) {
      // One chunk is taken, and never finished.
      if (ptr === 1000) Atomics.sub(words, 0, 1);
      return 0;
    },
  } as unknown as WasmExports;
  expect(() => forkJoin.run(caller, order, plan)).toThrow(/compute thread 2 ended in the middle/);
  expect(askedAfterMs).toEqual([200, 250]);
});

it("an op that throws on the calling thread throws that, and the next one runs", () => {
  const forkJoin = new ForkJoin({ spinUs: 0, lostThread: () => 0 });
  const error = new RangeError("mine");
  let calls = 0;
  const caller = {
    readLoop() {
      if (calls++ === 0) throw error;
      return 0;
    },
  } as unknown as WasmExports;
  expect(errorOf(() => forkJoin.run(caller, order, plan))).toBe(error);
  forkJoin.run(caller, order, plan);
  expect(calls).toBe(5);
});
