/** Test support: a predictor of the tiny checkpoint with arbitrary weights, as a sidecar file. */
import type { Predictor, PredictorMatrix } from "@flashwick/core";
import { writePredictorFile } from "@flashwick/flash-format";
import { fileSink } from "@flashwick/flash-format/node";
import { TINY } from "./tiny-checkpoint.fixture.js";

const RANK = 16;

export async function writeTinyPredictor(path: string, modelFingerprint: string): Promise<void> {
  const { dModel, dFf, nLayers } = TINY;
  const layers = Array.from({ length: nLayers }, (_, layer) => ({
    layer,
    rank: RANK,
    threshold: 0,
    trueActiveShare: 0.5,
    namedShare: 0.5,
    recall: 0.5,
    precision: 0.5,
    missedMass: 0.5,
    w1: matrix(RANK, dModel, layer),
    w2: matrix(dFf, RANK, layer + 10),
  }));
  const predictor: Predictor = { modelFingerprint, dModel, dFf, layers, sparsity: null, training: { tokens: 0 } };
  await writePredictorFile(await fileSink(path), predictor);
}

/** Deterministic weights between -1 and 1. */
function matrix(rows: number, cols: number, phase: number): PredictorMatrix {
  const values = Float32Array.from({ length: rows * cols }, (_, i) => Math.sin(12.9898 * i + phase));
  return { dtype: "f32", rows, cols, data: new Uint8Array(values.buffer), scales: null };
}
