/** What a run costs: its tokens one after the other, while the cache fills and keys and values grow; then what binds it. */
import type { SparsityStatistics } from "@flashwick/core";
import type { PrefillCost } from "./cost-figures.js";
import { kernelBytesPerSec } from "./kernel-time.js";
import { residentFfnBytes } from "./mixture-shape.js";
import { denseBytes, denseBytesByType, gateBytes } from "./model-shape.js";
import type { TokenRequest } from "./pass-request.js";
import { prefillCost } from "./prefill-cost.js";
import { type TokenCost, tokenCost } from "./token-cost.js";
import { type TokenLimits, tokenLimits } from "./token-limits.js";

/** How long a run is, in tokens. */
export interface RunLength {
  readonly promptTokens: number;
  readonly decodeTokens: number;
  /** Decoded tokens that are not counted: while they pass, the cache warms up. Default 0. */
  readonly warmUpTokens?: number;
  readonly batchTokens: number;
  /** Positions at which the run is looked at; it changes slowly. Default 6. */
  readonly looks?: number;
}

/** What a token's time goes to most: `cpu` is deciding, checking and calling; `compute` arithmetic that memory could feed faster. */
export type Bound = "flash" | "dram" | "compute" | "cpu";

/** What a run costs: its mean token, its prompt, its limits. */
export interface RunCost {
  /** The mean over the decoded tokens. */
  readonly token: TokenCost;
  readonly tokensPerSec: number;
  /** Milliseconds of a token that names as many neurons as one in two, nine in ten, 99 in a hundred do; null if not known. */
  readonly percentilesMs: { readonly p50: number; readonly p90: number; readonly p99: number } | null;
  readonly prefill: PrefillCost;
  readonly limits: TokenLimits;
  readonly bound: Bound;
}

const LOOKS = 6;
/** A kernel that reaches this share of the read loop is held up by DRAM. */
const DRAM_BOUND_SHARE = 0.7;

type RunRequest = Omit<TokenRequest, "position" | "seenTokens">;

/** Expected cost of a run. */
export function runCost(request: RunRequest, length: RunLength): RunCost {
  const at = runPositions(length);
  const token = meanTokenCost(request, length);
  const last = { ...request, position: at.at(-1)!, seenTokens: at.at(-1)! };
  return {
    token,
    tokensPerSec: 1000 / token.totalMs,
    percentilesMs: percentiles(last, token.totalMs),
    prefill: prefillCost(last, length.promptTokens, length.batchTokens),
    limits: limitsOf(last, token),
    bound: boundOf(last, token),
  };
}

/** Expected cost of a run's mean token alone. */
export function meanTokenCost(request: RunRequest, length: Omit<RunLength, "batchTokens">): TokenCost {
  return meanCost(runPositions(length).map((position) => tokenCost({ ...request, position, seenTokens: position })));
}

/** Positions at which a run is looked at, spread evenly over its counted tokens. */
export function runPositions({
  promptTokens,
  decodeTokens,
  warmUpTokens = 0,
  looks: most = LOOKS,
}: Omit<RunLength, "batchTokens">): number[] {
  const first = Math.max(1, promptTokens + warmUpTokens);
  const looks = Math.max(1, Math.min(most, decodeTokens));
  return Array.from({ length: looks }, (_, i) => Math.round(first + ((i + 0.5) / looks) * decodeTokens - 0.5));
}

function meanCost(costs: readonly TokenCost[]): TokenCost {
  const keys = Object.keys(costs[0]!) as (keyof TokenCost)[];
  const mean = (key: keyof TokenCost) => costs.reduce((sum, cost) => sum + cost[key], 0) / costs.length;
  return Object.fromEntries(keys.map((key) => [key, mean(key)])) as unknown as TokenCost;
}

/** A token that names twice as much loads twice as much: what it names decides how long it takes. */
function percentiles(request: TokenRequest, meanMs: number): RunCost["percentilesMs"] {
  const { namedQuantiles } = request.sparsity;
  // Every token names as many experts; how its misses scatter no statistics say.
  if (namedQuantiles === null || request.shape.mixture) return null;
  const plain = tokenCost(request).totalMs;
  const at = (factor: number) =>
    (meanMs * tokenCost({ ...request, sparsity: scaled(request.sparsity, factor) }).totalMs) / plain;
  return { p50: at(namedQuantiles.p50), p90: at(namedQuantiles.p90), p99: at(namedQuantiles.p99) };
}

function scaled(statistics: SparsityStatistics, factor: number): SparsityStatistics {
  const scale = (shares: readonly number[]) => shares.map((share) => Math.min(1, share * factor));
  return {
    ...statistics,
    layers: statistics.layers.map((layer) => ({
      ...layer,
      // What the slots hold is what the tokens before have named: only this token's own set is larger.
      unionShare: [
        scale(layer.unionShare)[0]!,
        ...layer.unionShare.slice(1).map((s) => Math.max(s, scale(layer.unionShare)[0]!)),
      ],
      freshShare: scale(layer.freshShare),
    })),
  };
}

function limitsOf({ shape, profile, settings }: TokenRequest, token: TokenCost): TokenLimits {
  const predictors = settings.mode === "predicted" ? (shape.predictor?.bytesByLayer ?? []) : [];
  const ffn = shape.mixture ? residentFfnBytes(shape.mixture) : 0;
  const matrices = shape.nLayers * shape.attentionBytes + gateBytes(shape) + ffn + shape.headBytes;
  const resident = matrices + predictors.reduce((a, b) => a + b, 0);
  return tokenLimits({
    dramBytes: resident + token.neuronsNamed * shape.recordBytes,
    dramBytesPerSec: profile.dramBytesPerSec,
    flashBytes: token.flashBytes,
    flashBytesPerSec: token.readMs > 0 ? (1000 * token.flashBytes) / token.readMs : profile.flash.sequentialBytesPerSec,
  });
}

function boundOf({ shape, profile, settings }: TokenRequest, token: TokenCost): Bound {
  const arithmetic = token.attentionMs + token.ffnMs + token.predictMs + token.headMs;
  const deciding = token.cacheMs + token.checkMs;
  if (token.exposedReadMs >= Math.max(arithmetic, deciding)) return "flash";
  if (deciding > arithmetic) return "cpu";
  const use = { op: "linear", threads: settings.threads, workingSetBytes: denseBytes(shape) } as const;
  const sec = denseBytesByType(shape).reduce(
    (sum, { dtype, bytes }) => sum + bytes / kernelBytesPerSec(profile, { ...use, dtype }),
    0,
  );
  const rate = denseBytes(shape) / sec;
  return rate >= DRAM_BOUND_SHARE * profile.dramBytesPerSec ? "dram" : "compute";
}
