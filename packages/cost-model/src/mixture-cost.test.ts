import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { deviceProfile, devices } from "./cost.fixture.js";
import { expertsLoaded, localityOf } from "./expert-locality.js";
import { planMemory } from "./memory-plan.js";
import {
  experts,
  halfHits,
  layer,
  memoryOf,
  mixtures,
  plainProfile,
  settings,
  shapeWith,
  tokenRequest,
} from "./mixture.fixture.js";
import { expertFlashBytes, type MixtureShape } from "./mixture-shape.js";
import { passCost } from "./pass-cost.js";
import { planRun } from "./plan-run.js";
import { prefillCost } from "./prefill-cost.js";
import { runCost } from "./run-cost.js";
import { tokenCost } from "./token-cost.js";

describe("a token of a mixture, by hand", () => {
  const one: MixtureShape = { layers: [{ ...layer, experts: { ...experts, chosen: 2 } }] };
  const at = (shares: number, overlap: boolean, slots = 8) =>
    tokenCost(
      tokenRequest({
        shape: shapeWith(one),
        locality: halfHits(one),
        profile: plainProfile(shares),
        settings: { ...settings, overlap },
        slotsByLayer: [slots],
        position: 0,
      }),
    );
  // 0.1 ms an expert, 0.05 the shared one; 1 ms a read. No, one and two misses with probability 1/4, 1/2, 1/4.
  it("reads its misses and computes everything", () => {
    const cost = at(1, false);
    expect(cost.neuronsNamed).toBe(2);
    expect(cost.neuronsLoaded).toBeCloseTo(1, 12);
    expect(cost.flashBytes).toBeCloseTo(1e6, 3);
    expect(cost.readMs).toBeCloseTo(1, 9);
    expect(cost.exposedReadMs).toBe(cost.readMs);
    expect(cost.ffnMs).toBeCloseTo(0.25, 9);
    expect(cost.predictMs).toBeCloseTo(0.006, 9);
    expect(cost.headMs).toBeCloseTo(0.4, 9);
    const parts = cost.exposedReadMs + cost.predictMs + cost.attentionMs + cost.ffnMs + cost.headMs + cost.checkMs;
    expect(cost.totalMs).toBeCloseTo(parts, 9);
  });
  it("computes all but the last expert to come while misses fly: the longer of both where a core is free", () => {
    // An expert and the shared one hide 0.15 ms, whether the expert is held or the first of two misses.
    expect(at(1, true).exposedReadMs).toBeCloseTo(0.5 * (1 - 0.15) + 0.25 * (2 - 0.15), 9);
  });
  it("takes the sum of both where each halves the other's pace", () => {
    expect(at(0.5, true).totalMs).toBeCloseTo(at(0.5, false).totalMs, 9);
  });
  it("hides reads behind the shared expert alone where there is one slot", () => {
    expect(at(1, true, 1).exposedReadMs).toBeCloseTo(0.5 * (1 - 0.05) + 0.25 * (2 - 0.05), 9);
  });
  it("reads three slices where an expert lies in three tensors, and cuts long ones", () => {
    const sliced = { ...one.layers[0]!, experts: { ...experts, chosen: 2, pieceBytes: [4e5, 3e5, 3e5] } };
    const long = { ...sliced, experts: { ...sliced.experts, pieceBytes: [5 * 2 ** 20, 100, 100] } };
    const readsOf = (of: typeof sliced) =>
      tokenCost(tokenRequest({ shape: shapeWith({ layers: [of] }), locality: halfHits(one), slotsByLayer: [8] }))
        .flashReads;
    expect(readsOf(sliced)).toBeCloseTo(3, 12);
    expect(readsOf(long)).toBeCloseTo(4, 12);
  });
  it("computes a dense layer, and reads nothing of it", () => {
    const dense = { experts: null, resident: [{ dtype: "f16", bytes: 3e6 }] } as const;
    const cost = tokenCost(
      tokenRequest({
        shape: shapeWith({ layers: [one.layers[0]!, dense] }),
        locality: halfHits({ layers: [one.layers[0]!, dense] }),
        profile: plainProfile(1),
        slotsByLayer: [8, 0],
      }),
    );
    expect(cost.ffnMs).toBeCloseTo(0.25 + 0.3, 9);
    expect(cost.flashBytes).toBeCloseTo(1e6, 3);
  });
  it("takes experts and resident weights at the rates of their types", () => {
    const rate = { op: "linear", threads: 1, workingSetBytes: 1e8 } as const;
    const kernels = [
      { ...rate, dtype: "f16", bytesPerSec: 1e10 },
      { ...rate, dtype: "q4_k", bytesPerSec: 5e9 },
      { ...rate, dtype: "q6_k", bytesPerSec: 2.5e9 },
    ] as const;
    const weights = [
      { dtype: "q4_k", bytes: 6e5 },
      { dtype: "q6_k", bytes: 4e5 },
    ] as const;
    const shape = shapeWith({ layers: [{ ...layer, experts: { ...experts, chosen: 2, weights } }] });
    const cost = tokenCost(
      tokenRequest({ shape, locality: halfHits(one), profile: { ...plainProfile(1), kernels }, slotsByLayer: [8] }),
    );
    expect(cost.ffnMs).toBeCloseTo(0.05 + 2 * (0.12 + 0.16), 9);
  });
});

