import { createReferenceKernels } from "@flashwick/kernels/reference";
import { expect, it } from "vitest";
import { fixtureLayer } from "../predictor.fixture.js";
import { CurveMeter } from "./curve-meter.js";
import { MemorySampleStore } from "./memory-sample-store.js";
import type { SampleBatch } from "./sample-store.js";
import { FIXTURE_DOWN_NORMS, FIXTURE_SHAPE, recordDocuments } from "./samples.fixture.js";
import { StreamedCurves } from "./streamed-curves.js";

/** A layer's predictors differ in rank, dtype and from layer to layer. */
const predictorOf = (rank: number, dtype: "int8" | "f32") => ({
  layers: Array.from({ length: FIXTURE_SHAPE.nLayers }, (_, layer) => ({
    ...fixtureLayer({ ...FIXTURE_SHAPE, rank, dtype }, layer),
    layer,
  })),
});
const PREDICTORS = [predictorOf(8, "f32"), predictorOf(16, "int8")];

it("curves measured batch by batch are those of all samples at once, bit for bit", () => {
  const norms = Array.from({ length: FIXTURE_SHAPE.nLayers }, () => FIXTURE_DOWN_NORMS);
  const store = new MemorySampleStore(FIXTURE_SHAPE);
  const curves = new StreamedCurves(createReferenceKernels, FIXTURE_SHAPE, PREDICTORS, norms);
  const append = (layer: number, batch: SampleBatch) => {
    store.append(layer, batch);
    // Records are the recorder's own until the next batch: whatever is kept must be a copy.
    if (batch.heldOut) curves.append(layer, batch);
  };
  recordDocuments({ shape: FIXTURE_SHAPE, append, commit: (next) => curves.commit(next) }, 0, 30);
  expect(curves.nextDocument).toBe(30);
  for (let layer = 0; layer < FIXTURE_SHAPE.nLayers; layer++) {
    const samples = store.layer(layer);
    const expected = PREDICTORS.map(({ layers }) => {
      const predictor = layers[layer]!;
      return new CurveMeter(createReferenceKernels, samples, FIXTURE_DOWN_NORMS, predictor).measure(predictor);
    });
    expect(expected[0]!.tokens).toBeGreaterThan(64);
    expect(curves.layer(layer)).toEqual(expected);
  }
});
