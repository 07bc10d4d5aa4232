/** A small predictor with arbitrary weights, for tests. */

import type { Predictor, PredictorLayer } from "@flashwick/core";
import { Random } from "@flashwick/core";
import { type PredictorDType, quantisePredictorMatrix } from "./predictor-matrix.js";

export interface FixtureShape {
  readonly dModel: number;
  readonly dFf: number;
  readonly rank: number;
  readonly dtype: PredictorDType;
}

/** Values in ±1. */
export function randomFloats(count: number, seed: number): Float32Array {
  const random = new Random(seed);
  return Float32Array.from({ length: count }, () => 2 * random.uniform() - 1);
}

export function fixtureLayer({ dModel, dFf, rank, dtype }: FixtureShape, layer = 0): PredictorLayer {
  return {
    layer,
    rank,
    threshold: 0.25,
    trueActiveShare: 0.04,
    namedShare: 0.08,
    recall: 0.95,
    precision: 0.475,
    missedMass: 0.01,
    w1: quantisePredictorMatrix(randomFloats(rank * dModel, 2 * layer + 1), rank, dModel, dtype),
    w2: quantisePredictorMatrix(randomFloats(dFf * rank, 2 * layer + 2), dFf, rank, dtype),
  };
}

export function fixturePredictor(shape: FixtureShape, nLayers: number): Predictor {
  return {
    modelFingerprint: "ab".repeat(32),
    dModel: shape.dModel,
    dFf: shape.dFf,
    layers: Array.from({ length: nLayers }, (_, layer) => fixtureLayer(shape, layer)),
    sparsity: null,
    training: {},
  };
}
