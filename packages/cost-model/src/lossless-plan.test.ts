import type { SparsityStatistics } from "@flashwick/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { deviceProfile, devices, shape, sparsities, sparsityOf } from "./cost.fixture.js";
import { planLossless } from "./lossless-plan.js";
import { planMemory } from "./memory-plan.js";
import { type PlanRequest, planRun } from "./plan-run.js";

const MiB = 2 ** 20;

function request(more: Partial<PlanRequest> & { readonly budgetBytes?: number } = {}): PlanRequest {
  const { budgetBytes = 60 * MiB, ...rest } = more;
  const sparsity: SparsityStatistics | null =
    rest.sparsity === undefined ? sparsityOf([0.2, 0.05, 0.05, 0.1]) : rest.sparsity;
  return {
    shape,
    profile: deviceProfile({}),
    length: { promptTokens: 32, decodeTokens: 100 },
    ...rest,
    sparsity,
    memory: ({ mode }) =>
      planMemory({
        geometry: { layers: new Array(4).fill({ attention: { nKvHeads: 16, headDim: 64 }, ffn: { dFf: 4096 } }) },
        weights: { slotBytes: 4096 },
        residentBytes: 40 * MiB,
        rowTableBytes: 2 * MiB,
        predictorBytes: mode === "predicted" ? 1_600_000 : 0,
        namedShareByLayer: mode === "predicted" ? sparsity!.layers.map(({ unionShare }) => unionShare[0]!) : null,
        contextTokens: 400,
        kvPrecision: "f16",
        activationBytes: (batch) => 30_000 * batch,
        slotOverheadBytes: 48,
        cacheFixedBytes: 40_000,
        readBufferBytes: 0,
        budgetBytes,
      }),
  };
}

describe("planLossless", () => {
  it("stands between the dense and the sparse run where layers have to be streamed", () => {
    const plan = planLossless(request(), 0.9)!;
    expect(plan.draftTokens).toBeGreaterThan(0);
    expect(plan.tokensPerSec).toBeGreaterThan(1.5 * plan.denseTokensPerSec);
    expect(plan.tokensPerSec).toBeLessThan(plan.sparseTokensPerSec);
  });
  it("adds up: a step is its drafts and one pass", () => {
    const plan = planLossless(request(), 0.8)!;
    const { draftTokens, draftMs, verifyMs, tokensPerStep, tokensPerSec, draftShare, verifyShare } = plan;
    const stepMs = draftTokens * draftMs + verifyMs;
    expect(tokensPerSec).toBeCloseTo((1000 * tokensPerStep) / stepMs, 9);
    expect([draftShare, verifyShare]).toEqual([
      expect.closeTo((draftTokens * draftMs) / stepMs, 12),
      expect.closeTo(verifyMs / stepMs, 12),
    ]);
  });
  it("is never slower than the dense run, which it is where nothing is accepted", () => {
    fc.assert(
      fc.property(
        devices,
        sparsities,
        fc.integer({ min: 50, max: 130 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (device, sparsity, mebibytes, acceptance) => {
          const of = request({ profile: deviceProfile(device), sparsity, budgetBytes: mebibytes * MiB });
          const dense = planRun({ ...of, sparsity: null, fixed: { mode: "dense" } }).cost;
          const plan = planLossless(of, acceptance)!;
          expect(plan.denseTokensPerSec).toBe(dense.tokensPerSec);
          expect(plan.tokensPerSec).toBeGreaterThanOrEqual(dense.tokensPerSec * (1 - 1e-12));
        },
      ),
      { numRuns: 15 },
    );
  });
  it("gains more from a higher acceptance", () => {
    const speeds = [0, 0.3, 0.6, 0.9, 1].map((acceptance) => planLossless(request(), acceptance)!.tokensPerSec);
    expect(speeds).toEqual([...speeds].sort((a, b) => a - b));
    expect(speeds[4]).toBeGreaterThan(speeds[0]!);
  });
  it("drafts no more than a batch of the memory plan holds", () => {
    const of = request();
    const narrow: PlanRequest = { ...of, memory: (settings) => ({ ...of.memory(settings), batchTokens: 4 }) };
    expect(planLossless(of, 1)!.draftTokens).toBeGreaterThan(3);
    expect(planLossless(narrow, 1)!.draftTokens).toBe(3);
  });
  it("is null where nothing can draft: without a predictor, and where the budget holds none", () => {
    expect(planLossless(request({ sparsity: null, shape: { ...shape, predictor: null } }), 0.9)).toBeNull();
    expect(planLossless(request({ budgetBytes: 47 * MiB }), 0.9)).toBeNull();
  });
  it("refuses what no run fits, and an acceptance that is no share", () => {
    expect(() => planLossless(request({ budgetBytes: MiB }), 0.9)).toThrowError(
      expect.objectContaining({ code: "BUDGET_TOO_SMALL" }),
    );
    expect(() => planLossless(request(), 1.5)).toThrowError(expect.objectContaining({ code: "INPUT_INVALID" }));
  });
});
