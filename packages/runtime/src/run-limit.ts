/** The physical limit of a run's mean token: what it must read from DRAM and from flash, over bandwidths that somebody measured. Pure. */
import { KV_PAGE_TOKENS, kvPartBytes, type LeftMs, type RunLimit, type RunStats } from "@flashwick/core";
import { type Bandwidths, gateBytes, tokenLimits } from "@flashwick/cost-model";
import type { ModelHeader } from "@flashwick/flash-format";
import type { PredictorShapes } from "./estimate.js";
import { shapeOf } from "./model-shape.js";

/** Bytes a second of one machine, measured with a run's own threads, readers and read size. */
export interface MeasuredBandwidths {
  readonly dramBytesPerSec: number;
  /** 0 where the run reads nothing. */
  readonly flashBytesPerSec: number;
  /** Both at the same time; null where one thread does both, and so one after the other. */
  readonly together: Bandwidths | null;
}

/** The run whose limit is asked for. */
export interface FinishedRun {
  readonly stats: RunStats;
  /** Tokens before the first that is counted: the prompt, and what was decoded before. */
  readonly tokensBefore: number;
}

/**
 * Bytes that the mean token of a run reads from DRAM: attention, resident gates and head once, the predictor in predicted mode, the named neurons (those that
 * have just come from flash, too), and the keys and values before it. Norms and biases, less than a thousandth, are left out.
 */
export function tokenDramBytes(
  header: ModelHeader,
  predictor: Pick<PredictorShapes, "layers"> | null,
  { stats, tokensBefore }: FinishedRun,
): number {
  const shape = shapeOf(header, stats.mode === "predicted" ? predictor : null);
  const predictorBytes = shape.predictor?.bytesByLayer.reduce((sum, bytes) => sum + bytes, 0) ?? 0;
  // The i-th of n tokens reads the keys and values of all before it, and its own.
  const meanTokens = tokensBefore + (countDecoded(stats) + 1) / 2;
  return (
    shape.nLayers * shape.attentionBytes +
    gateBytes(shape) +
    shape.headBytes +
    predictorBytes +
    stats.neuronsNamedPerToken * shape.recordBytes +
    (meanTokens * shape.nLayers * kvPartBytes(stats.kvDType, shape.nKvHeads, shape.headDim)) / KV_PAGE_TOKENS
  );
}

/** Tokens that a run's means are over. */
export function countDecoded({ decodeMs, tokenMs }: RunStats): number {
  return tokenMs.mean > 0 ? Math.round(decodeMs / tokenMs.mean) : 0;
}

/**
 * The least time of a run's mean token: the bytes that it must move, over the bandwidths that were measured.
 *
 * @param dramBytes As {@link tokenDramBytes}.
 */
export function runLimit(stats: RunStats, dramBytes: number, measured: MeasuredBandwidths): RunLimit {
  const { dramBytesPerSec, flashBytesPerSec, together } = measured;
  const flashBytes = stats.flashBytesPerToken;
  const { dramMs, flashMs, overlappedMs } = tokenLimits({
    dramBytes,
    dramBytesPerSec,
    flashBytes,
    flashBytesPerSec: flashBytes === 0 ? Number.POSITIVE_INFINITY : flashBytesPerSec,
    together,
  });
  return {
    dramBytes,
    dramBytesPerSec,
    dramMs,
    flashBytesPerSec,
    flashMs,
    togetherMs: overlappedMs,
    times: stats.tokenMs.mean / overlappedMs,
    leftMs: leftOf(stats, dramMs, flashMs, overlappedMs),
  };
}

function leftOf({ msPerToken }: RunStats, dramMs: number, flashMs: number, togetherMs: number): LeftMs {
  const { predict, attention, ffn, head, readWait, cache, check, other } = msPerToken;
  // Waiting for less than the reads take is reads that were hidden: they were not done in turns.
  const hiddenMs = Math.max(0, flashMs - readWait);
  return {
    reads: Math.max(0, readWait - flashMs),
    compute: predict + attention + ffn + head - dramMs,
    cache,
    check,
    other,
    inTurns: dramMs + flashMs - togetherMs - hiddenMs,
  };
}