describe("any mixture on any device", () => {
  const requests = fc.record({
    of: mixtures,
    device: devices,
    slots: fc.nat(40),
    seen: fc.nat(300),
    overlap: fc.boolean(),
  });
  it("reads as many bytes as its misses have, and misses no more than it names", () => {
    fc.assert(
      fc.property(requests, fc.integer({ min: 1, max: 64 }), ({ of, device, slots, seen, overlap }, tokens) => {
        const shape = shapeWith(of);
        const slotsByLayer = of.layers.map(({ experts: e }) => Math.min(e?.count ?? 0, 1 + slots));
        const request = tokenRequest({
          shape,
          profile: deviceProfile(device),
          settings: { ...settings, overlap },
          slotsByLayer,
          seenTokens: seen,
        });
        const cost = passCost(request, tokens);
        const bytes = of.layers.map(({ experts: e }, l) => {
          const use = { slots: slotsByLayer[l]!, windowTokens: settings.windowTokens, seenTokens: seen };
          return e ? expertsLoaded(request.locality!, l, e.chosen, use, tokens) * expertFlashBytes(e) : 0;
        });
        expect(cost.flashBytes).toBeCloseTo(
          bytes.reduce((sum, n) => sum + n, 0),
          0,
        );
        expect(cost.neuronsLoaded).toBeLessThanOrEqual(cost.neuronsNamed + 1e-9);
        expect(Object.values(cost).every((part) => Number.isFinite(part) && part >= 0)).toBe(true);
      }),
    );
  });
  it("is never slower for more slots", () => {
    fc.assert(
      fc.property(requests, fc.nat(10), ({ of, device, slots, seen, overlap }, more) => {
        const at = (n: number) =>
          tokenCost(
            tokenRequest({
              shape: shapeWith(of),
              profile: deviceProfile(device),
              settings: { ...settings, overlap },
              slotsByLayer: of.layers.map(({ experts: e }) => Math.min(e?.count ?? 0, n)),
              seenTokens: seen,
            }),
          );
        const [few, many] = [at(1 + slots), at(1 + slots + more)];
        expect(many.flashBytes).toBeLessThanOrEqual(few.flashBytes * (1 + 1e-9));
        expect(many.readMs).toBeLessThanOrEqual(few.readMs * (1 + 1e-9));
        expect(many.totalMs).toBeLessThanOrEqual(few.totalMs * (1 + 1e-9));
      }),
    );
  });
  it("is never slower for more memory, as it is planned", () => {
    fc.assert(
      fc.property(mixtures, devices, fc.nat(100), fc.nat(100), (of, device, share, more) => {
        const shape = shapeWith(of);
        const all = planMemory(memoryOf(shape, null));
        const at = (percent: number) => {
          const span = all.dram.budget - all.smallestBudgetBytes;
          const budget = all.smallestBudgetBytes + Math.floor((span * Math.min(100, percent)) / 100);
          return planRun({
            shape,
            profile: deviceProfile(device),
            sparsity: null,
            locality: localityOf(of),
            length: { promptTokens: 20, decodeTokens: 40 },
            memory: () => planMemory(memoryOf(shape, budget)),
          }).cost.token;
        };
        const [small, large] = [at(share), at(share + more)];
        expect(large.flashBytes).toBeLessThanOrEqual(small.flashBytes * (1 + 1e-9));
        // A later candidate must gain this much.
        expect(large.totalMs).toBeLessThanOrEqual(small.totalMs * 1.0051);
      }),
      { numRuns: 60 },
    );
  });
});

describe("a prompt of a mixture", () => {
  const request = tokenRequest({ profile: plainProfile(1) });
  it("reads each expert at most once a batch, and none twice where all fit", () => {
    const all = 3 * 16e6;
    const whole = prefillCost({ ...request, slotsByLayer: [16, 16, 16] }, 500, 50);
    expect(whole.flashBytes).toBeLessThanOrEqual(all + 1);
    expect(whole.flashBytes).toBeGreaterThan(0.99 * all);
    const few = prefillCost({ ...request, slotsByLayer: [4, 4, 4] }, 500, 50);
    expect(few.flashBytes).toBeGreaterThan(whole.flashBytes);
    expect(few.flashBytes).toBeLessThanOrEqual(10 * all);
  });
  it("reads less in wider batches", () => {
    const bytes = [1, 4, 16, 64].map(
      (batch) => prefillCost({ ...request, slotsByLayer: [4, 4, 4] }, 256, batch).flashBytes,
    );
    expect(bytes).toEqual([...bytes].sort((a, b) => b - a));
    expect(bytes[3]).toBeLessThan(bytes[0]! / 3);
  });
  it("never reads an expert that no token chose: one token's are those it chooses", () => {
    expect(prefillCost(request, 1, 128).flashBytes).toBeCloseTo(3 * 4e6, 3);
  });
  it("takes the longer of reads and arithmetic where a core is free, layer by layer", () => {
    const cost = prefillCost(request, 64, 64);
    expect(cost.totalMs).toBeGreaterThanOrEqual(Math.max(cost.readMs, cost.computeMs));
    expect(cost.totalMs).toBeLessThan(cost.readMs + cost.computeMs);
  });
});

describe("a run of a mixture", () => {
  it("has limits of what it computes with in DRAM and of what it misses on flash", () => {
    const request = tokenRequest({ profile: plainProfile(1) });
    const { limits, token, tokensPerSec, percentilesMs } = runCost(request, {
      promptTokens: 16,
      decodeTokens: 16,
      batchTokens: 16,
    });
    const resident = 3 * (2e6 + 5e5 + 60_000) + 4e6;
    expect(limits.dramMs).toBeCloseTo((resident + 3 * 4 * 1e6) / 30e6, 6);
    expect(limits.flashMs).toBeCloseTo(token.readMs, 6);
    expect(tokensPerSec).toBeCloseTo(1000 / token.totalMs, 9);
    expect(percentilesMs).toBeNull();
  });
});
