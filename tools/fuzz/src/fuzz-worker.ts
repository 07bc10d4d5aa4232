/** A campaign in a thread of its own, which tells what it reads before it reads it: the thread may not live to tell it afterwards. */
import { parentPort, workerData } from "node:worker_threads";
import { BlockCoverage } from "./block-coverage.js";
import { runCampaign } from "./campaign.js";
import { HARNESSES } from "./harnesses.js";

/** What a worker is given. */
export interface WorkerTask {
  readonly harness: string;
  readonly seed: number;
  readonly inputs: number;
  readonly kept: readonly Uint8Array[];
  readonly untilMs: number;
  /** Two words, inputs so far and the length of the one at hand, and that input. */
  readonly shared: SharedArrayBuffer;
}

/** Bytes of the words before the input. */
export const SHARED_HEAD_BYTES = 8;

/** Runs the task that the thread was started with. */
export async function runWorker(): Promise<void> {
  const { harness: name, seed, inputs, kept, untilMs, shared } = workerData as WorkerTask;
  const harness = HARNESSES.find((one) => one.name === name)!;
  const words = new Int32Array(shared, 0, 2);
  const bytes = new Uint8Array(shared, SHARED_HEAD_BYTES);
  const onInput = (input: Uint8Array) => {
    bytes.set(input.subarray(0, bytes.length));
    words[1] = Math.min(input.length, bytes.length);
    Atomics.add(words, 0, 1);
  };
  const coverage = new BlockCoverage(import.meta.url);
  const isOver = () => Date.now() >= untilMs;
  parentPort!.postMessage(await runCampaign(harness, { seed, inputs, kept, coverage, onInput, isOver }));
}
