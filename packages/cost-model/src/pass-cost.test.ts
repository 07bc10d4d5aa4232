import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { deviceProfile, devices, rowStream, settings, shape, sparsities, sparsityOf } from "./cost.fixture.js";
import { passCost } from "./pass-cost.js";
import type { TokenRequest } from "./pass-request.js";
import { denseSparsity, unionShare } from "./sparsity.js";
import { tokenCost } from "./token-cost.js";

function request(more: Partial<TokenRequest> = {}): TokenRequest {
  return {
    shape,
    profile: deviceProfile({}),
    sparsity: sparsityOf([0.4, 0.05, 0.05, 0.1]),
    slotsByLayer: [1600, 600, 600, 900],
    kvPrecision: "f16",
    position: 64,
    seenTokens: 64,
    settings,
    ...more,
  };
}

const dense = (more: Partial<TokenRequest> = {}) =>
  request({
    sparsity: denseSparsity(shape.nLayers),
    slotsByLayer: [4096, 64, 64, 64],
    settings: { ...settings, mode: "dense" },
    ...more,
  });

const ARITHMETIC = ["predictMs", "cacheMs", "checkMs", "attentionMs", "ffnMs", "headMs"] as const;

describe("passCost", () => {
  it("of one token is that of a decoded token, in either mode", () => {
    for (const of of [request(), dense()]) expect(passCost(of, 1)).toEqual(tokenCost(of));
  });
  it("prices a predictor by the types of each layer", () => {
    const priced = (types: readonly (readonly ["int8" | "q4_0", number])[]) => {
      const typesByLayer = new Array(4).fill(types.map(([dtype, share]) => ({ dtype, share })));
      return tokenCost(request({ profile, shape: { ...shape, predictor: { ...shape.predictor!, typesByLayer } } }));
    };
    const [f16] = deviceProfile({}).kernels;
    const rates = [
      { ...f16!, dtype: "int8" as const },
      { ...f16!, dtype: "q4_0" as const, bytesPerSec: 5e9 },
    ];
    const profile = { ...deviceProfile({}), kernels: rates };
    const [int8, q4, half] = [
      priced([["int8", 1]]),
      priced([["q4_0", 1]]),
      priced([
        ["int8", 0.5],
        ["q4_0", 0.5],
      ]),
    ];
    // 1.6 MB of weights, at 15 and at 5 GB/s.
    expect(q4.predictMs - int8.predictMs).toBeCloseTo(1000 * 1.6e6 * (1 / 5e9 - 1 / 15e9), 9);
    expect(half.predictMs).toBeCloseTo((int8.predictMs + q4.predictMs) / 2, 9);
  });
  it("streams what is not resident once, however many tokens pass", () => {
    const absent = 3 * (4096 - 64);
    for (const tokens of [1, 2, 5, 16]) {
      const { flashBytes, neuronsLoaded } = passCost(dense(), tokens);
      expect([flashBytes, neuronsLoaded]).toEqual([absent * 4096, absent]);
    }
  });
  it("reads a streamed token ahead where reads overlap, as it does several", () => {
    const readers = { ...settings, mode: "dense" as const, readers: 4 };
    const [apart, ahead] = [false, true].map((overlap) => passCost(dense({ settings: { ...readers, overlap } }), 1));
    expect(apart!.exposedReadMs).toBe(apart!.readMs);
    expect(ahead!.exposedReadMs).toBeLessThan(ahead!.readMs);
    expect(ahead!.totalMs).toBeLessThan(passCost(dense({ settings: { ...readers, overlap: true } }), 2).totalMs);
  });
  it("streams all of a layer that is not held whole where a finite window keeps nothing", () => {
    const of = dense();
    expect(passCost({ ...of, settings: { ...of.settings, windowTokens: 4 } }, 5).neuronsLoaded).toBe(3 * 4096);
  });
  it("reads the matrices once: a few tokens compute in less than their sum, many in what the rate of batches says", () => {
    const [one, two, many] = [1, 2, 256].map((tokens) => passCost(dense(), tokens));
    expect(two!.headMs).toBeLessThan(2 * one!.headMs);
    // f16: a multiplication and an addition for every two bytes, at the profile's 8e10 a second.
    expect(many!.headMs).toBeCloseTo((1000 * 256 * shape.headBytes) / 8e10, 1);
  });
  it("reads a layer of matrices whole unless it is held whole, and ahead of a single token too where reads overlap", () => {
    const matrices = { ...shape, rowStream };
    const of = dense({ shape: matrices, slotsByLayer: [4096, 4095, 64, 64] });
    const waiting = passCost(of, 1);
    expect(waiting.neuronsLoaded).toBe(3 * 4096);
    expect(waiting.exposedReadMs).toBe(waiting.readMs);
    const ahead = passCost({ ...of, settings: { ...of.settings, overlap: true } }, 1);
    expect(ahead.exposedReadMs).toBeLessThan(ahead.readMs);
    expect(ahead.totalMs).toBeGreaterThanOrEqual(ahead.readMs);
  });
  it("whole layers were charged for deciding what stays, and for checks that a file without checksums has not", () => {
    const checked = passCost(dense({ shape: { ...shape, rowStream } }), 1);
    expect([checked.cacheMs, checked.checkMs > 0]).toEqual([0, true]);
    const plain = passCost(dense({ shape: { ...shape, rowStream: { ...rowStream, isChecked: false } } }), 1);
    expect([plain.cacheMs, plain.checkMs]).toEqual([0, 0]);
  });
  it("hands over what is split where there are threads to hand it to, and calls every op", () => {
    const costOf = (threads: number, handOffUs: number, opUs: number) =>
      passCost(dense({ profile: { ...deviceProfile({}), handOffUs, opUs }, settings: { ...settings, threads } }), 1);
    const beyond = (threads: number, handOffUs: number, opUs: number) =>
      costOf(threads, handOffUs, opUs).ffnMs - costOf(threads, 0, 0).ffnMs;
    // In four layers, of six calls: up and down.
    expect(beyond(2, 10, 0)).toBeCloseTo((4 * 2 * 10) / 1000, 9);
    expect(beyond(1, 10, 0)).toBe(0);
    expect(beyond(1, 10, 3)).toBeCloseTo((4 * 6 * 3) / 1000, 9);
  });
  it("takes attention's and the FFN's weights at the rates of their types, each part of them at its own", () => {
    const rates = [
      { op: "linear", dtype: "q4_k", threads: 2, workingSetBytes: 2e8, bytesPerSec: 10e9 },
      { op: "linear", dtype: "q6_k", threads: 2, workingSetBytes: 2e8, bytesPerSec: 5e9 },
    ] as const;
    const profile = { ...deviceProfile({}), kernels: rates, opUs: 0, handOffUs: 0 };
    const ffnTypes = [
      { dtype: "q4_k", share: 0.75 },
      { dtype: "q6_k", share: 0.25 },
    ] as const;
    const costWith = (dtype: "q4_k" | "q6_k") => {
      const mixed = { ...shape, rowStream, attentionTypes: [{ dtype, share: 1 }], ffnTypes } as const;
      return passCost(dense({ shape: mixed, profile }), 1);
    };
    const [fast, slow] = [costWith("q4_k"), costWith("q6_k")];
    const bytes = shape.nLayers * shape.dFf * shape.recordBytes;
    expect(fast.ffnMs).toBeCloseTo((0.75 * bytes) / 10e6 + (0.25 * bytes) / 5e6, 6);
    expect(slow.attentionMs - fast.attentionMs).toBeCloseTo((shape.nLayers * shape.attentionBytes) / 10e6, 6);
    expect(slow.ffnMs).toBe(fast.ffnMs);
  });
  it("takes a block type that was not measured for one that multiplies as many weights a second as its nearest", () => {
    const rate = { op: "linear", dtype: "int8", threads: 2, workingSetBytes: 2e8, bytesPerSec: 25e9 } as const;
    const profile = { ...deviceProfile({}), kernels: [rate], opUs: 0, handOffUs: 0 };
    const { headMs } = passCost(dense({ shape: { ...shape, headDtype: "q4_0" }, profile }), 1);
    // 18 bytes for 32 weights.
    expect(headMs).toBeCloseTo((1000 * shape.headBytes) / (25e9 * (18 / 32)), 6);
  });
  it("hides a stream's reads behind a batch's arithmetic where there are threads that read, and nowhere else", () => {
    const hidden = passCost(dense(), 32);
    expect(hidden.exposedReadMs).toBeLessThan(hidden.readMs);
    expect(hidden.totalMs).toBeGreaterThanOrEqual(Math.max(hidden.readMs, hidden.totalMs - hidden.exposedReadMs));
    const alone = passCost(dense({ settings: { ...settings, mode: "dense", readers: 0 } }), 32);
    expect(alone.exposedReadMs).toBe(alone.readMs);
  });
  it("names the union of the tokens' sets", () => {
    const { neuronsNamed } = passCost(request(), 6);
    const expected = [0, 1, 2, 3].reduce((sum, layer) => sum + 4096 * unionShare(request().sparsity, layer, 6), 0);
    expect(neuronsNamed).toBeCloseTo(expected, 6);
  });
  it("grows with the tokens, and reads and predicts no more than they do one by one", () => {
    fc.assert(
      fc.property(devices, sparsities, fc.integer({ min: 1, max: 16 }), (device, sparsity, tokens) => {
        const of = request({ profile: deviceProfile(device), sparsity });
        const [less, more] = [passCost(of, tokens), passCost(of, tokens + 1)];
        for (const key of [...ARITHMETIC, "neuronsNamed", "neuronsLoaded"] as const) {
          expect(more[key]).toBeGreaterThanOrEqual(less[key] * (1 - 1e-9));
        }
        // Tokens one by one fill the cache as they go, so what each loads is no more than the first.
        const one = passCost(of, 1);
        expect(less.neuronsLoaded).toBeLessThanOrEqual(tokens * one.neuronsLoaded * (1 + 1e-9));
        // Of the FFN this does not hold: each token is computed over the union of all.
        for (const key of ["headMs", "predictMs"] as const) {
          expect(less[key]).toBeLessThanOrEqual(tokens * one[key] * (1 + 1e-9));
        }
      }),
      { numRuns: 200 },
    );
  });
  it("adds up", () => {
    for (const cost of [passCost(request(), 7), passCost(dense(), 7)]) {
      const sum = ARITHMETIC.reduce((ms, key) => ms + cost[key], cost.exposedReadMs);
      expect(cost.totalMs).toBeCloseTo(sum, 9);
    }
  });
});
