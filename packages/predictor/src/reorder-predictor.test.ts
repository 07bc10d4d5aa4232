import { describe, expect, it } from "vitest";
import { fixturePredictor } from "./predictor.fixture.js";
import { dequantisePredictorMatrix, type PredictorDType } from "./predictor-matrix.js";
import { reorderPredictor } from "./reorder-predictor.js";

describe("reorderPredictor", () => {
  it.each<PredictorDType>(["f32", "f16", "int8"])("gives record i the row of the neuron that it holds: %s", (dtype) => {
    const predictor = fixturePredictor({ dModel: 8, dFf: 4, rank: 4, dtype }, 2);
    const orders = [Uint32Array.of(2, 0, 3, 1), Uint32Array.of(0, 1, 2, 3)];
    const placed = reorderPredictor(predictor, orders, "cd".repeat(32), null);
    expect(placed.modelFingerprint).toBe("cd".repeat(32));
    expect(placed.layers[1]).toEqual(predictor.layers[1]);
    expect(placed.layers[0]!.w1).toBe(predictor.layers[0]!.w1);
    const [before, after] = [predictor, placed].map(({ layers }) => dequantisePredictorMatrix(layers[0]!.w2));
    for (const [at, neuron] of orders[0]!.entries()) {
      expect(after!.slice(4 * at, 4 * at + 4)).toEqual(before!.slice(4 * neuron, 4 * neuron + 4));
    }
  });
});
