import { describe, expect, it } from "vitest";
import { fixturePredictor } from "./predictor.fixture.js";
import { dequantisePredictorMatrix, PREDICTOR_DTYPES } from "./predictor-matrix.js";
import { reorderPredictor } from "./reorder-predictor.js";

const RANK = 32;

describe("reorderPredictor", () => {
  it.each(PREDICTOR_DTYPES)("gives record i the row of the neuron that it holds: %s", (dtype) => {
    const predictor = fixturePredictor({ dModel: 32, dFf: 4, rank: RANK, dtype }, 2);
    const orders = [Uint32Array.of(2, 0, 3, 1), Uint32Array.of(0, 1, 2, 3)];
    const placed = reorderPredictor(predictor, orders, "cd".repeat(32), null);
    expect(placed.modelFingerprint).toBe("cd".repeat(32));
    expect(placed.layers[1]).toEqual(predictor.layers[1]);
    expect(placed.layers[0]!.w1).toBe(predictor.layers[0]!.w1);
    const [before, after] = [predictor, placed].map(({ layers }) => dequantisePredictorMatrix(layers[0]!.w2));
    for (const [at, neuron] of orders[0]!.entries()) {
      expect(after!.slice(RANK * at, RANK * (at + 1))).toEqual(before!.slice(RANK * neuron, RANK * (neuron + 1)));
    }
  });
});
