/**
 * Where the milliseconds and the bytes of a token go. One phase is open at a time; entering another closes it, so the
 * phases add up to the whole.
 */
import type { PhaseMs, TokenStats } from "@flashwick/core";

export type Phase = keyof PhaseMs;

/** A stretch of a token's time: a phase of computing, or reads in flight, which phases go on beside. Milliseconds from the token's beginning. */
export interface TokenSpan {
  readonly what: Phase | "reads";
  readonly beginMs: number;
  readonly endMs: number;
}

const noMs = (): PhaseMs => ({ predict: 0, cache: 0, check: 0, readWait: 0, attention: 0, ffn: 0, head: 0, other: 0 });

export class TokenMeter {
  readonly #clock: () => number;
  #phase: Phase = "other";
  #since = 0;
  /** When the phase was entered, however often since. */
  #phaseSince = 0;
  #start = 0;
  #ms = noMs();
  counters = { named: 0, hits: 0, misses: 0, loaded: 0, flashBytes: 0, flashReads: 0, asideBytes: 0, asideReads: 0 };

  #readsSince = 0;
  #onSpan: ((span: TokenSpan) => void) | undefined;
  #readsMs = 0;

  /** @param clock Milliseconds, monotonic. */
  constructor(clock: () => number) {
    this.#clock = clock;
  }

  /**
   * Begins a token (or a prefill): clears everything.
   *
   * @param onSpan Hears of each phase and batch of reads as it ends.
   */
  begin(onSpan?: (span: TokenSpan) => void): void {
    this.#onSpan = onSpan;
    this.#ms = noMs();
    this.counters = {
      named: 0,
      hits: 0,
      misses: 0,
      loaded: 0,
      flashBytes: 0,
      flashReads: 0,
      asideBytes: 0,
      asideReads: 0,
    };
    this.#phase = "other";
    this.#readsMs = 0;
    // What was begun ahead, before this token, counts from now on.
    this.#since = this.#phaseSince = this.#start = this.#readsSince = this.#clock();
  }

  /** A batch of reads has begun. */
  readsIssued(): void {
    this.#readsSince = this.#clock();
  }

  /** All of it has landed. */
  readsLanded(): void {
    const now = this.#clock();
    this.#readsMs += now - this.#readsSince;
    this.#tell("reads", this.#readsSince, now);
  }

  enter(phase: Phase): void {
    const now = this.#clock();
    this.#ms[this.#phase] += now - this.#since;
    if (phase !== this.#phase) this.#tell(this.#phase, this.#phaseSince, now);
    if (phase !== this.#phase) this.#phaseSince = now;
    this.#since = now;
    this.#phase = phase;
  }

  #tell(what: TokenSpan["what"], begin: number, end: number): void {
    if (end > begin) this.#onSpan?.({ what, beginMs: begin - this.#start, endMs: end - this.#start });
  }

  /** @param aside Reads that the method itself would not do (the oracle's look at the whole layer): counted apart. */
  countReads(runs: readonly { readonly sizeBytes: number }[], aside = false): void {
    let bytes = 0;
    for (const run of runs) bytes += run.sizeBytes;
    if (aside) {
      this.counters.asideBytes += bytes;
      this.counters.asideReads += runs.length;
    } else {
      this.counters.flashBytes += bytes;
      this.counters.flashReads += runs.length;
    }
  }

  /** Ends the token and says what it cost. */
  end(): TokenStats {
    this.enter("other");
    return {
      ms: this.#since - this.#start,
      phaseMs: { ...this.#ms },
      flashBytes: this.counters.flashBytes,
      flashReads: this.counters.flashReads,
      neuronsNamed: this.counters.named,
      neuronsLoaded: this.counters.loaded,
      cacheHits: this.counters.hits,
      cacheMisses: this.counters.misses,
      flashMs: this.#readsMs,
    };
  }
}
