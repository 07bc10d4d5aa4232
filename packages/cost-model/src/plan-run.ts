/**
 * Choosing: every setting that the engine knows, priced, and the cheapest taken. Beside it the best of those that differ in one thing,
 * and what they lose by.
 *
 * Candidates stand in the order of preference; a later one must be faster by {@link WORTH_MS_SHARE}: fewer threads, fewer readers and no gap
 * are taken where more gain nothing.
 *
 * More memory, at one precision of keys and values, never makes the chosen run slower than by that share: slots, misses and waves are
 * monotone in it, and so is the time of reads at the gap of break-even, which is a candidate.
 */
import { assert, BudgetError, isFlashwickError, type SparsityStatistics } from "@flashwick/core";
import { breakEvenGapRecords } from "./break-even-gap.js";
import type { FlashProfile } from "./device-profile.js";
import type { ExpertLocality } from "./expert-locality.js";
import { profileFor } from "./first-memory.js";
import type { MemoryPlan } from "./memory-plan.js";
import type { ModelShape } from "./model-shape.js";
import type { EngineSettings, TokenRequest } from "./pass-request.js";
import { knownDepths } from "./read-time.js";
import { meanTokenCost, type RunCost, type RunLength, runCost } from "./run-cost.js";
import { denseSparsity } from "./sparsity.js";
import type { TokenCost } from "./token-cost.js";

/** What {@link planRun} chooses settings for. */
export interface PlanRequest extends Pick<TokenRequest, "shape" | "profile"> {
  /** Of what the predictor names; null where there is none. */
  readonly sparsity: SparsityStatistics | null;
  /** Of what resident gates name. Default null: it is not known, and gate-first runs are not planned. */
  readonly gateSparsity?: SparsityStatistics | null | undefined;
  /** Of a mixture's routers. Default: as published of others. */
  readonly locality?: ExpertLocality | undefined;
  readonly length: Omit<RunLength, "batchTokens">;
  /** Settings that are not to be chosen. */
  readonly fixed?: Partial<EngineSettings>;
  /** What goes into DRAM for these settings. @throws {BudgetError} */
  readonly memory: (settings: EngineSettings) => MemoryPlan;
}

/** Settings that were not chosen, and what they would lose. */
export interface Alternative {
  /** What is different. */
  readonly change: Partial<EngineSettings>;
  readonly totalMs: number;
  /** Milliseconds a token that it costs more, by what it loses most on. */
  readonly losesBy: { readonly phase: keyof TokenCost; readonly ms: number };
}

/** The chosen settings, their price, and what the others lose by. */
export interface RunPlan {
  readonly settings: EngineSettings;
  readonly memory: MemoryPlan;
  readonly cost: RunCost;
  /** Nearest first. */
  readonly alternatives: readonly Alternative[];
}

/** A later candidate must be faster by this share. */
const WORTH_MS_SHARE = 0.005;
/** Gaps that are tried on every device, in records. */
const GAP_RECORDS = [0, 1, 2, 4, 8];
const MOST_GAP_BYTES = 256 * 1024;
/** The engine cuts longer reads, so that a longer gap would be read by itself. */
const MOST_BREAK_EVEN_BYTES = 8 * 2 ** 20;

/**
 * Plans a run.
 *
 * @throws {BudgetError} `BUDGET_TOO_SMALL` with the smallest budget that would do, if nothing fits.
 * Cost: some hundred predictions, a few ten milliseconds.
 */
export function planRun(request: PlanRequest): RunPlan {
  let refusal: unknown = null;
  const priced: Candidate[] = [];
  for (const settings of candidates(request)) {
    try {
      priced.push(candidate(request, settings));
    } catch (error) {
      if (!isFlashwickError(error) || error.code !== "BUDGET_TOO_SMALL") throw error;
      refusal = smaller(refusal, error);
    }
  }
  if (priced.length === 0) throw refusal;
  const chosen = priced.reduce((a, b) => (b.ms < a.ms * (1 - WORTH_MS_SHARE) ? b : a));
  const best = price(request, chosen.settings);
  const alternatives = runnersUp(request, priced, chosen, best);
  return { settings: best.settings, memory: best.memory, cost: best.cost, alternatives };
}

interface Candidate {
  readonly settings: EngineSettings;
  /** Of the mean token. */
  readonly ms: number;
}

interface Priced extends Candidate {
  readonly memory: MemoryPlan;
  readonly cost: RunCost;
}

/** Expected cost of a run with given settings. @throws {BudgetError} as the memory plan does. */
export function price(request: PlanRequest, settings: EngineSettings): Priced {
  const memory = request.memory(settings);
  const cost = runCost(runRequest(request, settings, memory), { ...request.length, batchTokens: memory.batchTokens });
  return { settings, memory, cost, ms: cost.token.totalMs };
}

/** What {@link price} says of the mean token. */
function candidate(request: PlanRequest, settings: EngineSettings): Candidate {
  const run = runRequest(request, settings, request.memory(settings));
  return { settings, ms: meanTokenCost(run, request.length).totalMs };
}

/** The modes that can be planned, in the order of preference: what is exact comes before what costs as much. */
export function plannedModes({ shape, sparsity, gateSparsity = null }: PlanRequest): EngineSettings["mode"][] {
  return [
    ...(shape.gate && gateSparsity !== null ? (["gate-first"] as const) : []),
    ...(sparsity !== null && shape.predictor !== null ? (["predicted"] as const) : []),
    "dense",
  ];
}

