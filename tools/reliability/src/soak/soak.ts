/**
 * Many tokens in one process: every model's stories are told over and over, disturbed and undisturbed, and what is left over is counted.
 *
 * A lap opens all models, lets each have its rounds, two of them at once now and then, unloads some, and closes all. What the process holds is looked at
 * after each lap twice: while the models are loaded and nothing runs, and when they are closed; V8 has collected its garbage both times.
 */
import { Random } from "@flashwick/core";
import { provokeCollection } from "@flashwick/kernels-wasm/node";
import { openModel } from "@flashwick/runtime/node";
import { type CountedModel, openCounted } from "./counting-reader.js";
import { SoakLedger } from "./ledger.js";
import { descriptorCount, MemoryWatch, type ProcessCounts, residentSize, threadCount } from "./process-counts.js";
import { SequencesRound } from "./sequences-round.js";
import type { SoakModel } from "./soak-models.js";
import { makeStories, type Story, type Told, tellAlone } from "./story.js";
import { togetherRound } from "./together-round.js";
import type { Teller } from "./visit.js";

/** What is asked of a soak. */
export interface SoakOptions {
  readonly models: readonly SoakModel[];
  readonly tokens: number;
  /** Ends the soak after a lap, however many tokens have come. Default: never. */
  readonly isOver?: () => boolean;
  /** The stories, and what is done to them as far as the order of events allows. */
  readonly seed: number;
  /** Of each model. */
  readonly stories: number;
  /** Tokens of a model's round. */
  readonly roundTokens: number;
  readonly onLap?: (sample: LapSample) => void;
  /** Hears of what was told alone, and how long it took. */
  readonly onTold?: (model: string, tokens: number, seconds: number) => void;
}

/** What the process held after a lap. */
export interface LapSample {
  /** Tokens so far. */
  readonly tokens: number;
  /** Resident, with all models loaded and nothing running. */
  readonly loadedBytes: number;
  /** Resident, with all models closed. */
  readonly closedBytes: number;
  /** With all models closed. */
  readonly counts: ProcessCounts;
}

/** What a soak came to. */
export interface SoakResult {
  readonly ledger: SoakLedger;
  readonly samples: readonly LapSample[];
  /** With all models closed, before the first lap. */
  readonly before: ProcessCounts;
  readonly seconds: number;
  /** The most that was ever resident. */
  readonly mostBytes: number;
  /** WebAssembly memories that were made in all. */
  readonly memoriesMade: number;
}

/** A model of the soak with what is told of it. */
interface Cast {
  readonly model: SoakModel;
  readonly stories: readonly Story[];
  readonly told: readonly Told[];
}

/** Rounds of each model in a lap: of both kinds. */
const ROUNDS = 4;
/** A second look at what should be gone: threads end, and V8 collects, when they see fit. */
const LOOKS = 50;

/** Runs a soak. @throws Whatever a request throws that should not: the soak ends there. */
export async function soak(options: SoakOptions): Promise<SoakResult> {
  const watch = new MemoryWatch();
  try {
    return await new Soak(options, watch).run();
  } finally {
    watch.end();
  }
}

class Soak {
  readonly #options: SoakOptions;
  readonly #watch: MemoryWatch;
  readonly #random: Random;
  readonly #ledger: SoakLedger;
  readonly #samples: LapSample[] = [];
  readonly #freePages = new Map<SoakModel, { value: number | null }>();

  constructor(options: SoakOptions, watch: MemoryWatch) {
    this.#options = options;
    this.#watch = watch;
    this.#random = new Random(options.seed);
    this.#ledger = new SoakLedger(2 * options.tokens);
  }

