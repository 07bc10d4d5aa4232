/** The counters that a run reports. Per-token figures are over decoded tokens; prefill is apart. */
import type { DramAccount } from "./budget.js";

/** Milliseconds of one token by phase, measured on the orchestrating thread. */
export interface PhaseMs {
  predict: number;
  /** Memory management: what to evict, which slots to fill, what to read. */
  cache: number;
  /** Checksums of what came from flash. */
  check: number;
  /** Time in which the orchestrating thread waits for flash. */
  readWait: number;
  attention: number;
  ffn: number;
  head: number;
  other: number;
}

/** What one decoded token cost. */
export interface TokenStats {
  readonly ms: number;
  readonly phaseMs: Readonly<PhaseMs>;
  readonly flashBytes: number;
  readonly flashReads: number;
  /** Neurons named by the predictor (all of them when dense). */
  readonly neuronsNamed: number;
  readonly neuronsLoaded: number;
  readonly cacheHits: number;
  readonly cacheMisses: number;
  /**
   * Time in which reads were in flight, as far as the orchestrating thread can tell: it sees that they have landed only when it
   * looks, so where compute outlasts them this is too long, never too short.
   */
  readonly flashMs: number;
}

/** How drafting went. */
export interface SpeculationStats {
  /** Who drafted: `sparse` (the sparse path of the model itself), `lookup` (the text's own n-grams), `draft` (another model). */
  readonly drafter: string;
  /** Tokens drafted, and of them those that the verifying model chose, too. */
  readonly drafted: number;
  readonly accepted: number;
  /** Verifying steps, those without a draft included, and the tokens that each brought on average. */
  readonly steps: number;
  readonly tokensPerStep: number;
  /** Milliseconds of drafting and of verifying, in all. */
  readonly draftMs: number;
  readonly verifyMs: number;
}

/** What the cost model expected of a run, to be held against what it measured; milliseconds and counts per decoded token. */
export interface PredictedRun {
  /** The device profile that it stands on. */
  readonly device: string;
  readonly tokenMs: number;
  readonly msPerToken: Pick<PhaseMs, "predict" | "cache" | "check" | "readWait" | "attention" | "ffn" | "head">;
  /** Reads in flight. */
  readonly flashMsPerToken: number;
  readonly flashBytesPerToken: number;
  readonly readsPerToken: number;
  readonly prefillMs: number;
}

/**
 * The least that a run's mean token can take, with what the machine gave right after it: the bytes that must be read from DRAM and from flash over
 * the bandwidths measured. Everything beyond it is overhead. Milliseconds per decoded token unless the name says otherwise.
 */
export interface RunLimit {
  /** Resident weights, predictors, named neurons, keys and values. */
  readonly dramBytes: number;
  /** A loop that only reads, on the run's threads and in its memory. */
  readonly dramBytesPerSec: number;
  readonly dramMs: number;
  /** Random reads of the run's mean size, by its readers; 0 where it reads nothing. */
  readonly flashBytesPerSec: number;
  readonly flashMs: number;
  /** Both at the same time, as far as they leave each other bandwidth. */
  readonly togetherMs: number;
  /** How many times longer the mean token took. */
  readonly times: number;
  /** What the mean token took beyond `togetherMs`, by cause: they add up to it. */
  readonly leftMs: LeftMs;
}

/** What is left of a token's time beyond its limit; a negative figure is a phase that was faster than what was measured afterwards. */
export interface LeftMs {
  /** Waiting for flash, longer than `flashMs`. */
  readonly reads: number;
  /** Arithmetic, longer than `dramMs`. */
  readonly compute: number;
  readonly cache: number;
  readonly check: number;
  readonly other: number;
  /** Reading and computing one after the other, where both could have been done at once. */
  readonly inTurns: number;
}

/** The `stats` of `flashwick run --json`. */
export interface RunStats {
  readonly backend: string;
  /** Of activations beside rows of ggml's blocks, where that was asked for; null: the default, 15. */
  readonly activationBits: 8 | null;
  readonly ioMode: "direct" | "buffered" | "memory";
  readonly mode: "dense" | "predicted" | "gate-first" | "pruned" | "oracle";
  readonly kvDType: "f32" | "f16" | "int8";
  readonly policy: string;
  readonly prefillMs: number;
  readonly prefillFlashBytes: number;
  readonly prefillFlashReads: number;
  readonly decodeMs: number;
  readonly tokensPerSec: number;
  readonly timeToFirstTokenMs: number;
  /** `max`: of the slowest token. */
  readonly tokenMs: {
    readonly mean: number;
    readonly p50: number;
    readonly p90: number;
    readonly p99: number;
    readonly max: number;
  };
  readonly flashBytes: number;
  readonly flashReads: number;
  readonly flashBytesPerToken: number;
  readonly readsPerToken: number;
  /** What a reader without predictor and cache would fetch per token: every FFN record. */
  readonly naiveFlashBytesPerToken: number;
  readonly naiveReadsPerToken: number;
  readonly neuronsNamedPerToken: number;
  readonly neuronsLoadedPerToken: number;
  readonly cacheHits: number;
  readonly cacheMisses: number;
  /** Of the neurons, or experts, that caches were asked for: 0 to 1; null where none was asked. */
  readonly cacheHitShare: number | null;
  readonly msPerToken: Readonly<PhaseMs>;
  /** Time in which reads were in flight, per token. */
  readonly flashMsPerToken: number;
  /** Threads that compute and threads that read; 0 readers: the calling thread reads. */
  readonly threads: number;
  readonly readers: number;
  readonly mergeGapBytes: number;
  readonly dramBytes: DramAccount;
  /** Null where no device profile is known, or nothing of the predictor's habits. */
  readonly predicted: PredictedRun | null;
  /** Null where nothing was drafted. */
  readonly speculation: SpeculationStats | null;
  /** Bytes of resident weights, and of hot experts, that were read for this run; 0 where they were in DRAM already. */
  readonly loadedBytes: number;
  /** Tokens whose keys and values were there already. */
  readonly reusedTokens: number;
  /** Null where it was not measured. */
  readonly limit: RunLimit | null;
}
