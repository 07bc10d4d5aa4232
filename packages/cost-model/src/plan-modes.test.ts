/** The choice of a mode, against brute force: every setting priced, every mode simulated, on published devices and on made-up ones. */
import { Random } from "@flashwick/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { deviceProfile, devices, shape as small, sparsities, sparsityOf } from "./cost.fixture.js";
import { DEVICE_PRESETS, devicePreset } from "./device-presets.js";
import { planMemory } from "./memory-plan.js";
import { modelPreset } from "./model-presets.js";
import { denseBytes, gateBytes, type ModelShape } from "./model-shape.js";
import { passCost } from "./pass-cost.js";
import { planModes } from "./plan-modes.js";
import { candidates, modeSparsity, type PlanRequest, planRun, price, type RunPlan, runRequest } from "./plan-run.js";
import { sampleUse } from "./simulate/neuron-use.js";
import { simulateRun } from "./simulate/simulate-run.js";
import { expectedTokens } from "./speculation-cost.js";

const MiB = 2 ** 20;
const WITHIN = 1.05;

/** The same weights with gates apart, in four bits. */
function withResidentGate(shape: ModelShape): ModelShape {
  const recordBytes = (shape.recordBytes * 2) / 3;
  const bytes = (shape.dFf * shape.dModel * 18) / 32;
  return { ...shape, recordBytes, strideBytes: 512 * Math.ceil(recordBytes / 512), gate: { dtype: "q4_0", bytes } };
}

/** Llama 2 7B with a ReLU, as ProSparse has it. */
function llama(device: string, budgetShare: number, residentGate: boolean): PlanRequest {
  const preset = modelPreset("llama-2-7b", "f16");
  const shape = residentGate ? withResidentGate(preset.shape) : preset.shape;
  const budgetBytes = Math.round(budgetShare * denseBytes(preset.shape));
  return {
    shape,
    profile: devicePreset(device),
    sparsity: preset.sparsity,
    gateSparsity: residentGate ? sparsityOf(new Array(shape.nLayers).fill(0.1)) : null,
    length: { promptTokens: 128, decodeTokens: 128 },
    memory({ mode }) {
      const wish = { budgetBytes, contextTokens: 256, kvPrecision: "f16" } as const;
      const asked = preset.memoryRequest(mode === "predicted" ? mode : "dense", wish);
      return planMemory({
        ...asked,
        weights: { slotBytes: shape.strideBytes },
        residentBytes: asked.residentBytes + gateBytes(shape),
        namedShareByLayer: mode === "gate-first" ? "even" : asked.namedShareByLayer,
      });
    },
  };
}