/** How often what a mode names comes back. */
export function modeSparsity(request: PlanRequest, mode: EngineSettings["mode"]): SparsityStatistics {
  const known = { predicted: request.sparsity, "gate-first": request.gateSparsity ?? null, dense: null }[mode];
  if (mode === "dense") return denseSparsity(request.shape.nLayers);
  assert(known !== null, `${mode} runs are planned where something says how often neurons come back`);
  return known;
}

/** The question to the cost model of a run with given settings. */
export function runRequest(
  request: PlanRequest,
  settings: EngineSettings,
  memory: MemoryPlan,
): Omit<TokenRequest, "position" | "seenTokens"> {
  const { shape, locality } = request;
  const profile = profileFor(request.profile, memory.dram.total);
  const { slotsByLayer, streamNeurons, kvPrecision } = memory;
  const sparsity = modeSparsity(request, settings.mode);
  return { shape, profile, sparsity, locality, settings, slotsByLayer, streamNeurons, kvPrecision };
}

/** Every setting that is priced. */
export function candidates(request: PlanRequest): EngineSettings[] {
  const { profile, shape, fixed = {} } = request;
  const { flash, cores } = profile;
  const modes = plannedModes(request);
  const gaps = (readers: number) =>
    fixed.mergeGapBytes === undefined ? gapBytes(shape, flash, readers) : [fixed.mergeGapBytes];
  const all = {
    mode: fixed.mode === undefined ? modes : [fixed.mode],
    windowTokens: [fixed.windowTokens ?? Number.POSITIVE_INFINITY],
    threads: fixed.threads === undefined ? threadCounts(cores) : [fixed.threads],
    readers: fixed.readers === undefined ? readerCounts(shape, flash) : [fixed.readers],
    overlap: fixed.overlap === undefined ? [false, true] : [fixed.overlap],
  };
  return all.mode.flatMap((mode) =>
    all.windowTokens.flatMap((windowTokens) =>
      all.threads.flatMap((threads) =>
        all.readers.flatMap((readers) =>
          // A stream has no gaps.
          (mode === "dense" ? gaps(readers).slice(0, 1) : gaps(readers)).flatMap((mergeGapBytes) =>
            all.overlap.map((overlap) => ({ mode, windowTokens, threads, readers, mergeGapBytes, overlap })),
          ),
        ),
      ),
    ),
  );
}

/** Gaps that may pay: with shorter ones than break-even, a neuron more in DRAM can cost time (break-even-gap.ts). */
function gapBytes({ strideBytes, dFf }: ModelShape, flash: FlashProfile, readers: number): number[] {
  const gaps = GAP_RECORDS.map((records) => records * strideBytes).filter((bytes) => bytes <= MOST_GAP_BYTES);
  const most = Math.min(dFf, Math.floor(MOST_BREAK_EVEN_BYTES / strideBytes));
  const breakEven = strideBytes * breakEvenGapRecords(flash, strideBytes, Math.max(1, readers), most);
  return breakEven > gaps.at(-1)! ? [...gaps, breakEven] : gaps;
}

/**
 * Threads that read beside compute threads on every core come late to their next read, and a device with one or two in flight is idle meanwhile, of
 * which the profile knows nothing. A stream of layers is read for every token, so it has at least {@link LEAST_STREAM_READERS} where they are known:
 * a model of 7B at three quarters of its file, 1 reader 1.16 tokens a second, 16 readers 1.56 (2 vCPUs).
 */
function readerCounts({ rowStream }: ModelShape, flash: FlashProfile): number[] {
  const depths = knownDepths(flash);
  if (rowStream === null) return depths;
  const many = depths.filter((depth) => depth >= LEAST_STREAM_READERS);
  return many.length > 0 ? many : depths.slice(-1);
}

const LEAST_STREAM_READERS = 8;

/** 1, 2, 4 … and all of them. */
function threadCounts(cores: number): number[] {
  const counts: number[] = [];
  for (let n = 1; n < cores; n *= 2) counts.push(n);
  return [...counts, cores];
}

/** For each setting the best of those that differ from the chosen one in it alone. */
function runnersUp(request: PlanRequest, priced: readonly Candidate[], chosen: Candidate, best: Priced): Alternative[] {
  const keys = Object.keys(best.settings) as (keyof EngineSettings)[];
  const alternatives = keys.flatMap((key) => {
    // Another mode has settings of its own: its best is what the choice was against.
    const others = key === "mode" ? [] : keys.filter((other) => other !== key);
    const differing = priced.filter(
      ({ settings }) =>
        settings[key] !== chosen.settings[key] && others.every((k) => settings[k] === chosen.settings[k]),
    );
    if (differing.length === 0) return [];
    const nearest = differing.reduce((a, b) => (b.ms < a.ms ? b : a));
    const next = price(request, nearest.settings);
    return [
      {
        change: { [key]: next.settings[key] },
        totalMs: next.ms,
        losesBy: worstPhase(next.cost.token, best.cost.token),
      },
    ];
  });
  return alternatives.sort((a, b) => a.totalMs - b.totalMs);
}

const PHASES = ["exposedReadMs", "predictMs", "cacheMs", "checkMs", "attentionMs", "ffnMs", "headMs"] as const;

function worstPhase(loser: TokenCost, winner: TokenCost): Alternative["losesBy"] {
  const losses = PHASES.map((phase) => ({ phase, ms: loser[phase] - winner[phase] }));
  return losses.reduce((a, b) => (b.ms > a.ms ? b : a));
}

/** Of two refusals the one with the smaller budget that would do. */
function smaller(a: unknown, b: unknown): unknown {
  const least = (error: unknown) =>
    error instanceof BudgetError ? (error.details.smallestBudgetBytes as number) : Number.POSITIVE_INFINITY;
  return a === null || least(b) < least(a) ? b : a;
}
