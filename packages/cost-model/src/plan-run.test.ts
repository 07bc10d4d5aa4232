import { isFlashwickError, type SparsityStatistics } from "@flashwick/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { deviceProfile, devices, settings, shape, sparsities, sparsityOf } from "./cost.fixture.js";
import { planMemory } from "./memory-plan.js";
import type { MemoryRequest } from "./memory-request.js";
import type { EngineSettings } from "./pass-request.js";
import { type PlanRequest, planRun, price } from "./plan-run.js";
import { tokenCost } from "./token-cost.js";

const MiB = 2 ** 20;

function memoryRequest(budgetBytes: number | null, sparsity: SparsityStatistics | null): MemoryRequest {
  return {
    geometry: { layers: new Array(4).fill({ attention: { nKvHeads: 16, headDim: 64 }, ffn: { dFf: 4096 } }) },
    weights: { slotBytes: 4096 } as MemoryRequest["weights"],
    residentBytes: 40 * MiB,
    rowTableBytes: 2 * MiB,
    predictorBytes: sparsity ? 1_600_000 : 0,
    namedShareByLayer: sparsity === null ? null : sparsity.layers.map(({ unionShare }) => unionShare[0]!),
    contextTokens: 400,
    kvPrecision: "f16",
    activationBytes: (batch) => 30_000 * batch,
    slotOverheadBytes: 48,
    cacheFixedBytes: 40_000,
    readBufferBytes: 0,
    budgetBytes,
  };
}

function request(more: Partial<PlanRequest> & { budgetBytes?: number | null } = {}): PlanRequest {
  const { budgetBytes = 60 * MiB, sparsity = sparsityOf([0.4, 0.05, 0.05, 0.1]), ...rest } = more;
  return {
    shape,
    profile: deviceProfile({}),
    sparsity,
    length: { promptTokens: 32, decodeTokens: 100 },
    memory: ({ mode }) => planMemory(memoryRequest(budgetBytes, mode === "dense" ? null : sparsity)),
    ...rest,
  };
}

const budgets = fc.integer({ min: 50, max: 130 }).map((mebibytes) => mebibytes * MiB);

describe("planRun", () => {
  it("takes what costs least, and names what the others lose by", () => {
    const plan = planRun(request());
    for (const { totalMs, losesBy } of plan.alternatives) {
      expect(totalMs).toBeGreaterThan(plan.cost.token.totalMs * 0.994);
      expect(losesBy.ms).toBeGreaterThan(-0.01);
    }
    expect(plan.settings.mode).toBe("predicted");
    expect(plan.alternatives.find(({ change }) => change.mode === "dense")).toBeDefined();
  });
  it("streams every layer where a predictor names so much that it does not pay", () => {
    const slow = deviceProfile({ operationUs: 5000, bandwidth: 3e9, parallel: 1 });
    const plan = planRun(request({ profile: slow, sparsity: sparsityOf([0.5, 0.5, 0.5, 0.5], 0.3) }));
    expect(plan.settings.mode).toBe("dense");
  });
  it("keeps to what is fixed", () => {
    const fixed: EngineSettings = {
      mode: "predicted",
      windowTokens: 4,
      threads: 1,
      readers: 4,
      mergeGapBytes: 4096,
      overlap: false,
    };
    expect(planRun(request({ fixed })).settings).toEqual(fixed);
  });
  it("only plans dense runs without statistics", () => {
    const dense = { ...request(), sparsity: null };
    expect(planRun(dense).settings.mode).toBe("dense");
  });
  it("refuses a budget that nothing fits, with the smallest that would do; that one works, and one KiB less does not", () => {
    const smallest = (() => {
      try {
        planRun(request({ budgetBytes: MiB }));
      } catch (error) {
        if (isFlashwickError(error) && error.code === "BUDGET_TOO_SMALL")
          return error.details.smallestBudgetBytes as number;
      }
      throw new Error("expected a refusal");
    })();
    expect(planRun(request({ budgetBytes: smallest })).memory.dram.total).toBeLessThanOrEqual(smallest);
    expect(() => planRun(request({ budgetBytes: smallest - 1024 }))).toThrowError(
      expect.objectContaining({
        code: "BUDGET_TOO_SMALL",
        details: expect.objectContaining({ smallestBudgetBytes: smallest }),
      }),
    );
  });
  it("never predicts a slower token for more memory", () => {
    fc.assert(
      fc.property(devices, sparsities, budgets, budgets, (device, sparsity, a, b) => {
        const ms = (budgetBytes: number) =>
          planRun(request({ profile: deviceProfile(device), sparsity, budgetBytes })).cost.token.totalMs;
        // A later candidate must gain half a percent before it is preferred.
        expect(ms(Math.max(a, b))).toBeLessThanOrEqual(ms(Math.min(a, b)) * 1.0051);
      }),
      { numRuns: 40 },
    );
  });
  // Each shrunken from a request for which it was slower: [device, named shares, exponent, less and more MiB].
  const slowed: [string, Parameters<typeof deviceProfile>[0], number[], number, number, number][] = [
    [
      "whose operations take as long as hundreds of records",
      { operationUs: 500, bandwidth: 8e9, parallel: 3, kernelBytesPerSec: 1.7e9 },
      [0.01, 0.01, 0.01, 0.47],
      0.5,
      52,
      59,
    ],
    [
      "whose waves come to just more reads than fit the queue",
      { operationUs: 407, bandwidth: 5.225e8, parallel: 8, kernelBytesPerSec: 6.9e9 },
      [0.0225, 0.2832, 0.6, 0.6],
      0.19,
      52,
      54,
    ],
    [
      "whose long reads come to just more than fit the queue",
      { operationUs: 983, bandwidth: 5.57e8, parallel: 6, kernelBytesPerSec: 5e10 },
      [0.0133, 0.163, 0.033, 0.005],
      0.9,
      54,
      55,
    ],
    [
      "of which two settings change places along the run",
      { operationUs: 42.5, bandwidth: 1.207e9, parallel: 23, kernelBytesPerSec: 2.086e10 },
      [0.0152, 0.5815, 0.0102, 0.6],
      0.1,
      82,
      83,
    ],
  ];
  it.each(slowed)("is no slower with more memory on a device %s", (_, device, named, exponent, less, more) => {
    const ms = (mebibytes: number) =>
      planRun(
        request({
          profile: deviceProfile(device),
          sparsity: sparsityOf(named, exponent),
          budgetBytes: mebibytes * MiB,
        }),
      ).cost.token.totalMs;
    expect(ms(more)).toBeLessThanOrEqual(ms(less) * 1.0051);
  });
  it("reads no longer for more memory where waves come to just more reads than fit the queue", () => {
    const profile = deviceProfile({ operationUs: 1000, bandwidth: 8.7e9, parallel: 22, kernelBytesPerSec: 1e9 });
    const sparsity = sparsityOf([0.0071, 0.005, 0.0072, 0.6], 0.874);
    const ms = (mebibytes: number) =>
      price(request({ profile, sparsity, budgetBytes: mebibytes * MiB }), settings).cost.token.exposedReadMs;
    expect(ms(55)).toBeLessThan(ms(54));
  });
  it("never predicts a slower token for the same settings and more memory", () => {
    fc.assert(
      fc.property(devices, sparsities, budgets, budgets, (device, sparsity, a, b) => {
        const cost = (budgetBytes: number) =>
          price(request({ profile: deviceProfile(device), sparsity, budgetBytes }), settings).cost.token;
        const [less, more] = [cost(Math.min(a, b)), cost(Math.max(a, b))];
        expect(more.flashBytes).toBeLessThanOrEqual(less.flashBytes * (1 + 1e-9));
        expect(more.exposedReadMs).toBeLessThanOrEqual(less.exposedReadMs * (1 + 1e-9));
      }),
      { numRuns: 60 },
    );
  });
  it("never predicts a slower token for more bandwidth", () => {
    fc.assert(
      fc.property(
        devices,
        sparsities,
        budgets,
        fc.double({ min: 1, max: 10, noNaN: true }),
        (device, sparsity, budgetBytes, factor) => {
          const slow = deviceProfile(device);
          const fast = {
            ...slow,
            flash: {
              ...slow.flash,
              sequentialBytesPerSec: slow.flash.sequentialBytesPerSec * factor,
              reads: slow.flash.reads.map((point) => ({ ...point, bytesPerSec: point.bytesPerSec * factor })),
            },
          };
          const ms = (profile: typeof slow) => planRun(request({ profile, sparsity, budgetBytes })).cost.token.totalMs;
          expect(ms(fast)).toBeLessThanOrEqual(ms(slow) * 1.0051);
        },
      ),
      { numRuns: 40 },
    );
  });
});

