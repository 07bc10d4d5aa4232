import { Random } from "@flashwick/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { deviceProfile, sparsityOf } from "../cost.fixture.js";
import { missingReads } from "../missing-reads.js";
import { tokenRequest } from "../mixture.fixture.js";
import { OPS } from "../pass-arithmetic.js";
import type { TokenRequest } from "../pass-request.js";
import { batchesReadMs, batchMs, readBytesPerSec } from "../read-time.js";
import { missShare, namedShare } from "../sparsity.js";
import { tokenCost } from "../token-cost.js";
import { type NeuronUse, sampleUse } from "./neuron-use.js";
import { type SimulatedRun, simulateRun } from "./simulate-run.js";
import { request, requests, shape, simulated } from "./simulation.fixture.js";
import { PHASES } from "./token-steps.js";

/** What a request's layers read, as the closed form has it. */
function readsByLayer({ shape, profile, sparsity, settings, slotsByLayer, seenTokens }: TokenRequest) {
  return slotsByLayer.map((slots, layer) => {
    const use = { heldShare: slots / shape.dFf, windowTokens: settings.windowTokens, seenTokens };
    const missing = shape.dFf * missShare(sparsity, layer, use);
    const reads = missingReads(shape, missing, settings.mergeGapBytes, sparsity.clumping);
    const waves = Math.max(1, (shape.dFf * namedShare(sparsity, layer)) / slots);
    const rate = readBytesPerSec(profile.flash, reads.sizeBytes, settings.readers);
    const roundMs = (1000 * settings.readers * reads.sizeBytes) / rate;
    return { ...reads, missing, waves, roundMs, rounds: reads.count / waves / settings.readers };
  });
}

/** Of a token's reads, what the simulation and the closed form differ by. */
function readMsApart(of: TokenRequest): number {
  return Math.abs(simulated(of).tokens[0]!.phases.wait - tokenCost(of).readMs);
}

/**
 * At most: half a round a batch, a last wave that is not full, and what is whole in the simulation and a mean in the closed form: in each layer a neuron
 * and half a read, priced by the closed form itself, which takes a read alone for longer than one among others. And the steps of read-service.ts, 1 %.
 */
function readMsBound(of: TokenRequest): number {
  const { shape, sparsity, settings } = of;
  const { flash } = of.profile;
  const bounds = readsByLayer(of).map(({ missing, count, sizeBytes, waves, roundMs, rounds }) => {
    const readsMs = (reads: number) => batchesReadMs(flash, Math.max(0, reads), sizeBytes, settings.readers, waves);
    const neuronsMs = (neurons: number) => {
      const reads = missingReads(shape, Math.max(0, neurons), settings.mergeGapBytes, sparsity.clumping);
      const ms = batchesReadMs(flash, reads.count, reads.sizeBytes, settings.readers, waves);
      return ms + (reads.extraPieces * flash.pieceUs) / 1000;
    };
    const half = rounds * waves > 1 ? roundMs / 2 : 0;
    const lastWave = waves > 1 ? 1.5 * roundMs + batchMs(flash, settings.readers) : 0;
    return waves * half + lastWave + mostApart(neuronsMs, missing, 1) + mostApart(readsMs, count, 0.5);
  });
  return bounds.reduce((sum, ms) => sum + ms, 0) + 0.01 * tokenCost(of).readMs;
}

/** How much a function changes by a step up or down. */
function mostApart(of: (at: number) => number, at: number, step: number): number {
  return Math.max(Math.abs(of(at + step) - of(at)), Math.abs(of(at) - of(at - step)));
}

/** Misses of a run of tokens that differ, to be read by a given device and settings. */
function runOf(of: TokenRequest, more: Parameters<typeof simulated>[1] = {}, tokens = 20): SimulatedRun {
  const use = sampleUse({ ...of, tokens }, new Random(5));
  return simulateRun({ ...of, use, clumping: of.sparsity.clumping, ...more });
}

