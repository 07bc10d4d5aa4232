/**
 * Every way of running a model that its file and its predictor offer, each with the settings that are best for it, fastest first: what the choice of a mode
 * was against, and why the others lost.
 *
 * Besides the engine's own modes there are two that draft. `lossless`: the predictor drafts, a dense pass verifies, and the tokens are the dense model's.
 * `lookup`: the text itself drafts, and one pass of the mode beneath verifies; what is accepted depends on the text alone, so it is planned where the
 * caller says how much that is. Pruning without zeros is not priced: over weights in DRAM it takes a dense run's time, and of files that are read by columns
 * nobody has measured how often a token's columns come back.
 */
import { isFlashwickError } from "@flashwick/core";
import { type LosslessPlan, planLossless } from "./lossless-plan.js";
import { passCost } from "./pass-cost.js";
import type { EngineSettings } from "./pass-request.js";
import { type PlanRequest, plannedModes, planRun, type RunPlan, runRequest } from "./plan-run.js";
import { type Bound, runPositions } from "./run-cost.js";
import { chooseDraftTokens, type Speculation } from "./speculation-cost.js";

/** A way of running a model: a mode of the engine, by itself or verifying drafts. */
export type RunMode = EngineSettings["mode"] | "lossless" | "lookup";

/** What drafts are accepted with, 0 … 1; null: such runs are not planned. */
export interface DraftShares {
  readonly lossless: number | null;
  readonly lookup: number | null;
}

/** One mode, with the settings that are best for it. */
export interface ModePlan {
  readonly mode: RunMode;
  /** Of the engine: the mode itself, or beneath drafts the one that verifies. */
  readonly engineMode: EngineSettings["mode"];
  /** Whether its tokens are the dense model's. */
  readonly exact: boolean;
  /** Null where the budget does not hold it. */
  readonly run: ModeRun | null;
  /** The smallest budget that would hold it, bytes; null where that is not known. */
  readonly smallestBudgetBytes: number | null;
}

/** A mode that fits. */
export interface ModeRun {
  readonly msPerToken: number;
  readonly tokensPerSec: number;
  readonly bound: Bound;
  readonly plan: RunPlan;
  /** Of a step; 0 where nothing drafts, or drafting does not pay. */
  readonly draftTokens: number;
}

/** Tokens that a step of lookups may draft, as the engine does at most. */
const MOST_DRAFT_TOKENS = 16;
/** Positions at which passes are priced: they change slowly. */
const LOOKS = 2;

/**
 * Plans every mode; the fastest first, then those that do not fit.
 *
 * @throws {InputError} for an acceptance that is no share.
 * Cost: a run planned for each mode, some ten milliseconds.
 */
export function planModes(request: PlanRequest, drafts: DraftShares = { lossless: null, lookup: null }): ModePlan[] {
  const engine = plannedModes(request).map((mode) => engineMode(request, mode));
  const plans = [
    ...engine,
    ...losslessMode(request, engine, drafts.lossless),
    ...(drafts.lookup === null ? [] : lookupModes(request, engine, drafts.lookup)),
  ];
  // A stable order: of equals the one that is preferred.
  return plans.sort((a, b) => msOf(a) - msOf(b));
}

function msOf({ run }: ModePlan): number {
  return run?.msPerToken ?? Number.POSITIVE_INFINITY;
}

function engineMode(request: PlanRequest, mode: EngineSettings["mode"]): ModePlan {
  const facts = { mode, engineMode: mode, exact: mode !== "predicted" };
  try {
    const plan = planRun({ ...request, fixed: { ...request.fixed, mode } });
    const { token, tokensPerSec, bound } = plan.cost;
    const run = { msPerToken: token.totalMs, tokensPerSec, bound, plan, draftTokens: 0 };
    return { ...facts, run, smallestBudgetBytes: plan.memory.smallestBudgetBytes };
  } catch (error) {
    if (!isFlashwickError(error) || error.code !== "BUDGET_TOO_SMALL") throw error;
    return { ...facts, run: null, smallestBudgetBytes: error.details.smallestBudgetBytes as number };
  }
}

/** Bound as the dense pass that verifies, which takes most of a step's time where drafting pays; its drafts have settings of the sparse run. */
function losslessMode(request: PlanRequest, engine: readonly ModePlan[], acceptance: number | null): ModePlan[] {
  const [dense, predicted] = (["dense", "predicted"] as const).map((mode) => engine.find((of) => of.mode === mode));
  if (acceptance === null || !predicted || !dense?.run) return [];
  const facts = { mode: "lossless", engineMode: "predicted", exact: true } as const;
  const { smallestBudgetBytes } = predicted;
  const lossless: LosslessPlan | null = planLossless(request, acceptance);
  if (!lossless || !predicted.run) return [{ ...facts, run: null, smallestBudgetBytes }];
  const { tokensPerSec, draftTokens, draftShare } = lossless;
  const [bound, plan] = [(draftShare > 0.5 ? predicted : dense).run!.bound, predicted.run.plan];
  const run = { msPerToken: 1000 / tokensPerSec, tokensPerSec, bound, plan, draftTokens };
  return [{ ...facts, run, smallestBudgetBytes }];
}

/** The text drafts for each mode of the engine. */
function lookupModes(request: PlanRequest, engine: readonly ModePlan[], acceptance: number): ModePlan[] {
  return engine.map(({ run, ...facts }) => {
    if (run === null) return { ...facts, mode: "lookup", run };
    const { draftTokens, msPerToken } = lookupStep(request, run.plan, acceptance);
    const { bound, plan } = run;
    return { ...facts, mode: "lookup", run: { msPerToken, tokensPerSec: 1000 / msPerToken, bound, plan, draftTokens } };
  });
}

/** Drafts cost nothing; one pass over them and the token before verifies. */
function lookupStep(request: PlanRequest, { settings, memory, cost }: RunPlan, acceptance: number): Speculation {
  const run = runRequest(request, settings, memory);
  const positions = runPositions({ ...request.length, looks: LOOKS });
  const passMs = (tokens: number) => {
    const costs = positions.map((position) => passCost({ ...run, position, seenTokens: position }, tokens).totalMs);
    return costs.reduce((sum, ms) => sum + ms, 0) / costs.length;
  };
  const verifyMs = (tokens: number) => (tokens === 1 ? cost.token.totalMs : passMs(tokens));
  const most = Math.max(0, Math.min(MOST_DRAFT_TOKENS, memory.batchTokens - 1));
  return chooseDraftTokens({ draftMs: 0, verifyMs, acceptance }, most);
}
