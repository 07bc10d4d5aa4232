/** Predictors that a checkpoint brings along, fed by the residual stream before the norm: read so that the normed input names the same neurons. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { memorySource, type PredictorLayer } from "@flashwick/core";
import { openModelFile } from "@flashwick/flash-format";
import { readTensorFile } from "@flashwick/flash-format/convert";
import { dequantisePredictorMatrix } from "@flashwick/predictor";
import { expect, it } from "vitest";
import { checkpointFolder, modelBytes, openFixture, readGolden } from "../checkpoint.fixture.js";
import { ALL_NEURONS } from "../chooser.js";
import { type PredictorWeightFile, readPredictorLayers } from "./import-predictor.js";

/** All files of a checkpoint, matrices of one layer in different ones. */
async function filesOf(name: string): Promise<PredictorWeightFile[]> {
  const folder = checkpointFolder(name);
  const names = readdirSync(folder).filter((file) => file.endsWith(".safetensors"));
  expect(names.length).toBeGreaterThan(1);
  return await Promise.all(
    names.map(async (file) => {
      const source = memorySource(readFileSync(join(folder, file)), file);
      return { name: file, tensors: await readTensorFile(source) };
    }),
  );
}

/** W2 · relu(W1 · x). */
function scoresOf({ w1, w2 }: PredictorLayer, x: Float32Array): number[] {
  const multiply = (matrix: Float32Array, v: ArrayLike<number>) =>
    Array.from({ length: matrix.length / v.length }, (_, row) => {
      let sum = 0;
      for (let i = 0; i < v.length; i++) sum += matrix[row * v.length + i]! * v[i]!;
      return sum;
    });
  const hidden = multiply(dequantisePredictorMatrix(w1), x).map((value) => Math.max(value, 0));
  return multiply(dequantisePredictorMatrix(w2), hidden);
}

it("TurboSparse's merged predictors name the reference's neurons of the normed input", async () => {
  const file = await openModelFile(memorySource(await modelBytes("bamboo-tiny", "f32"), "bamboo-tiny"));
  const layers = await readPredictorLayers(file, await filesOf("bamboo-tiny"), "f32");
  for (const { tokens, mergedNamedLastPosition: expected } of readGolden("bamboo-tiny").cases) {
    const model = await openFixture("bamboo-tiny", { mode: "dense" });
    const inputs: Float32Array[] = [];
    const { dModel } = model.header.geometry;
    await model.withSequence(tokens.length, async (sequence) => {
      await sequence.extend(tokens, {
        chooser: ALL_NEURONS,
        observer: {
          ffnInput(layer, x, nTokens, kernels) {
            inputs[layer] = kernels.arena.f32(x + 4 * (nTokens - 1) * dModel, dModel).slice();
          },
        },
      });
    });
    await model.close();
    const named = layers.map((layer, l) => scoresOf(layer, inputs[l]!).flatMap((score, i) => (score > 0 ? [i] : [])));
    expect(named).toEqual(expected);
    for (const set of named) expect(set.length).toBeGreaterThan(0);
  }
});

it("a predictor fed before a layer norm, or a parallel block's, is refused with what to do", async () => {
  const files = await filesOf("bamboo-tiny");
  const file = await openModelFile(memorySource(await modelBytes("opt-tiny-sharded", "f32"), "opt"));
  // The same shapes, but for the number of neurons: the norm is looked at first.
  const rows = await Promise.all(
    files.map(async ({ name, tensors }) => {
      const shapes = new Map(
        [...tensors.shapes].map(([of, shape]) => [of, of.endsWith("fc2.weight") ? [256, 8] : shape]),
      );
      return {
        name,
        tensors: { shapes, read: async (of: string) => new Float32Array(of.endsWith("fc2.weight") ? 2048 : 512) },
      };
    }),
  );
  await expect(readPredictorLayers(file, rows, "f32")).rejects.toMatchObject({
    code: "UNSUPPORTED_FEATURE",
    message: expect.stringMatching(/layer 0.*before the norm.*RMS norm.*flashwick train/),
  });
});