  async run(): Promise<SoakResult> {
    const cast: Cast[] = [];
    for (const model of this.#options.models) cast.push(await this.#cast(model));
    // Code, pools of threads and caches of the system have come to their size after that.
    await this.#lap(cast);
    const { tokens: warmUp } = this.#ledger;
    this.#samples.length = 0;
    const before = await this.#counts(null);
    const begin = performance.now();
    while (this.#ledger.tokens - warmUp < this.#options.tokens && !this.#options.isOver?.()) {
      const loadedBytes = await this.#lap(cast);
      const counts = await this.#counts(before);
      const tokens = this.#ledger.tokens - warmUp;
      this.#samples.push({ tokens, loadedBytes, closedBytes: residentSize().bytes, counts });
      this.#options.onLap?.(this.#samples.at(-1)!);
    }
    return {
      ...{ ledger: this.#ledger, samples: this.#samples, before, seconds: (performance.now() - begin) / 1000 },
      ...{ mostBytes: residentSize().mostBytes, memoriesMade: this.#watch.made },
    };
  }

  async #cast(model: SoakModel): Promise<Cast> {
    const { stories: count, seed } = this.#options;
    const random = new Random(seed, model.name.length);
    const text = Array.from({ length: 4096 }, () => random.below(model.vocabSize));
    const stories = makeStories(text, count, model.isPredicted, random);
    const opened = await openModel(model.path, model.options);
    const begin = performance.now();
    try {
      const told = await tellAlone(opened, stories);
      const tokens = told.reduce((sum, { beginning, ends }) => sum + 2 * beginning.length + ends.flat().length, 0);
      this.#options.onTold?.(model.name, tokens, (performance.now() - begin) / 1000);
      return { model, stories, told };
    } finally {
      await opened.close();
    }
  }

  /** @returns Resident bytes while the models are loaded and idle. */
  async #lap(cast: readonly Cast[]): Promise<number> {
    const opened: CountedModel[] = [];
    try {
      for (const { model } of cast) opened.push(await openCounted(model));
      const rounds = cast.map((one, i) => () => this.#rounds(one, opened[i]!, i));
      // Two models at once, then the others one by one: what they share is the process.
      await Promise.all(rounds.slice(0, 2).map((run) => run()));
      for (const run of rounds.slice(2)) await run();
      await settle();
      return residentSize().bytes;
    } finally {
      for (const { model } of opened) await model.close();
      this.#ledger.count("closed", opened.length);
    }
  }

  async #rounds({ model, stories, told }: Cast, counted: CountedModel, number: number): Promise<void> {
    const roundTokens = Math.ceil(model.share * this.#options.roundTokens);
    const freePages = this.#freePages.get(model) ?? { value: null };
    this.#freePages.set(model, freePages);
    const random = new Random(this.#random.next(), number);
    const teller: Teller = { name: model.name, number, counted, random, ledger: this.#ledger, freePages };
    for (let round = 0; round < ROUNDS; round++) {
      if (round % 2 === 0) await new SequencesRound(teller, stories, told).run(roundTokens);
      else await togetherRound(teller, stories, told, roundTokens);
      if (round !== 1) continue;
      this.#ledger.count("unloaded");
      await counted.model.unload();
    }
  }

  /** With everything closed. @param before What it should be; null: not known yet. */
  async #counts(before: ProcessCounts | null): Promise<ProcessCounts> {
    for (let look = 1; ; look++) {
      await settle();
      const counts = { descriptors: descriptorCount(), threads: threadCount(), memories: this.#watch.alive };
      const left = before === null ? [] : leftOver(before, counts);
      if ((before === null && look === 3) || (before !== null && left.length === 0)) return counts;
      if (look < LOOKS) continue;
      for (const what of left) this.#ledger.fault(`left after everything was closed: ${what}`);
      return counts;
    }
  }
}

/** What is there more than before. */
function leftOver(before: ProcessCounts, now: ProcessCounts): string[] {
  const names = ["descriptors", "threads", "memories"] as const;
  return names.filter((name) => now[name] > before[name]).map((name) => `${now[name]} ${name}, before ${before[name]}`);
}

/** Lets what has ended end, and collects. */
async function settle(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 20));
  provokeCollection();
  await new Promise(setImmediate);
}