describe("against the closed form, without overlap, jitter and fluctuation", () => {
  it("decides and computes in the same time", () => {
    fc.assert(
      fc.property(requests, fc.boolean(), (of, dense) => {
        const settings = { ...of.settings, mode: dense ? ("dense" as const) : ("predicted" as const) };
        const closed = tokenCost({ ...of, settings });
        const { phases } = simulated({ ...of, settings }).tokens[0]!;
        // Whole neurons where the closed form has means: one in each of four layers.
        const off = (count: number) => 1e-9 + 4 / Math.max(1, count);
        const near = (ms: number, expected: number, count: number) =>
          expect(Math.abs(ms - expected)).toBeLessThanOrEqual(off(count) * expected);
        near(phases.attention, closed.attentionMs, Number.POSITIVE_INFINITY);
        near(phases.predict, closed.predictMs, Number.POSITIVE_INFINITY);
        near(phases.head, closed.headMs, Number.POSITIVE_INFINITY);
        near(phases.ffn, closed.ffnMs, closed.neuronsNamed);
        near(phases.cache, closed.cacheMs, closed.neuronsLoaded);
        // The check's calls are there as soon as anything is loaded, and for a mean below 1 in part.
        if (readsByLayer({ ...of, settings }).every(({ missing }) => missing >= 1))
          near(phases.check, closed.checkMs, closed.neuronsLoaded);
      }),
      { numRuns: 60 },
    );
  });
  it("reads in the same time but for half a round of reads a batch, and a neuron and a read a layer", () => {
    fc.assert(
      fc.property(requests, (of) => {
        expect(readMsApart(of)).toBeLessThanOrEqual(readMsBound(of));
      }),
      { numRuns: 150 },
    );
  });
  it("was further apart than that where layers miss parts of a neuron and a read alone takes a millisecond", () => {
    // The 54th of these: 10.48, 0.05, 0.02 and 0.02 missing neurons, of which the simulation reads 10 and then 1.
    const [of] = fc.sample(requests, { seed: 614596707, numRuns: 54 }).slice(-1);
    expect(readsByLayer(of!).filter(({ missing }) => missing < 0.5)).toHaveLength(3);
    expect(readMsApart(of!)).toBeGreaterThan(0.8);
    expect(readMsApart(of!)).toBeLessThanOrEqual(readMsBound(of!));
  });
  it("takes the same time within 2 % where a batch has 25 rounds of reads or more", () => {
    let compared = 0;
    fc.assert(
      fc.property(requests, fc.integer({ min: 1, max: 6 }), (any, readers) => {
        const settings = { ...any.settings, readers, mergeGapBytes: 0, windowTokens: 1 };
        const of = { ...any, settings, slotsByLayer: any.slotsByLayer.map(() => 12000) };
        if (readsByLayer(of).some(({ rounds, waves }) => rounds < 25 || waves > 1)) return;
        compared++;
        const closed = tokenCost(of).totalMs;
        expect(Math.abs(simulated(of).totalMs.mean / closed - 1)).toBeLessThan(0.02);
      }),
      { numRuns: 200, seed: 3 },
    );
    expect(compared).toBeGreaterThan(40);
  });
  it("takes the same time within 2 % in dense mode, and where the calling thread reads", () => {
    let compared = 0;
    fc.assert(
      fc.property(requests, fc.boolean(), (any, dense) => {
        const mode = dense ? ("dense" as const) : ("predicted" as const);
        const of = { ...any, settings: { ...any.settings, mode, readers: dense ? any.settings.readers : 0 } };
        const closed = tokenCost(of);
        if (!dense && closed.neuronsLoaded < 400) return;
        if (!dense) compared++;
        expect(Math.abs(simulated(of).totalMs.mean / closed.totalMs - 1)).toBeLessThan(0.02);
      }),
      { numRuns: 60 },
    );
    expect(compared).toBeGreaterThan(10);
  });
});

