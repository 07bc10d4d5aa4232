/**
 * Inputs for one harness, one after the other: kept ones first, then changes of them.
 *
 * What must hold of every input: it is read, or refused with a typed error; within the harness's time and growth of the heap; what all objects share
 * stays as it was; and nothing is printed. Anything else is a fault, and the campaign goes on.
 */
import { getHeapStatistics, type HeapInfo } from "node:v8";
import { isFlashwickError, Random } from "@flashwick/core";
import { ApiError } from "@flashwick/server";
import type { BlockCoverage } from "./block-coverage.js";
import { ConsoleWatch } from "./console-watch.js";
import type { Harness } from "./harness.js";
import { createMutator } from "./mutator.js";
import { PrototypeWatch } from "./prototype-watch.js";

/** What was found wrong, with the first input that showed it. */
export interface Fault {
  readonly what: string;
  readonly input: Uint8Array;
  count: number;
}

/** What is asked of a campaign. */
export interface CampaignOptions {
  /** Names the inputs: the same ones come of the same seed and kept inputs. */
  readonly seed: number;
  /** Inputs that are made, beside those that are kept. */
  readonly inputs: number;
  /** Kept inputs, beside the harness's seeds. */
  readonly kept?: readonly Uint8Array[];
  /** Guides the first tenth of the inputs. Default: none. */
  readonly coverage?: BlockCoverage | null;
  /** Called with each input before it is read. */
  readonly onInput?: (input: Uint8Array) => void;
  /** Ends the campaign early. */
  readonly isOver?: () => boolean;
}

/** What a campaign came to. */
export interface CampaignResult {
  readonly inputs: number;
  readonly seconds: number;
  readonly longestMs: number;
  readonly largestGrowthBytes: number;
  readonly faults: readonly Fault[];
  /** Inputs that reached what none before had. */
  readonly found: readonly Uint8Array[];
}

const BATCH = 64;
/** V8 takes some tens of milliseconds to tell what has run. */
const GUIDED_BATCH = 256;
/** Of the inputs, those that are guided. */
const GUIDED_SHARE = 0.1;
/** An input over the limit of time is read again: another process may have had the core meanwhile. */
const TRIES = 4;
/** Slower ones would be changed into ever slower ones. */
const KEPT_MS = 20;

/** Runs a campaign in this thread. */
export async function runCampaign(harness: Harness, options: CampaignOptions): Promise<CampaignResult> {
  return await new Campaign(harness, options, [...(await harness.seeds()), ...(options.kept ?? [])]).run();
}

class Campaign {
  readonly #harness: Harness;
  readonly #options: CampaignOptions;
  readonly #random: Random;
  readonly #pool: Uint8Array[];
  readonly #watch = new PrototypeWatch();
  readonly #faults = new Map<string, Fault>();
  readonly #found: Uint8Array[] = [];
  #inputs = 0;
  #current = new Uint8Array(0) as Uint8Array;
  #longestMs = 0;
  #largestGrowth = 0;

  constructor(harness: Harness, options: CampaignOptions, pool: Uint8Array[]) {
    this.#harness = harness;
    this.#options = options;
    this.#random = new Random(options.seed, harness.name.length);
    this.#pool = pool;
  }

  async run(): Promise<CampaignResult> {
    const silence = new ConsoleWatch((what) =>
      this.#fault("writes to the console", `writes to the console: ${what}`, this.#current),
    );
    try {
      return await this.#readAll();
    } finally {
      silence.end();
    }
  }

