/** What a soak has seen: how many of each kind, how long tokens took, and everything that was not as it must be. */
import type { RunStats, TokenStats } from "@flashwick/core";
import type { ReadTally } from "./counting-reader.js";

/** What is counted, beside tokens. */
export type Event =
  | "opened"
  | "forked"
  | "rolled back"
  | "whole"
  | "left"
  | "aborted"
  | "drafted"
  | "served"
  | "unloaded"
  | "closed";

/** Faults that are kept; more are counted. */
const MOST_FAULTS = 50;
/** Shares of a step add up to it but for rounding. */
const ROUNDING = 1e-6;

/** Filled by all rounds of a soak. Its memory does not grow with them. */
export class SoakLedger {
  readonly #events = new Map<Event, number>();
  readonly faults: string[] = [];
  /** Milliseconds of each token that a plain run computed, in order, and the model that it was of. */
  readonly #tokenMs: Float64Array;
  readonly #modelOf: Uint8Array;
  #timed = 0;
  readonly #tokens: number[] = [];
  faultCount = 0;
  /** Runs whose reads were held against the reader's own count. */
  readsChecked = 0;

  /** @param mostTokens Of which times are kept. */
  constructor(mostTokens: number) {
    this.#tokenMs = new Float64Array(mostTokens);
    this.#modelOf = new Uint8Array(mostTokens);
  }

  count(event: Event, times = 1): void {
    this.#events.set(event, this.countOf(event) + times);
  }

  countOf(event: Event): number {
    return this.#events.get(event) ?? 0;
  }

  /** A token has come. @param model Its number. */
  countToken(model: number): void {
    this.#tokens[model] = this.tokensOf(model) + 1;
  }

  /** Tokens of one model so far. */
  tokensOf(model: number): number {
    return this.#tokens[model] ?? 0;
  }

  /** Tokens of all models so far. */
  get tokens(): number {
    return this.#tokens.reduce((sum, count) => sum + (count ?? 0), 0);
  }

  fault(what: string): void {
    this.faultCount++;
    if (this.faults.length < MOST_FAULTS) this.faults.push(what);
  }

  /** A token of a plain run. @param model Its number. */
  time(model: number, ms: number): void {
    if (this.#timed === this.#tokenMs.length) return;
    this.#tokenMs[this.#timed] = ms;
    this.#modelOf[this.#timed++] = model;
  }

  /** Times of one model's tokens, ascending: of the first half of the soak, and of the second. */
  timesOf(model: number): { readonly first: Float64Array; readonly second: Float64Array } {
    const own = this.#tokenMs.subarray(0, this.#timed).filter((_, i) => this.#modelOf[i] === model);
    const half = own.length >> 1;
    return { first: own.slice(0, half).sort(), second: own.slice(half).sort() };
  }

  /** What must hold of one token's counters. */
  checkToken(where: string, stats: TokenStats): void {
    const { neuronsNamed, neuronsLoaded, cacheHits, cacheMisses, flashBytes, flashReads } = stats;
    const asked = cacheHits + cacheMisses;
    const holds =
      Math.min(neuronsNamed, neuronsLoaded, cacheHits, cacheMisses, flashBytes, flashReads) >= 0 &&
      asked <= neuronsNamed * (1 + ROUNDING) &&
      cacheMisses <= neuronsLoaded * (1 + ROUNDING) &&
      flashBytes > 0 === flashReads > 0 &&
      stats.ms >= 0;
    if (!holds) this.fault(`${where}: counters of a token do not fit: ${JSON.stringify(stats)}`);
  }

  /** What must hold of a run: it is the sum of its tokens. */
  checkRun(where: string, stats: RunStats, tokens: readonly TokenStats[]): void {
    const names = ["cacheHits", "cacheMisses", "flashBytes", "flashReads"] as const;
    for (const name of names) {
      const sum = tokens.reduce((total, token) => total + token[name], 0);
      if (Math.abs(sum - stats[name]) > ROUNDING * (1 + sum)) {
        this.fault(`${where}: ${name} of the run is ${stats[name]}, of its tokens ${sum}`);
      }
    }
  }

  /** That a run which had the model for itself counted the bytes that its reader was asked for. */
  checkReads(where: string, stats: RunStats, before: ReadTally, after: ReadTally): void {
    this.readsChecked++;
    const counted = stats.flashBytes + stats.prefillFlashBytes + stats.loadedBytes;
    const read = after.bytes - before.bytes;
    if (Math.abs(counted - read) > ROUNDING * (1 + read)) {
      this.fault(`${where}: the run counts ${counted} bytes, its reader was asked for ${read}`);
    }
  }

  /** That a text is the one that was told alone, or its beginning. */
  checkText(where: string, found: readonly number[], expected: readonly number[], isWhole: boolean): void {
    const same = found.every((token, i) => token === expected[i]) && (!isWhole || found.length === expected.length);
    if (!same) this.fault(`${where}: not as alone: found ${found.join(" ")}, expected ${expected.join(" ")}`);
  }
}