describe("with overlap", () => {
  it("takes no longer than one thing after the other, and no less than the longer of the two", () => {
    fc.assert(
      fc.property(requests, (of) => {
        const alone = simulated(of).tokens[0]!;
        const both = simulated({ ...of, settings: { ...of.settings, overlap: true } }).tokens[0]!;
        expect(both.totalMs).toBeLessThanOrEqual(alone.totalMs * (1 + 1e-9));
        expect(both.totalMs).toBeGreaterThanOrEqual(Math.max(alone.phases.wait, alone.computeBusyMs) * (1 - 1e-9));
      }),
      { numRuns: 100 },
    );
  });
  it("hides what the closed form hides, where the queue is full to the end", () => {
    const of = { ...request, settings: { ...request.settings, overlap: true } };
    for (const parallelBlock of [false, true]) {
      const closed = tokenCost({ ...of, shape: { ...shape, parallelBlock } });
      const { totalMs } = simulated({ ...of, shape: { ...shape, parallelBlock } });
      // The engine lands overlapped reads in groups, which the closed form charges and the simulation leaves out.
      const { profile, settings } = of;
      const groups = Math.max(1, Math.min(4, closed.neuronsLoaded / shape.nLayers / 32));
      const { calls, split } = OPS.landing;
      const callsMs = (calls * profile.opUs + (settings.threads > 1 ? split * profile.handOffUs : 0)) / 1000;
      const landing = shape.nLayers * (groups - 1) * (batchMs(profile.flash, settings.readers) / 2 + callsMs);
      expect(closed.exposedReadMs - landing).toBeLessThan(0.97 * closed.readMs);
      expect(Math.abs(totalMs.mean / (closed.totalMs - landing) - 1)).toBeLessThan(0.02);
    }
  });
  it("has attention beside the reads in parallel blocks only", () => {
    const of = { ...request, settings: { ...request.settings, overlap: true } };
    const after = simulated(of);
    const beside = simulated({ ...of, shape: { ...shape, parallelBlock: true } });
    expect(beside.totalMs.mean).toBeLessThan(after.totalMs.mean - 0.1 * after.phasesMs.attention);
  });
});

describe("conservation", () => {
  const jitter = { readSigma: 0.5, tokenSigma: 0.2 };

  it("reads what was missing, to the byte, and spends its time in phases", () => {
    fc.assert(
      fc.property(requests, fc.boolean(), fc.boolean(), (any, overlap, scatters) => {
        const of = { ...any, settings: { ...any.settings, overlap } };
        const use = sampleUse({ ...of, tokens: 3 }, new Random(1));
        const run = simulateRun({ ...of, use, clumping: null, jitter: scatters ? jitter : null });
        for (const [t, { totalMs, phases, flashBytes, computeBusyMs }] of run.tokens.entries()) {
          const reads = use[t]!.map(({ missing }) => missingReads(of.shape, missing, of.settings.mergeGapBytes, null));
          const bytes = reads.reduce((sum, read) => sum + read.bytes, 0);
          expect(Math.abs(flashBytes - bytes)).toBeLessThanOrEqual(1e-9 * bytes + 1e-6);
          const inPhases = PHASES.reduce((sum, phase) => sum + phases[phase], 0);
          expect(inPhases).toBeCloseTo(totalMs, 6);
          expect(computeBusyMs + phases.wait).toBeCloseTo(totalMs, 6);
        }
        expect(run.inFlightShare.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 9);
      }),
      { numRuns: 60 },
    );
  });
  it("has no time run back, and no reader idle while reads wait", () => {
    fc.assert(
      fc.property(requests, fc.boolean(), (any, scatters) => {
        const of = { ...any, settings: { ...any.settings, overlap: true } };
        const lookahead = { foundShare: 0.6, wrongShare: 0.3 };
        const { timeline } = runOf(of, { jitter: scatters ? jitter : null, lookahead, timelineTokens: 2 }, 2);
        const { readers } = of.settings;
        expect(timeline.filter(({ atMs }, i) => i > 0 && atMs < timeline[i - 1]!.atMs)).toEqual([]);
        expect(
          timeline.filter(({ inFlight, waiting }) => inFlight > readers || (waiting > 0 && inFlight < readers)),
        ).toEqual([]);
      }),
      { numRuns: 15 },
    );
  });
  it("reads the runs of a trace as they stand", () => {
    const one: NeuronUse = { named: 20, missing: 9, runs: [4, 1, 6] };
    const use = [[one, one, one, { named: 3, missing: 0 }]];
    const token = simulateRun({ ...request, use, clumping: null }).tokens[0]!;
    expect([token.flashReads, token.flashBytes]).toEqual([9, 3 * 11 * 4096]);
  });
});

