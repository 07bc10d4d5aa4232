import { isFlashwickError } from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { DEVICE_PRESETS, devicePreset } from "./device-presets.js";
import { parseDeviceProfile } from "./device-profile-document.js";
import { planMemory } from "./memory-plan.js";
import { MODEL_PRESETS, modelPreset } from "./model-presets.js";
import { denseBytes } from "./model-shape.js";
import { planRun } from "./plan-run.js";
import { readBytesPerSec } from "./read-time.js";
import { checkSparsity, denseSparsity, heldShare, missShare, unionShare } from "./sparsity.js";
import { tokenCost } from "./token-cost.js";

function message(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (isFlashwickError(error) && error.code === "INPUT_INVALID") return error.message;
    throw error;
  }
  throw new Error("nothing was thrown");
}

/** Weights of a preset: what its name says, in its makers' own counts. */
const PARAMETERS: Readonly<Record<string, number>> = {
  "opt-125m": 125e6,
  "opt-350m": 331e6,
  "opt-1.3b": 1.316e9,
  "opt-2.7b": 2.652e9,
  "opt-6.7b": 6.658e9,
  "opt-13b": 12.85e9,
  "opt-30b": 29.97e9,
  "opt-66b": 65.72e9,
  "falcon-7b": 6.922e9,
  "falcon-40b": 41.3e9,
  "persimmon-8b": 9.4e9,
  "phi-2": 2.78e9,
  "llama-2-7b": 6.738e9,
};

function planOf(model: string, device: string, budgetShare: number) {
  const { shape, sparsity, memoryRequest } = modelPreset(model, "f16");
  const budgetBytes = budgetShare * (denseBytes(shape) + shape.rowTableBytes);
  const wish = { budgetBytes, contextTokens: 384, kvPrecision: "f16" } as const;
  return planRun({
    shape,
    profile: devicePreset(device),
    sparsity,
    length: { promptTokens: 128, decodeTokens: 256 },
    fixed: { overlap: false, mergeGapBytes: 0 },
    memory: ({ mode }) => planMemory(memoryRequest(mode, wish)),
  });
}

describe("device presets", () => {
  it.each(DEVICE_PRESETS)("%s is a profile as one that is read from a file", (name) => {
    const profile = devicePreset(name);
    expect(parseDeviceProfile(JSON.parse(JSON.stringify(profile)), name)).toEqual(profile);
    expect(profile.source.length).toBeGreaterThan(20);
  });
  it("read as fast as their data sheets say", () => {
    const rate = (name: string, depth: number) => readBytesPerSec(devicePreset(name).flash, 4096, depth) / 4096;
    expect(rate("nvme-pcie4", 1) / 22_000).toBeCloseTo(1, 1);
    expect(rate("sata-ssd", 1) / 13_000).toBeCloseTo(1, 1);
    expect(rate("sata-ssd", 32) / 98_000).toBeCloseTo(1, 1);
    expect((rate("ufs-4.0", 32) * 4096) / 450e6).toBeCloseTo(1, 2);
  });
  it("say what there is when asked for another", () => {
    expect(message(() => devicePreset("floppy"))).toContain("ufs-4.0, nvme-pcie4");
  });
});

