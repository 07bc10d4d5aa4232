/** A campaign in a thread that is watched: one that hangs, or runs out of memory, is ended, and the input that it had at hand is the fault. */
import { Worker } from "node:worker_threads";
import type { CampaignResult, Fault } from "./campaign.js";
import { SHARED_HEAD_BYTES, type WorkerTask } from "./fuzz-worker.js";
import type { Harness } from "./harness.js";

/** What is asked of a watched campaign. */
export type SupervisedOptions = Omit<WorkerTask, "harness" | "shared">;

/** How often a worker is looked at. */
const LOOK_MS = 1000;
/** An input that takes so many times its limit, or so long at least, hangs: nothing else may keep a thread so long, on a busy machine either. */
const HANG_FACTOR = 20;
const LEAST_HANG_MS = 60_000;
/** Of the young and the old heap: the largest growth that any harness allows, and what the engine itself needs. */
const MOST_HEAP_MIB = 1500;
const LARGEST_INPUT_BYTES = 2 ** 20;

/** Runs a campaign of this harness in a worker. */
export async function superviseCampaign(harness: Harness, options: SupervisedOptions): Promise<CampaignResult> {
  const shared = new SharedArrayBuffer(SHARED_HEAD_BYTES + LARGEST_INPUT_BYTES);
  const task: WorkerTask = { ...options, harness: harness.name, shared };
  const worker = new Worker(new URL(import.meta.url), {
    workerData: task,
    resourceLimits: { maxOldGenerationSizeMb: MOST_HEAP_MIB },
  });
  const begin = performance.now();
  const words = new Int32Array(shared, 0, 2);
  const lost = (what: string): CampaignResult => {
    const input = new Uint8Array(shared, SHARED_HEAD_BYTES, words[1]).slice();
    const faults: Fault[] = [{ what, input, count: 1 }];
    const seconds = (performance.now() - begin) / 1000;
    return { inputs: words[0]!, seconds, longestMs: 0, largestGrowthBytes: 0, faults, found: [] };
  };
  const watch = new HangWatch(words, Math.max(LEAST_HANG_MS, HANG_FACTOR * harness.limits.ms));
  try {
    return await new Promise<CampaignResult>((resolve) => {
      worker.on("message", resolve);
      worker.on("error", (error) => resolve(lost(`ends its thread: ${error.stack ?? error.message}`)));
      worker.on("exit", () => resolve(lost("is never done with: nothing is left to wait for")));
      watch.begin(() => resolve(lost(`is not done with after ${Math.round(watch.silentMs / 1000)} s`)));
    });
  } finally {
    watch.end();
    await worker.terminate();
  }
}

/** Tells when a worker has read no further input for too long. */
class HangWatch {
  #timer: NodeJS.Timeout | undefined;
  #seen = -1;
  #seenMs = performance.now();

  constructor(
    private readonly words: Int32Array,
    private readonly hangMs: number,
  ) {}

  get silentMs(): number {
    return performance.now() - this.#seenMs;
  }

  begin(tell: () => void): void {
    this.#timer = setInterval(() => {
      const now = Atomics.load(this.words, 0);
      if (now === this.#seen && this.silentMs > this.hangMs) return tell();
      if (now === this.#seen) return;
      this.#seen = now;
      this.#seenMs = performance.now();
    }, LOOK_MS);
  }

  end(): void {
    clearInterval(this.#timer);
  }
}