describe("a better machine", () => {
  it("is never slower for more bandwidth", () => {
    fc.assert(
      fc.property(requests, fc.double({ min: 1, max: 4, noNaN: true }), (of, times) => {
        const { flash } = of.profile;
        const reads = flash.reads.map((point) => ({ ...point, bytesPerSec: point.bytesPerSec * times }));
        const sequentialBytesPerSec = flash.sequentialBytesPerSec * times;
        const profile = { ...of.profile, flash: { ...flash, sequentialBytesPerSec, reads } };
        const mean = runOf(of, {}, 5).totalMs.mean;
        expect(runOf({ ...of, profile }, {}, 5).totalMs.mean).toBeLessThanOrEqual(mean * (1 + 1e-9));
      }),
      { numRuns: 40, endOnFailure: true },
    );
  });
  it("is never slower for twice the reads in flight, averaged over how many are left for the last round", () => {
    const use = Array.from({ length: 64 }, (_, more) => {
      const missing = 300 + more;
      return shape.predictor!.bytesByLayer.map(() => ({ named: 800, missing, runs: new Array(missing).fill(1) }));
    });
    fc.assert(
      fc.property(requests, fc.integer({ min: 0, max: 4 }), (of, log) => {
        const [mean, deeper] = [2 ** log, 2 ** (log + 1)].map((readers) => {
          const settings = { ...of.settings, readers };
          const slotsByLayer = of.slotsByLayer.map(() => shape.dFf);
          return simulateRun({ ...of, settings, slotsByLayer, use, clumping: null }).totalMs.mean;
        });
        expect(deeper).toBeLessThanOrEqual(mean! * 1.0001);
      }),
      { numRuns: 30, endOnFailure: true },
    );
  });
});

describe("tails", () => {
  it("grow with jitter, which leaves the mean of a long queue where it was", () => {
    const of = { ...request, sparsity: { ...request.sparsity, namedQuantiles: null } };
    const runs = [0, 0.3, 0.9].map((sigma) => runOf(of, { jitter: { readSigma: sigma, tokenSigma: sigma / 3 } }, 120));
    const p99s = runs.map(({ totalMs }) => totalMs.p99);
    expect(p99s[1]).toBeGreaterThan(1.05 * p99s[0]!);
    expect(p99s[2]).toBeGreaterThan(1.05 * p99s[1]!);
    expect(runs[1]!.totalMs.mean / runs[0]!.totalMs.mean).toBeLessThan(1.05);
  });
  it("follow what tokens name", () => {
    const { totalMs } = runOf(request, {}, 400);
    expect(totalMs.p99 / totalMs.mean).toBeGreaterThan(1.35);
    expect(totalMs.p50).toBeLessThan(totalMs.mean);
  });
  it("are the same for the same seed, and others for another", () => {
    const jitter = { readSigma: 0.4, tokenSigma: 0.1 };
    const of = (seed: number) => runOf(request, { jitter, seed }, 5).tokens;
    expect(of(1)).toEqual(of(1));
    expect(of(2)).not.toEqual(of(1));
  });
});