describe("model presets", () => {
  it.each(MODEL_PRESETS)("%s has the weights of its name, within 1 %", (name) => {
    const { shape, sparsity, published } = modelPreset(name, "f16");
    expect((denseBytes(shape) + shape.rowTableBytes) / 2 / PARAMETERS[name]!).toBeCloseTo(1, 2);
    checkSparsity(sparsity, shape.nLayers);
    expect(published.ranks).toHaveLength(shape.nLayers);
  });
  it("has the paper's shares of OPT 6.7B: 3.2 % embeddings, 32.3 % attention, 64.5 % FFN, 2.4 % predictors", () => {
    const { shape } = modelPreset("opt-6.7b", "f16");
    const all = denseBytes(shape) + shape.rowTableBytes;
    const predictors = shape.predictor!.bytesByLayer.reduce((sum, bytes) => sum + bytes, 0);
    expect((shape.headBytes + shape.rowTableBytes) / all).toBeCloseTo(0.032, 3);
    expect((shape.nLayers * shape.attentionBytes) / all).toBeCloseTo(0.323, 3);
    expect((shape.nLayers * shape.dFf * shape.recordBytes) / all).toBeCloseTo(0.645, 3);
    expect(predictors / all).toBeCloseTo(0.0236, 3);
  });
  it("attention and head beside records in q4 were priced as four bits: they have eight", () => {
    const { shape } = modelPreset("llama-2-7b", "q4");
    expect([shape.attentionTypes, shape.ffnTypes, shape.headDtype]).toEqual([
      [{ dtype: "q8_0", share: 1 }],
      [{ dtype: "q4", share: 1 }],
      "q8_0",
    ]);
  });
  it("hold, and load, what the paper says of windows", () => {
    for (const [name, holds, loads] of [
      ["opt-6.7b", 0.24, 0.024],
      ["falcon-7b", 0.33, 0.031],
    ] as const) {
      const { sparsity } = modelPreset(name, "f16");
      expect(unionShare(sparsity, 0, 5)).toBeCloseTo(holds, 2);
      expect(missShare(sparsity, 0, { heldShare: 1, windowTokens: 5, seenTokens: 100 })).toBeCloseTo(loads, 2);
    }
  });
  it("are planned without a file, each at two thirds of itself, faster than layers would stream", () => {
    for (const name of MODEL_PRESETS) {
      const plan = planOf(name, "nvme-pcie4", 0.66);
      expect([name, plan.settings.mode]).toEqual([name, "predicted"]);
      const dense = plan.alternatives.find(({ change }) => change.mode === "dense")!;
      expect(plan.cost.token.totalMs).toBeLessThan(dense.totalMs);
    }
  });
  it("say what there is when asked for another", () => {
    expect(message(() => modelPreset("gpt-2", "f16"))).toContain("opt-6.7b");
  });
});

describe("the paper's method", () => {
  const { shape, sparsity } = modelPreset("opt-6.7b", "f16");
  const request = {
    shape,
    profile: devicePreset("nvme-pcie4"),
    sparsity,
    settings: { mode: "predicted", windowTokens: 5, threads: 1, readers: 32, mergeGapBytes: 0, overlap: false },
    slotsByLayer: new Array<number>(32).fill(shape.dFf),
    kvPrecision: "f16",
    position: 100,
    seenTokens: 100,
  } as const;
  const ours = tokenCost(request);

  it("computes with what the window holds: 2.4 times what is named", () => {
    const cost = tokenCost({ ...request, method: { computesHeld: true, joinsNeighbours: true } });
    expect(cost.ffnMs / ours.ffnMs).toBeCloseTo(2.4, 1);
    expect({ ...cost, ffnMs: ours.ffnMs, totalMs: ours.totalMs }).toEqual(ours);
  });
  it("reads each bundle by itself", () => {
    const cost = tokenCost({ ...request, method: { computesHeld: false, joinsNeighbours: false } });
    expect(cost.flashReads).toBeCloseTo(cost.neuronsLoaded, 6);
    expect(cost.flashReads).toBeGreaterThan(ours.flashReads);
    expect(cost.flashBytes).toBeCloseTo(ours.flashBytes, 0);
  });
  it("holds no more than its slots, its window and its tokens give", () => {
    const use = { heldShare: 1, windowTokens: Number.POSITIVE_INFINITY, seenTokens: 3 };
    expect(heldShare(sparsity, 0, use)).toBeCloseTo(unionShare(sparsity, 0, 4), 12);
    expect(heldShare(sparsity, 0, { ...use, heldShare: 0.12 })).toBe(0.12);
    expect(heldShare(sparsity, 0, { ...use, windowTokens: 0 })).toBeCloseTo(0.1, 12);
    expect(heldShare(denseSparsity(1), 0, use)).toBe(1);
  });
});
