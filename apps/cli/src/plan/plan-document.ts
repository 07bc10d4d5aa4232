/** A plan as the JSON of `flashwick plan`: names and fields are a fixed contract. */
import { type DType, isFlashwickError } from "@flashwick/core";
import {
  type LosslessPlan,
  type ModePlan,
  type PlanRequest,
  planRun,
  type RunPlan,
  type TokenCost,
} from "@flashwick/cost-model";

export interface Energy {
  /** The user's own figures. */
  readonly joulesPerFlashGB: number;
  readonly joulesPerDramGB: number;
  readonly watts: number;
}

export interface PlanFacts {
  readonly model: string;
  readonly device: string;
  readonly dtype: DType;
  /** What slots hold, and what is named and loaded. */
  readonly units: "neurons" | "experts";
  readonly sparsitySource: string | null;
  readonly fileBytes: number;
  readonly budgetBytes: number | null;
  readonly energy: Energy | null;
}

export interface PlannedLossless extends LosslessPlan {
  /** Where the acceptance comes from. */
  readonly acceptanceSource: string;
}

/** What is planned beside the run itself, when it fits. */
export interface BesidePlans {
  /** Null where it was not asked for, or nothing can draft. */
  readonly lossless: () => PlannedLossless | null;
  /** Every way of running the model; none of a mixture, which has one. */
  readonly modes: () => readonly ModePlan[];
}

/** The document of a plan that fits. */
function planDocument(facts: PlanFacts, request: PlanRequest, plan: RunPlan, beside: BesidePlans) {
  const { memory, cost, alternatives } = plan;
  return {
    ...facts,
    fits: true as const,
    smallestBudgetBytes: memory.smallestBudgetBytes,
    cycleBudgetBytes: memory.cycleBudgetBytes,
    choice: {
      ...settingsOf(plan),
      policy: "window",
      dtype: facts.dtype,
      kvPrecision: memory.kvPrecision,
      batchTokens: memory.batchTokens,
      slotsByLayer: memory.slotsByLayer,
      rowTablesResident: memory.rowTablesResident,
    },
    perToken: perToken(cost.token),
    tokensPerSec: cost.tokensPerSec,
    percentilesMs: cost.percentilesMs,
    bound: cost.bound,
    limits: cost.limits,
    prefill: { promptTokens: request.length.promptTokens, ...cost.prefill },
    lossless: beside.lossless(),
    modes: modesOf(beside.modes()),
    gateSparsitySource: request.gateSparsity?.source ?? null,
    memory: memory.dram,
    energyJoulesPerToken: facts.energy && energyOf(facts.energy, plan, request),
    alternatives: alternatives.map(({ change, totalMs, losesBy }) => ({
      change: "windowTokens" in change ? { ...change, windowTokens: finiteOrNull(change.windowTokens!) } : change,
      totalMs,
      losesBy,
    })),
  };
}

export type PlanDocument = ReturnType<typeof planDocument>;
export type RefusalDocument = ReturnType<typeof refusalDocument>;

/** The fastest first. */
function modesOf(modes: readonly ModePlan[]) {
  const fastest = modes[0]?.run;
  return modes.map(({ mode, engineMode, exact, run, smallestBudgetBytes }) => ({
    mode,
    engineMode,
    exact,
    fits: run !== null,
    msPerToken: run?.msPerToken ?? null,
    tokensPerSec: run?.tokensPerSec ?? null,
    timesFastest: run && fastest ? run.msPerToken / fastest.msPerToken : null,
    bound: run?.bound ?? null,
    draftTokens: run?.draftTokens ?? null,
    settings: run && settingsOf(run.plan),
    perToken: run && perToken(run.plan.cost.token),
    smallestBudgetBytes,
  }));
}

function settingsOf({ settings }: RunPlan) {
  return { ...settings, windowTokens: finiteOrNull(settings.windowTokens) };
}

/** One way of running the model, in the document. */
export type PlannedMode = ReturnType<typeof modesOf>[number];

/**
 * Plans, and says what it comes to: a plan, or that the budget holds nothing.
 *
 * @param beside Asked only for a plan that fits.
 */
export function planOrRefusal(
  facts: PlanFacts,
  request: PlanRequest,
  beside: BesidePlans,
): PlanDocument | RefusalDocument {
  try {
    return planDocument(facts, request, planRun(request), beside);
  } catch (error) {
    if (!isFlashwickError(error) || error.code !== "BUDGET_TOO_SMALL") throw error;
    return refusalDocument(facts, error.details.smallestBudgetBytes as number);
  }
}

/** The document of a budget that nothing fits. */
function refusalDocument(facts: PlanFacts, smallestBudgetBytes: number) {
  return {
    ...facts,
    fits: false as const,
    smallestBudgetBytes,
    cycleBudgetBytes: null,
    choice: null,
    perToken: null,
    tokensPerSec: null,
    percentilesMs: null,
    bound: null,
    limits: null,
    prefill: null,
    lossless: null,
    modes: [],
    gateSparsitySource: null,
    memory: null,
    energyJoulesPerToken: null,
    alternatives: [],
  };
}

function perToken(token: TokenCost) {
  const { flashBytes, flashReads, neuronsNamed, neuronsLoaded, readMs, exposedReadMs, ...ms } = token;
  return { flashBytes, flashReads, neuronsNamed, neuronsLoaded, readMs, exposedReadMs, ...ms };
}

/** Infinity, as many tokens as fit, has no number in JSON. */
function finiteOrNull(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

/** Nothing is measured here: bytes and seconds, each at the price that the user names. */
function energyOf(energy: Energy, { cost }: RunPlan, { profile }: PlanRequest): number {
  const { token, limits } = cost;
  const dramBytes = (limits.dramMs / 1000) * profile.dramBytesPerSec;
  return (
    (token.flashBytes / 1e9) * energy.joulesPerFlashGB +
    (dramBytes / 1e9) * energy.joulesPerDramGB +
    (token.totalMs / 1000) * energy.watts
  );
}
