import { type PhaseMs, type RunStats, totalDramBytes } from "@flashwick/core";
import { planHeader } from "@flashwick/flash-format";
import { parseCheckpointConfig } from "@flashwick/flash-format/convert";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { countDecoded, runLimit, tokenDramBytes } from "./run-limit.js";
import { summarizeRun } from "./run-summary.js";

const config = {
  ...{ model_type: "opt", num_hidden_layers: 2, hidden_size: 64, ffn_dim: 256, num_attention_heads: 4 },
  ...{ vocab_size: 100, max_position_embeddings: 512 },
};
const { geometry } = parseCheckpointConfig(JSON.stringify(config), "config.json");
const header = planHeader(geometry, { dtype: "f16", layout: "bundled" });

const NO_PHASES: PhaseMs = { predict: 0, cache: 0, check: 0, readWait: 0, attention: 0, ffn: 0, head: 0, other: 0 };

/** Ten tokens, all alike. */
function run(phases: Partial<PhaseMs>, more: Partial<RunStats> = {}): RunStats {
  const phaseMs = { ...NO_PHASES, ...phases };
  const ms = Object.values(phaseMs).reduce((sum, part) => sum + part, 0);
  const token = { ms, phaseMs, flashBytes: 1e6, flashReads: 50, neuronsNamed: 40, neuronsLoaded: 20, cacheHits: 20, cacheMisses: 20, flashMs: 1 }; // biome-ignore format: one token
  const bytes = { budget: 0, resident: 0, predictor: 0, neuronCache: 0, kvCache: 0, activations: 0, readBuffers: 0 };
  return {
    ...summarizeRun({
      geometry: header.geometry,
      weights: header.weights,
      backend: "wasm",
      ioMode: "direct",
      mode: "predicted",
      kvDType: "f16",
      policy: "window",
      threads: 2,
      readers: 8,
      mergeGapBytes: 0,
      dramBytes: { ...bytes, total: totalDramBytes(bytes) },
      prefill: [],
      decode: Array.from({ length: 10 }, () => token),
    }),
    ...more,
  };
}

describe("tokenDramBytes", () => {
  const predictor = {
    layers: [0, 1].map(() => ({
      w1: { dtype: "f16" as const, rows: 8, cols: 64 },
      w2: { dtype: "f16" as const, rows: 256, cols: 8 },
    })),
  } as unknown as Parameters<typeof tokenDramBytes>[1];
  const attention = 2 * 4 * 64 * 64 * 2;
  const head = 100 * 64 * 2;
  const predictors = 2 * (8 * 64 + 256 * 8) * 2;
  const named = 40 * 2 * 64 * 2;
  // Ten tokens after 30: the first reads 31 keys and values, the last 40.
  const keysAndValues = 35.5 * 2 * 2 * 4 * 16 * 2;

  it("is attention, head, predictors, what was named, and the keys and values of the mean position", () => {
    const finished = { stats: run({ ffn: 5 }), tokensBefore: 30 };
    expect(countDecoded(finished.stats)).toBe(10);
    expect(tokenDramBytes(header, predictor, finished)).toBeCloseTo(
      attention + head + predictors + named + keysAndValues,
      6,
    );
  });
  it("leaves the predictor out of a dense run", () => {
    const stats = run({ ffn: 5 }, { mode: "dense" });
    expect(tokenDramBytes(header, predictor, { stats, tokensBefore: 30 })).toBeCloseTo(
      attention + head + named + keysAndValues,
      6,
    );
  });
});

describe("runLimit", () => {
  const measured = { dramBytesPerSec: 10e9, flashBytesPerSec: 1e9, together: { dramBytesPerSec: 10e9, flashBytesPerSec: 1e9 } }; // biome-ignore format: one machine
  it("is the bytes over the bandwidths, and how many times longer a token took", () => {
    // 20 MB of DRAM in 2 ms, 1 MB of flash in 1 ms, both at once in 2; the token took 10.
    const limit = runLimit(run({ readWait: 4, ffn: 5, cache: 1 }), 20e6, measured);
    expect(limit).toMatchObject({ dramBytes: 20e6, dramMs: 2, flashMs: 1, togetherMs: 2, times: 5 });
    expect(limit.leftMs).toEqual({ reads: 3, compute: 3, cache: 1, check: 0, other: 0, inTurns: 1 });
  });
  it("does not call hidden reads done in turns", () => {
    const limit = runLimit(run({ readWait: 0.25, ffn: 5 }), 20e6, measured);
    expect(limit.leftMs).toMatchObject({ reads: 0, inTurns: 0.25 });
  });
  it("is DRAM's alone where nothing is read", () => {
    const stats = run({ ffn: 5 }, { flashBytesPerToken: 0 });
    expect(runLimit(stats, 20e6, { ...measured, flashBytesPerSec: 0 })).toMatchObject({ flashMs: 0, togetherMs: 2 });
  });
  it("what is left adds up to the token's time beyond the limit", () => {
    const ms = fc.double({ min: 0, max: 100, noNaN: true });
    const rate = fc.double({ min: 1e8, max: 1e11, noNaN: true });
    const phases = fc.record({ predict: ms, cache: ms, check: ms, readWait: ms, attention: ms, ffn: ms, head: ms, other: ms }); // biome-ignore format: one record
    const together = fc.option(fc.record({ dramBytesPerSec: rate, flashBytesPerSec: rate }), { nil: null });
    fc.assert(
      fc.property(phases, rate, rate, together, (phase, dramBytesPerSec, flashBytesPerSec, both) => {
        const stats = run(phase);
        const limit = runLimit(stats, 1e7, { dramBytesPerSec, flashBytesPerSec, together: both });
        const left = Object.values(limit.leftMs).reduce((sum, part) => sum + part, 0);
        expect(left).toBeCloseTo(stats.tokenMs.mean - limit.togetherMs, 6);
        expect(limit.togetherMs).toBeGreaterThanOrEqual(Math.max(limit.dramMs, limit.flashMs));
      }),
    );
  });
});