describe("tokenCost", () => {
  const slotsByLayer = [900, 300, 300, 500];
  const of = (more: Partial<EngineSettings>, sparsity = sparsityOf([0.4, 0.05, 0.05, 0.1])) =>
    tokenCost({
      shape,
      profile: deviceProfile({}),
      sparsity,
      slotsByLayer,
      kvPrecision: "f16",
      position: 64,
      seenTokens: 64,
      settings: {
        mode: "predicted",
        windowTokens: Number.POSITIVE_INFINITY,
        threads: 2,
        readers: 16,
        mergeGapBytes: 0,
        overlap: false,
        ...more,
      },
    });
  it("adds up", () => {
    const { totalMs, exposedReadMs, predictMs, cacheMs, checkMs, attentionMs, ffnMs, headMs } = of({});
    expect(totalMs).toBeCloseTo(exposedReadMs + predictMs + cacheMs + checkMs + attentionMs + ffnMs + headMs, 9);
  });
  it("reads more bytes and fewer times over gaps", () => {
    const [none, some] = [of({}), of({ mergeGapBytes: 16384 })];
    expect(some.flashReads).toBeLessThan(none.flashReads);
    expect(some.flashBytes).toBeGreaterThan(none.flashBytes);
  });
  it("hides reads behind arithmetic, but never more than both at once allow", () => {
    const [apart, together] = [of({}), of({ overlap: true })];
    // Landing in groups has a price of its own, which hidden reads have to earn first.
    expect(together.exposedReadMs).toBeLessThan(apart.exposedReadMs * 1.05);
    expect(together.totalMs).toBeGreaterThanOrEqual(Math.max(apart.readMs, apart.totalMs - apart.readMs) * 0.999);
  });
  it("reads everything that is not held, in a dense run", () => {
    const dense = tokenCost({
      shape,
      profile: deviceProfile({}),
      sparsity: sparsityOf([0.1, 0.1, 0.1, 0.1]),
      slotsByLayer: [4096, 4096, 64, 64],
      kvPrecision: "f16",
      position: 9,
      seenTokens: 9,
      settings: { mode: "dense", windowTokens: 1, threads: 1, readers: 16, mergeGapBytes: 0, overlap: false },
    });
    expect(dense.flashBytes).toBe(2 * 4096 * 4096);
    expect(dense.readMs).toBeCloseTo((1000 * dense.flashBytes) / 2e9 + 2 * 0.03, 6);
  });
});
