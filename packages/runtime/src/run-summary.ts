/** From the cost of each token to the statistics of a run. */
import {
  type DramAccount,
  type FfnLayout,
  ffnBytes,
  type ModelGeometry,
  type PhaseMs,
  type PredictedRun,
  type RunStats,
  type SpeculationStats,
  type TokenStats,
  unitsByLayer,
} from "@flashwick/core";

/** What the statistics of a run are made from. */
export interface RunFacts {
  readonly geometry: ModelGeometry;
  readonly weights: FfnLayout;
  readonly backend: string;
  readonly activationBits?: 8 | undefined;
  readonly ioMode: RunStats["ioMode"];
  readonly mode: RunStats["mode"];
  readonly kvDType: RunStats["kvDType"];
  readonly policy: string;
  readonly threads: number;
  readonly readers: number;
  readonly mergeGapBytes: number;
  readonly dramBytes: DramAccount;
  readonly predicted?: PredictedRun | null;
  readonly prefill: readonly TokenStats[];
  readonly decode: readonly TokenStats[];
  readonly speculation?: SpeculationStats | null;
  readonly loadedBytes?: number;
  readonly reusedTokens?: number;
}

/** @returns Per-token figures over `decode` alone; all zero when nothing was decoded. `limit` is null: who can measure it adds it. */
export function summarizeRun(facts: RunFacts): RunStats {
  const { decode, prefill, geometry, weights } = facts;
  const n = Math.max(decode.length, 1);
  const total = (pick: (token: TokenStats) => number, tokens = decode) =>
    tokens.reduce((sum, token) => sum + pick(token), 0);
  const decodeMs = total((token) => token.ms);
  const prefillMs = total((token) => token.ms, prefill);
  const sorted = decode.map((token) => token.ms).sort((a, b) => a - b);
  const phases: (keyof PhaseMs)[] = ["predict", "cache", "check", "readWait", "attention", "ffn", "head", "other"];
  const units = unitsByLayer(geometry).reduce((sum, n) => sum + n, 0);
  const cacheHits = total((token) => token.cacheHits);
  const cacheMisses = total((token) => token.cacheMisses);
  const perPhase = phases.map((phase) => [phase, total((token) => token.phaseMs[phase]) / n]);
  return {
    backend: facts.backend,
    activationBits: facts.activationBits ?? null,
    ioMode: facts.ioMode,
    mode: facts.mode,
    kvDType: facts.kvDType,
    policy: facts.policy,
    threads: facts.threads,
    readers: facts.readers,
    mergeGapBytes: facts.mergeGapBytes,
    prefillMs,
    prefillFlashBytes: total((token) => token.flashBytes, prefill),
    prefillFlashReads: total((token) => token.flashReads, prefill),
    decodeMs,
    tokensPerSec: decodeMs > 0 ? (1000 * decode.length) / decodeMs : 0,
    timeToFirstTokenMs: prefillMs,
    tokenMs: {
      mean: decodeMs / n,
      p50: percentile(sorted, 0.5),
      p90: percentile(sorted, 0.9),
      p99: percentile(sorted, 0.99),
      max: percentile(sorted, 1),
    },
    flashBytes: total((token) => token.flashBytes),
    flashReads: total((token) => token.flashReads),
    flashBytesPerToken: total((token) => token.flashBytes) / n,
    readsPerToken: total((token) => token.flashReads) / n,
    naiveFlashBytesPerToken: ffnBytes(geometry, weights),
    naiveReadsPerToken: units * (weights.layout === "split" ? 2 : 1),
    neuronsNamedPerToken: total((token) => token.neuronsNamed) / n,
    neuronsLoadedPerToken: total((token) => token.neuronsLoaded) / n,
    cacheHits,
    cacheMisses,
    cacheHitShare: hitShare(cacheHits, cacheMisses),
    msPerToken: Object.fromEntries(perPhase) as unknown as PhaseMs,
    flashMsPerToken: total((token) => token.flashMs) / n,
    dramBytes: facts.dramBytes,
    predicted: facts.predicted ?? null,
    speculation: facts.speculation ?? null,
    loadedBytes: facts.loadedBytes ?? 0,
    reusedTokens: facts.reusedTokens ?? 0,
    limit: null,
  };
}

/** Of what caches were asked for, 0 to 1; null where nothing was. */
export function hitShare(cacheHits: number, cacheMisses: number): number | null {
  const asked = cacheHits + cacheMisses;
  return asked > 0 ? cacheHits / asked : null;
}

/** Nearest-rank percentile of ascending values; 0 of none. */
export function percentile(ascending: readonly number[], share: number): number {
  if (ascending.length === 0) return 0;
  return ascending[Math.min(ascending.length - 1, Math.max(0, Math.ceil(share * ascending.length) - 1))]!;
}
