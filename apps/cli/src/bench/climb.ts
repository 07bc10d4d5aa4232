/** Runs one rung of the ladder and takes its measure. */
import {
  type DramAccount,
  neuronCount,
  type OnProgress,
  type PredictedRun,
  type RunLimit,
  type TokenStats,
} from "@flashwick/core";
import type { DeviceProfile } from "@flashwick/cost-model";
import { createSampler, Model, type Sequence, summarizeRun } from "@flashwick/runtime";
import { openModel } from "@flashwick/runtime/node";
import { type LimitFlag, limitOf } from "../limit-flag.js";
import type { Rung } from "./rung.js";

/** Figures of one decoded token, averaged over the measured ones; milliseconds unless the name says otherwise. */
export interface RungMeasure {
  readonly id: string;
  readonly title: string;
  /** The likeliest token after the prompt, and after each token of the text. */
  readonly tokens: readonly number[];
  readonly bytes: number;
  readonly reads: number;
  /** Reads in flight. Where compute goes on meanwhile, the thread that looks may find out late: then this is too long. */
  readonly ioMs: number;
  /** Of it, what nothing was computed in. */
  readonly exposedMs: number;
  readonly gbPerSec: number;
  /** Memory management: deciding what to keep, to evict and to read, and moving slots. */
  readonly manageMs: number;
  readonly checkMs: number;
  /** Predictor, attention, FFN, head. */
  readonly computeMs: number;
  readonly totalMs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly firstTokenMs: number;
  readonly hitShare: number;
  readonly namedShare: number;
  readonly ioMode: string;
  readonly readers: number;
  readonly threads: number;
  readonly mergeGapBytes: number;
  readonly dramBytes: DramAccount;
  /** What the cost model expected of the rung; null for rungs that forget or reload between tokens, which no engine setting does. */
  readonly predicted: PredictedRun | null;
  /** What the machine could have done, measured after the rung; null where nobody wanted it. */
  readonly limit: RunLimit | null;
}

export interface Climb {
  readonly path: string;
  /** Read at once. */
  readonly prompt: readonly number[];
  /** Decoded one by one; as long as the rung's tokens at least. */
  readonly text: readonly number[];
  /** What the device can do: predictions stand on it. It chooses nothing: rungs are what they are. */
  readonly profile: DeviceProfile;
  /** Whether the rung's physical limit is measured. */
  readonly limit: LimitFlag["limit"];
  readonly clock: () => number;
  readonly onProgress: OnProgress;
  readonly signal: AbortSignal;
}

/**
 * Prefills the prompt, decodes the text, and averages over the tokens after the warm-up. The text is given, since what a model says
 * greedily repeats itself, and a cache would look better than it is.
 */
export async function climb(rung: Rung, climb: Climb): Promise<RungMeasure> {
  const { path, prompt, text, profile, clock, onProgress, signal } = climb;
  const model = await openModel(path, { ...rung.options, profile: null, onProgress, signal });
  try {
    const context = prompt.length + rung.warmUpTokens + rung.tokens;
    return await model.withSequence(
      context,
      async (sequence) => {
        const { engine } = sequence;
        const greedy = createSampler({});
        const { logits: first, batches } = await sequence.prefill(prompt, signal);
        const tokens = [greedy(first)];
        const decoded: TokenStats[] = [];
        for (let i = 0; i < rung.warmUpTokens + rung.tokens; i++) {
          const reload = await between(rung, sequence, clock, signal);
          const { logits, stats } = await sequence.decode(text[i]!, signal);
          tokens.push(greedy(logits));
          if (i >= rung.warmUpTokens) decoded.push(withReload(stats, reload));
          onProgress({ phase: rung.title, loaded: i + 1, total: rung.warmUpTokens + rung.tokens, unit: "tokens" });
        }
        const { geometry, weights } = model.header;
        const length = { promptTokens: prompt.length, warmUpTokens: rung.warmUpTokens, decodeTokens: rung.tokens };
        const expecting = new Model({ ...model.parts, profile }, model.options);
        const run = summarizeRun({
          geometry,
          weights,
          backend: model.parts.backend,
          ioMode: model.parts.reader.mode,
          mode: model.mode,
          kvDType: engine.parts.plan.kvPrecision,
          policy: rung.options.policy ?? "window",
          ...model.threading,
          dramBytes: engine.parts.plan.dram,
          prefill: batches,
          decode: decoded,
        });
        const ms = run.msPerToken;
        return {
          id: rung.id,
          title: rung.title,
          tokens,
          bytes: run.flashBytesPerToken,
          reads: run.readsPerToken,
          ioMs: run.flashMsPerToken,
          exposedMs: ms.readWait,
          gbPerSec: run.flashBytesPerToken / Math.max(run.flashMsPerToken, 1e-9) / 1e6,
          manageMs: ms.cache,
          checkMs: ms.check,
          computeMs: ms.predict + ms.attention + ms.ffn + ms.head,
          totalMs: run.tokenMs.mean,
          p50Ms: run.tokenMs.p50,
          p99Ms: run.tokenMs.p99,
          firstTokenMs: run.timeToFirstTokenMs,
          hitShare: run.cacheHitShare ?? 0,
          namedShare: run.neuronsNamedPerToken / neuronCount(geometry),
          ioMode: run.ioMode,
          readers: run.readers,
          threads: run.threads,
          mergeGapBytes: run.mergeGapBytes,
          dramBytes: run.dramBytes,
          predicted: rung.between === null ? expecting.predict(engine.parts.plan, length) : null,
          limit: await limitOf(model, climb, { stats: run, tokensBefore: prompt.length + rung.warmUpTokens }, signal),
        };
      },
      { onProgress, signal },
    );
  } finally {
    await model.close();
  }
}

/** What reading the resident weights again has cost. */
interface Reload {
  readonly bytes: number;
  readonly reads: number;
  readonly ms: number;
}

async function between(
  { between: what }: Rung,
  { engine }: Sequence,
  clock: () => number,
  signal: AbortSignal,
): Promise<Reload> {
  if (what !== null) for (const cache of engine.caches) cache.clear();
  if (what !== "reload") return { bytes: 0, reads: 0, ms: 0 };
  const start = clock();
  const { bytes, reads } = await engine.loadResident(signal);
  return { bytes, reads, ms: clock() - start };
}

function withReload(stats: TokenStats, { bytes, reads, ms }: Reload): TokenStats {
  return {
    ...stats,
    ms: stats.ms + ms,
    flashMs: stats.flashMs + ms,
    flashBytes: stats.flashBytes + bytes,
    flashReads: stats.flashReads + reads,
    phaseMs: { ...stats.phaseMs, readWait: stats.phaseMs.readWait + ms },
  };
}