/** Four layers with gates, on any device. */
function made(
  more: Partial<PlanRequest> & { readonly budgetBytes?: number; readonly residentGate?: boolean } = {},
): PlanRequest {
  const { budgetBytes = 60 * MiB, residentGate = true, ...rest } = more;
  const shape = residentGate
    ? withResidentGate({ ...small, recordBytes: 6144 })
    : { ...small, recordBytes: 6144, strideBytes: 6144 };
  const sparsity = rest.sparsity === undefined ? sparsityOf([0.2, 0.05, 0.05, 0.1]) : rest.sparsity;
  return {
    shape,
    profile: deviceProfile({}),
    length: { promptTokens: 32, decodeTokens: 100 },
    gateSparsity: residentGate ? sparsityOf([0.1, 0.03, 0.03, 0.05]) : null,
    ...rest,
    sparsity,
    memory: ({ mode }) =>
      planMemory({
        geometry: { layers: new Array(4).fill({ attention: { nKvHeads: 16, headDim: 64 }, ffn: { dFf: 4096 } }) },
        weights: { slotBytes: shape.strideBytes },
        residentBytes: 40 * MiB + gateBytes(shape),
        rowTableBytes: 2 * MiB,
        predictorBytes: mode === "predicted" ? 1_600_000 : 0,
        namedShareByLayer:
          mode === "dense"
            ? null
            : mode === "gate-first"
              ? "even"
              : sparsity!.layers.map(({ unionShare }) => unionShare[0]!),
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

/** Milliseconds of the mean token, as the simulation has it. */
function simulatedMs(request: PlanRequest, { settings, memory }: RunPlan): number {
  const { shape, profile, length } = request;
  const { slotsByLayer, kvPrecision } = memory;
  const sparsity = modeSparsity(request, settings.mode);
  const at = { shape, profile, sparsity, settings, slotsByLayer, kvPrecision };
  const use = sampleUse({ ...at, seenTokens: length.promptTokens, tokens: 6 }, new Random(1));
  return simulateRun({ ...at, use, clumping: sparsity.clumping, position: length.promptTokens }).totalMs.mean;
}

/** The least time of all settings that fit. */
function bruteForceMs(request: PlanRequest): number {
  const times = candidates(request).flatMap((settings) => {
    try {
      return [price(request, settings).ms];
    } catch {
      return [];
    }
  });
  return Math.min(...times);
}

describe("planModes", () => {
  it.each(DEVICE_PRESETS)(
    "on %s, the mode chosen is within 5 % of the fastest one simulated, in any budget",
    (device) => {
      let compared = 0;
      for (const residentGate of [true, false]) {
        for (const share of [0.5, 0.8]) {
          const request = llama(device, share, residentGate);
          const fitting = planModes(request).flatMap(({ run }) => (run ? [run.plan] : []));
          if (fitting.length < 2) continue;
          const times = fitting.map((plan) => simulatedMs(request, plan));
          expect(times[0]).toBeLessThanOrEqual(WITHIN * Math.min(...times));
          compared++;
        }
      }
      expect(compared).toBe(4);
    },
  );

  it("the choice is within 5 % of every setting of every mode, on any device, with any sparsity and budget", () => {
    const gates = fc.record({
      device: devices,
      sparsity: sparsities,
      gateSparsity: sparsities,
      budgetMiB: fc.integer({ min: 56, max: 150 }),
    });
    fc.assert(
      fc.property(gates, ({ device, budgetMiB, ...known }) => {
        const request = made({ profile: deviceProfile(device), budgetBytes: budgetMiB * MiB, ...known });
        const best = bruteForceMs(request);
        const [fastest] = planModes(request);
        expect(fastest!.run!.msPerToken).toBeLessThanOrEqual(WITHIN * best);
        expect(planRun(request).cost.token.totalMs).toBeLessThanOrEqual(WITHIN * best);
      }),
      { numRuns: 8, seed: 39 },
    );
  });

  it("gates apart are faster where flash is slow; where arithmetic is, gates in records with a predictor are", () => {
    const fastest = (device: Parameters<typeof deviceProfile>[0], residentGate: boolean) =>
      planModes(made({ profile: deviceProfile(device), residentGate }))[0]!;
    const slowFlash = { bandwidth: 2e8, kernelBytesPerSec: 1e11 };
    const [apart, inRecords] = [fastest(slowFlash, true), fastest(slowFlash, false)];
    expect([apart.mode, inRecords.mode]).toEqual(["gate-first", "predicted"]);
    expect(apart.run!.msPerToken).toBeLessThan(inRecords.run!.msPerToken);
    const slowArithmetic = { bandwidth: 1e10, operationUs: 1, kernelBytesPerSec: 1e9 };
    const { run } = fastest(slowArithmetic, true);
    expect(fastest(slowArithmetic, false).run!.msPerToken).toBeLessThan(run!.msPerToken);
  });

  it("a gate is multiplied whole, whatever is named: gate first is never faster than the gates' bytes allow", () => {
    const request = made({ gateSparsity: sparsityOf([0.001, 0.001, 0.001, 0.001]) });
    const plans = planModes(request);
    const gateFirst = plans.find(({ mode }) => mode === "gate-first")!.run!;
    const withoutGate = made({ gateSparsity: sparsityOf([0.001, 0.001, 0.001, 0.001]) });
    const { gate: _, ...bare } = withoutGate.shape;
    const settings = gateFirst.plan.settings;
    const bareMs = price({ ...withoutGate, shape: bare }, settings).ms;
    expect(gateFirst.msPerToken - bareMs).toBeGreaterThan((1000 * gateBytes(request.shape)) / 30e9);
  });

  it("says of a mode that does not fit what it needs, and puts it last", () => {
    const request = made();
    const tight = {
      ...request,
      memory: (settings: Parameters<PlanRequest["memory"]>[0]) => {
        const plan = request.memory(settings);
        if (settings.mode !== "predicted") return plan;
        return planMemory({
          geometry: { layers: [{ attention: { nKvHeads: 1, headDim: 64 }, ffn: { dFf: 8 } }] },
          ...{ weights: { slotBytes: 512 }, residentBytes: 99 * MiB, rowTableBytes: 0, predictorBytes: 0 },
          ...{ namedShareByLayer: null, contextTokens: 16, kvPrecision: "f16", activationBytes: () => 0 },
          ...{ slotOverheadBytes: 0, cacheFixedBytes: 0, readBufferBytes: 0, budgetBytes: 60 * MiB },
        });
      },
    };
    const last = planModes(tight).at(-1)!;
    expect(last).toMatchObject({ mode: "predicted", run: null });
    expect(last.smallestBudgetBytes).toBeGreaterThan(99 * MiB);
  });

  it("plans drafts where their acceptance is known: of any number of drafts none is faster", () => {
    const request = made({ residentGate: false });
    const plans = planModes(request, { lossless: 0.95, lookup: 0.6 });
    expect(new Set(plans.map(({ mode }) => mode))).toEqual(new Set(["predicted", "dense", "lossless", "lookup"]));
    const of = (mode: string, engineMode: string) =>
      plans.find((plan) => plan.mode === mode && plan.engineMode === engineMode)!;
    expect([of("lookup", "dense").exact, of("lookup", "predicted").exact, of("lossless", "predicted").exact]).toEqual([
      true,
      false,
      true,
    ]);
    for (const engineMode of ["dense", "predicted"]) {
      const { run } = of("lookup", engineMode);
      expect(run!.msPerToken).toBeLessThanOrEqual(of(engineMode, engineMode).run!.msPerToken);
      expect(run!.draftTokens).toBeGreaterThan(0);
      expect(run!.draftTokens).toBeLessThanOrEqual(16);
    }
    const dense = of("dense", "dense").run!;
    // The middle of the run's decoded tokens.
    const position = 82;
    const run = runRequest(request, dense.plan.settings, dense.plan.memory);
    const stepMs = (drafts: number) =>
      passCost({ ...run, position, seenTokens: position }, drafts + 1).totalMs / expectedTokens(0.6, drafts);
    const brute = Math.min(...Array.from({ length: 16 }, (_, i) => stepMs(i + 1)));
    expect(of("lookup", "dense").run!.msPerToken / brute).toBeCloseTo(1, 2);
    expect(of("lossless", "predicted").run!.msPerToken).toBeLessThan(dense.msPerToken);
    const times = plans.map(({ run }) => run!.msPerToken);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    // Of a dense pass over two tokens the reads are ahead of the arithmetic, which is worth a draft that is never accepted.
    const none = planModes(request, { lossless: 0, lookup: 0 });
    const hopeless = none.find(({ mode, engineMode }) => mode === "lookup" && engineMode === "predicted")!;
    expect(hopeless.run!.draftTokens).toBe(0);
  });
});
