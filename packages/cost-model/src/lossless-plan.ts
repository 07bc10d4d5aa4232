/**
 * What a lossless run does: the sparse path drafts, one dense pass verifies, so that every token is the dense model's.
 *
 * Both work under the memory plan of the sparse run, which a draft is the more often needed for. Without drafts there is no sparse run, and
 * memory is planned for a dense one: that is what drafting has to beat.
 */
import { isFlashwickError } from "@flashwick/core";
import { profileFor } from "./first-memory.js";
import { passCost } from "./pass-cost.js";
import { type PlanRequest, planRun, type RunPlan } from "./plan-run.js";
import { runPositions } from "./run-cost.js";
import { denseSparsity } from "./sparsity.js";
import { chooseDraftTokens } from "./speculation-cost.js";

/** An exact run with drafts, priced, beside the dense run and the sparse run. */
export interface LosslessPlan {
  /** Probability that a drafted token is the dense model's, as it was given. */
  readonly acceptance: number;
  /** Of a step; 0: drafting does not pay here, and the run is a dense one. */
  readonly draftTokens: number;
  readonly tokensPerStep: number;
  readonly tokensPerSec: number;
  /** Milliseconds of one drafted token. */
  readonly draftMs: number;
  /** Milliseconds of the dense pass over a step's drafts and the token before them. */
  readonly verifyMs: number;
  /** Of a step's time; they add up to 1. */
  readonly draftShare: number;
  readonly verifyShare: number;
  /** What it stands between: the dense run, as exact; the sparse one, as it drafts. */
  readonly denseTokensPerSec: number;
  readonly sparseTokensPerSec: number;
}

/** Longer drafts are rarely accepted whole, and each costs another row of keys and values. */
const MOST_DRAFT_TOKENS = 16;
/** Positions at which passes are priced: they change slowly. */
const LOOKS = 2;

/**
 * Plans a lossless run: as many drafts a step as take the least time per token.
 *
 * @param acceptance Probability that a drafted token is the dense model's, 0 … 1: top-1 agreement of the sparse run with the dense one.
 * @returns Null where nothing can draft: without a predictor, or with a budget that holds none.
 * @throws {BudgetError} where not even a dense run fits. {InputError} for an acceptance that is no share.
 * Cost: two runs planned.
 */
export function planLossless(request: PlanRequest, acceptance: number): LosslessPlan | null {
  const dense = planRun({ ...request, fixed: { ...request.fixed, mode: "dense" } });
  const sparse = planSparse(request);
  if (sparse === null) return null;
  const draftMs = sparse.cost.token.totalMs;
  const verify = verifyPass(request, sparse);
  const choice = chooseDraftTokens(
    { draftMs, verifyMs: (tokens) => (tokens === 1 ? dense.cost.token.totalMs : verify(tokens)), acceptance },
    Math.min(MOST_DRAFT_TOKENS, sparse.memory.batchTokens - 1),
  );
  const { draftTokens, tokensPerStep, msPerToken } = choice;
  const stepMs = msPerToken * tokensPerStep;
  const draftShare = (draftTokens * draftMs) / stepMs;
  return {
    acceptance,
    draftTokens,
    tokensPerStep,
    tokensPerSec: 1000 / msPerToken,
    draftMs,
    verifyMs: stepMs - draftTokens * draftMs,
    draftShare,
    verifyShare: 1 - draftShare,
    denseTokensPerSec: dense.cost.tokensPerSec,
    sparseTokensPerSec: sparse.cost.tokensPerSec,
  };
}

function planSparse(request: PlanRequest): RunPlan | null {
  if (request.sparsity === null || request.shape.predictor === null) return null;
  try {
    return planRun({ ...request, fixed: { ...request.fixed, mode: "predicted" } });
  } catch (error) {
    if (isFlashwickError(error) && error.code === "BUDGET_TOO_SMALL") return null;
    throw error;
  }
}

/** Milliseconds of a dense pass over n tokens where the sparse run's plan of memory holds, the mean over the run. */
function verifyPass(
  { shape, length, ...device }: PlanRequest,
  { settings, memory }: RunPlan,
): (tokens: number) => number {
  const profile = profileFor(device.profile, memory.dram.total);
  const { slotsByLayer, streamNeurons, kvPrecision } = memory;
  const sparsity = denseSparsity(shape.nLayers);
  const positions = runPositions({ ...length, looks: LOOKS });
  return (tokens) => {
    const costs = positions.map((position) =>
      passCost(
        {
          shape,
          profile,
          sparsity,
          settings: { ...settings, mode: "dense" },
          slotsByLayer,
          streamNeurons,
          kvPrecision,
          position,
          seenTokens: position,
        },
        tokens,
      ),
    );
    return costs.reduce((sum, { totalMs }) => sum + totalMs, 0) / costs.length;
  };
}