  async #readAll(): Promise<CampaignResult> {
    const begin = performance.now();
    const { coverage = null, inputs } = this.#options;
    for (const input of [...this.#pool]) await this.#read(input);
    coverage?.takeNews();
    const mutate = createMutator(this.#harness, this.#random);
    const guided = coverage ? Math.floor(inputs * GUIDED_SHARE) : 0;
    const made = () => mutate(this.#some(), this.#some());
    for (let done = 0; done < guided && !this.#isOver; done += GUIDED_BATCH) await this.#readGuided(coverage!, made);
    coverage?.stop();
    while (this.#inputs < inputs && !this.#isOver) await this.#readBatch(made);
    return {
      inputs: this.#inputs,
      seconds: (performance.now() - begin) / 1000,
      longestMs: this.#longestMs,
      largestGrowthBytes: this.#largestGrowth,
      faults: [...this.#faults.values()],
      found: this.#found,
    };
  }

  get #isOver(): boolean {
    return this.#options.isOver?.() ?? false;
  }

  #some(): Uint8Array {
    return this.#pool[this.#random.below(this.#pool.length)]!;
  }

  async #readBatch(made: () => Uint8Array): Promise<void> {
    for (let i = 0; i < BATCH; i++) await this.#read(made());
    this.#checkPrototypes(`one of ${BATCH} inputs`);
    // Timers and streams of readers get their turn.
    await new Promise((resolve) => setImmediate(resolve));
  }

  async #readGuided(coverage: BlockCoverage, made: () => Uint8Array): Promise<void> {
    const batch: Uint8Array[] = [];
    for (let i = 0; i < GUIDED_BATCH; i++) {
      const input = made().slice();
      if ((await this.#read(input)) <= KEPT_MS) batch.push(input);
    }
    this.#checkPrototypes(`one of ${GUIDED_BATCH} inputs`);
    if (coverage.hasNews()) await this.#keepNews(coverage, batch);
  }

  /** Reads the halves of a batch again, and their halves, down to the inputs that reach something new: they are kept. */
  async #keepNews(coverage: BlockCoverage, batch: readonly Uint8Array[]): Promise<void> {
    for (const half of [batch.slice(0, batch.length >> 1), batch.slice(batch.length >> 1)]) {
      for (const input of half) await this.#read(input);
      if (half.length > 1 && coverage.hasNews()) await this.#keepNews(coverage, half);
      if (half.length !== 1 || !coverage.takeNews()) continue;
      this.#pool.push(half[0]!);
      this.#found.push(half[0]!);
    }
  }

  /** @returns Milliseconds. */
  async #read(input: Uint8Array): Promise<number> {
    this.#inputs++;
    this.#current = input;
    this.#options.onInput?.(input);
    const { limits } = this.#harness;
    const { ms: first, growth } = await this.#measure(input);
    let ms = first;
    for (let again = 1; again < TRIES && ms > limits.ms; again++) ms = Math.min(ms, (await this.#measure(input)).ms);
    this.#longestMs = Math.max(this.#longestMs, ms);
    this.#largestGrowth = Math.max(this.#largestGrowth, growth);
    if (ms > limits.ms) this.#fault(`takes more than ${limits.ms} ms`, `takes ${ms.toFixed()} ms`, input);
    if (growth > limits.growthBytes) this.#fault("grows the heap", `grows the heap by ${growth} bytes`, input);
    if (this.#watch.hasNewKeys) this.#checkPrototypes("this input", input);
    return ms;
  }

  async #measure(input: Uint8Array): Promise<{ ms: number; growth: number }> {
    const before = getHeapStatistics();
    const begin = performance.now();
    try {
      await this.#harness.read(input);
    } catch (error) {
      if (!isTyped(error)) this.#fault(kindOf(error), textOf(error), input);
    }
    return { ms: performance.now() - begin, growth: growthSince(before) };
  }

  #checkPrototypes(which: string, input: Uint8Array = new Uint8Array(0)): void {
    const change = this.#watch.findChange();
    if (change === null) return;
    this.#watch.restore();
    this.#fault(`prototype ${change}`, `${which} changes ${change}`, input);
  }

  #fault(kind: string, what: string, input: Uint8Array): void {
    const known = this.#faults.get(kind);
    if (known) known.count++;
    else this.#faults.set(kind, { what, input: input.slice(), count: 1 });
  }
}

/** Of objects, and of what lies outside of them: array buffers. A collection of one hides no growth of the other. */
function growthSince(before: HeapInfo): number {
  const now = getHeapStatistics();
  const objects = now.used_heap_size - before.used_heap_size;
  const buffers = now.external_memory - before.external_memory;
  return Math.max(0, objects) + Math.max(0, buffers);
}

function isTyped(error: unknown): boolean {
  return isFlashwickError(error) || error instanceof ApiError;
}

/** Two errors from one place are one fault. */
function kindOf(error: unknown): string {
  if (!(error instanceof Error)) return `throws ${typeof error}`;
  const frames = (error.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line));
  return `${error.name} ${frames.slice(0, 2).join(" ")}`;
}

function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