describe("lookahead", () => {
  const lookahead = { foundShare: 0.8, wrongShare: 0.25 };

  it("hides reads behind attention on a device that is often idle, and reads more for it", () => {
    const of = { ...request, profile: deviceProfile({ operationUs: 4, bandwidth: 8e9 }) };
    const [plain, ahead] = [runOf(of), runOf(of, { lookahead })];
    expect(ahead.phasesMs.wait).toBeLessThan(0.7 * plain.phasesMs.wait);
    expect(ahead.phasesMs.guess).toBeGreaterThan(0);
    const bytes = ({ tokens }: SimulatedRun) => tokens.reduce((sum, { flashBytes }) => sum + flashBytes, 0);
    expect(bytes(ahead)).toBeGreaterThan(1.01 * bytes(plain));
  });
  it("drops wrong guesses that have not begun when the prediction is there", () => {
    const [plain, ahead] = [runOf(request), runOf(request, { lookahead })];
    const sum = ({ tokens }: SimulatedRun, key: "droppedReads" | "flashReads") =>
      tokens.reduce((all, token) => all + token[key], 0);
    expect(sum(ahead, "droppedReads")).toBeGreaterThan(0);
    expect(sum(ahead, "flashReads")).toBeLessThan(1.25 * sum(plain, "flashReads"));
  });
  it("guesses nothing in parallel blocks, whose reads fly during attention anyway", () => {
    const parallel = { ...request, shape: { ...shape, parallelBlock: true } };
    expect(runOf(parallel, { lookahead }).tokens).toEqual(runOf(parallel).tokens);
  });
});

describe("refuses", () => {
  const layer: NeuronUse = { named: 10, missing: 4 };
  const cases: [string, NeuronUse[][]][] = [
    ["use", []],
    ["use[0]", [[layer]]],
    ["use[0][2].named", [[layer, layer, { named: 0, missing: 0 }, layer]]],
    ["use[0][0].missing", [[{ named: 10, missing: 11 }, layer, layer, layer]]],
    ["use[0][1].runs", [[layer, { ...layer, runs: [3] }, layer, layer]]],
  ];
  it.each(cases)("a trace with a senseless %s", (field, use) => {
    expect(() => simulateRun({ ...request, use, clumping: null })).toThrowError(
      expect.objectContaining({ code: "INPUT_INVALID", details: { field } }),
    );
  });
  it("a mixture of experts, and says who prices it", () => {
    const mixed = tokenRequest();
    expect(() => simulateRun({ ...mixed, use: [[layer, layer, layer]], clumping: null })).toThrowError(
      expect.objectContaining({ code: "UNSUPPORTED_FEATURE", message: expect.stringContaining("tokenCost") }),
    );
  });
});

it("sampled use has the statistics' mean, and their quantiles", () => {
  const sparsity = sparsityOf([0.2, 0.1, 0.05, 0.01]);
  const use = sampleUse({ ...request, sparsity, tokens: 3000 }, new Random(9));
  const named = use
    .map((layers) => layers.reduce((sum, layer) => sum + layer.named, 0) / (0.36 * shape.dFf))
    .sort((a, b) => a - b);
  expect(Math.abs(named.reduce((sum, n) => sum + n, 0) / named.length - 1)).toBeLessThan(0.03);
  for (const [share, quantile] of [
    [0.5, 0.95],
    [0.9, 1.3],
    [0.99, 1.7],
  ] as const) {
    expect(Math.abs(named[Math.floor(share * named.length)]! / quantile - 1)).toBeLessThan(0.05);
  }
});

it("sampled misses are as uneven as the statistics say", () => {
  const even = sparsityOf([0.2, 0.1, 0.05, 0.1]);
  const layers = even.layers.map((layer) => ({ ...layer, unevenness: 0.36 }));
  const use = sampleUse({ ...request, sparsity: { ...even, layers }, tokens: 2000 }, new Random(2)).map(
    (of) => of[0]!.missing,
  );
  const mean = use.reduce((sum, n) => sum + n, 0) / use.length;
  const variance = use.reduce((sum, n) => sum + (n - mean) ** 2, 0) / use.length;
  expect(Math.abs(variance / mean ** 2 - 0.36)).toBeLessThan(0.06);
});
