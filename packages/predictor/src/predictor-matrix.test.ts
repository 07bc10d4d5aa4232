import { describe, expect, it } from "vitest";
import {
  checkPredictorMatrix,
  dequantisePredictorMatrix,
  PREDICTOR_DTYPES,
  predictorMatrixBytes,
  quantisePredictorMatrix,
} from "./predictor-matrix.js";

const WEIGHTS = Float32Array.of(1, -0.5, 0.25, 127, -63.6, 0.5, 0, 0, 0);

describe("quantisePredictorMatrix", () => {
  it("f32 is exact", () => {
    const matrix = quantisePredictorMatrix(WEIGHTS, 3, 3, "f32");
    expect(dequantisePredictorMatrix(matrix)).toEqual(WEIGHTS);
  });

  it("f16 rounds to nearest", () => {
    const matrix = quantisePredictorMatrix(Float32Array.of(1, 1 + 2 ** -12), 1, 2, "f16");
    expect([...matrix.data]).toEqual([0x00, 0x3c, 0x00, 0x3c]);
  });

  it("int8 has one scale a row, ties to even, and scale 0 for a row of zeros", () => {
    const matrix = quantisePredictorMatrix(WEIGHTS, 3, 3, "int8");
    expect([...new Int8Array(matrix.data.buffer)]).toEqual([127, -64, 32, 127, -64, 0, 0, 0, 0]);
    expect([...matrix.scales!]).toEqual([Math.fround(1 / 127), 1, 0]);
  });

  it("int8 is off by half a step at most", () => {
    const weights = Float32Array.from({ length: 64 }, (_, i) => Math.sin(i * 7.1));
    const matrix = quantisePredictorMatrix(weights, 4, 16, "int8");
    const back = dequantisePredictorMatrix(matrix);
    for (const [i, w] of weights.entries()) {
      expect(Math.abs(back[i]! - w)).toBeLessThanOrEqual(matrix.scales![i >> 4]! * 0.5000001);
    }
  });

  it.each([
    ["q8_0", 0.5 / 127],
    ["q4_0", 0.5 / 7],
  ] as const)("%s is off by half a step of its block at most", (dtype, step) => {
    // Each block of 32 has a scale of its own: the second is a thousand times as large.
    const weights = Float32Array.from({ length: 128 }, (_, i) => Math.sin(i * 7.1) * (i % 64 < 32 ? 1 : 1000));
    const matrix = quantisePredictorMatrix(weights, 2, 64, dtype);
    expect(matrix.scales).toBe(null);
    for (const [i, w] of dequantisePredictorMatrix(matrix).entries()) {
      expect(Math.abs(w - weights[i]!)).toBeLessThanOrEqual(step * 1.05 * (i % 64 < 32 ? 1 : 1000));
    }
  });

  it("refuses what is not finite, and what overflows f16, naming the element", () => {
    const bad = Float32Array.of(0, 0, 0, Number.NaN);
    expect(() => quantisePredictorMatrix(bad, 2, 2, "int8")).toThrow("weight [1, 1]");
    expect(() => quantisePredictorMatrix(Float32Array.of(1, 70000), 1, 2, "f16")).toThrow("weight [0, 1]");
    expect(() => quantisePredictorMatrix(new Float32Array(64).fill(1e9), 1, 64, "q4_0")).toThrow("finite q4_0");
  });
});

it("predictorMatrixBytes is the size of data and scales", () => {
  for (const dtype of PREDICTOR_DTYPES) {
    const matrix = quantisePredictorMatrix(new Float32Array(96), 3, 32, dtype);
    expect(predictorMatrixBytes(matrix)).toBe(matrix.data.byteLength + (matrix.scales?.byteLength ?? 0));
  }
});

describe("checkPredictorMatrix", () => {
  const good = quantisePredictorMatrix(WEIGHTS, 3, 3, "int8");

  it("accepts what quantisation makes", () => {
    expect(() => checkPredictorMatrix(good, 3, 3, "layer 0 W1")).not.toThrow();
  });

  it.each([
    ["rows", { ...good, rows: 2 }],
    ["columns", { ...good, cols: 4 }],
    ["data bytes", { ...good, data: good.data.subarray(1) }],
    ["columns of its type", { ...good, dtype: "q4_0" as const, scales: null }],
    ["scales", { ...good, scales: null }],
    ["scales", { ...good, scales: new Float32Array(2) }],
  ])("refuses wrong %s", (what, matrix) => {
    expect(() => checkPredictorMatrix(matrix, 3, 3, "layer 0 W1")).toThrow(`layer 0 W1: expected ${what}`);
  });
});
