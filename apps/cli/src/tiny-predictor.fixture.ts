/** Test support: a predictor of the tiny checkpoint with arbitrary weights, as a sidecar file. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Predictor, PredictorMatrix } from "@flashwick/core";
import { writePredictorFile } from "@flashwick/flash-format";
import { fileSink } from "@flashwick/flash-format/node";
import { flashwickJson, makeWorkplace, TINY } from "./tiny-checkpoint.fixture.js";

const RANK = 16;

/** What commands that train and judge need: the tiny checkpoint as a model, its predictor beside it, and a text. The folder is the caller's to remove. */
export async function makeTrainingWorkplace(): Promise<Record<"dir" | "model" | "text", string>> {
  const { dir, checkpoint } = makeWorkplace();
  const [model, text] = [join(dir, "tiny.gguf"), join(dir, "text.txt")];
  writeFileSync(text, "It was the best of times, it was the worst of times, it was the age of wisdom. ".repeat(30));
  const { document } = await flashwickJson(["convert", checkpoint, "-o", model]);
  await writeTinyPredictor(join(dir, "tiny.predictor.gguf"), document.fingerprint);
  return { dir, model, text };
}

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
