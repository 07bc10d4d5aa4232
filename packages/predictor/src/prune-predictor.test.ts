import { describe, expect, it } from "vitest";
import { fixturePredictor } from "./predictor.fixture.js";
import { checkPredictor } from "./predictor-check.js";
import { dequantisePredictorMatrix, type PredictorDType } from "./predictor-matrix.js";
import { prunePredictor } from "./prune-predictor.js";

const [FROM, TO] = ["ab".repeat(32), "cd".repeat(32)];

describe("prunePredictor", () => {
  it.each<PredictorDType>(["f32", "f16", "int8"])("keeps the rows of the neurons that stay: %s", (dtype) => {
    const predictor = fixturePredictor({ dModel: 8, dFf: 4, rank: 4, dtype }, 2);
    const kept = [Uint32Array.of(1, 3), Uint32Array.of(0, 2, 3)];
    const pruned = prunePredictor(predictor, kept, { fingerprint: TO, from: FROM }, null);
    expect([pruned.modelFingerprint, pruned.dFf]).toEqual([TO, 3]);
    const geometry = { dModel: 8, layers: [2, 3].map((dFf) => ({ ffn: { dFf } })) };
    expect(() => checkPredictor(pruned, { fingerprint: TO, geometry })).not.toThrow();
    expect(() =>
      checkPredictor(pruned, { fingerprint: TO, geometry: { ...geometry, layers: geometry.layers.toReversed() } }),
    ).toThrowError(expect.objectContaining({ code: "FORMAT_INVALID" }));
    for (const [l, neurons] of kept.entries()) {
      const [before, after] = [predictor, pruned].map(({ layers }) => dequantisePredictorMatrix(layers[l]!.w2));
      const { w1, threshold, namedShare } = pruned.layers[l]!;
      expect([w1, threshold]).toEqual([predictor.layers[l]!.w1, predictor.layers[l]!.threshold]);
      expect(namedShare).toBeCloseTo((0.08 * 4) / neurons.length);
      for (const [at, neuron] of neurons.entries()) {
        expect(after!.slice(4 * at, 4 * at + 4)).toEqual(before!.slice(4 * neuron, 4 * neuron + 4));
      }
    }
  });

  it("refuses a predictor of another model", () => {
    const predictor = fixturePredictor({ dModel: 8, dFf: 4, rank: 4, dtype: "f32" }, 1);
    expect(() => prunePredictor(predictor, [Uint32Array.of(1)], { fingerprint: TO, from: TO }, null)).toThrowError(
      expect.objectContaining({ code: "INTEGRITY_FINGERPRINT" }),
    );
  });
});
