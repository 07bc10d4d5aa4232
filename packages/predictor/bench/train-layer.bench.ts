/**
 * Training speed: one layer of the OPT demo's widths, synthetic samples, per rank. Run by
 * `npx vitest bench packages/predictor`. Checked before it is timed: the trained layer must find what was planted.
 */
import { createWasmKernels } from "@flashwick/kernels-wasm";
import { bench, describe, expect } from "vitest";
import { qualityAt } from "../src/train/calibration-curve.js";
import { fixtureSamples } from "../src/train/samples.fixture.js";
import { chooseThresholdBins } from "../src/train/threshold-choice.js";
import { trainLayer } from "../src/train/train-layer.js";

const SHAPE = { nLayers: 1, dModel: 256, dFf: 1024 };
/** 50 tokens each, nine in ten for training. */
const DOCUMENTS = 400;
const SAMPLES = fixtureSamples(DOCUMENTS, SHAPE).layer(0);
const DOWN_NORMS = new Float32Array(SHAPE.dFf).fill(1);

describe(`one epoch of ${SAMPLES.counts.trainTokens} tokens, dModel 256, dFf 1024, wasm, one thread`, () => {
  for (const rank of [32, 64]) {
    const gigaflop = (2 * rank * (2 * SHAPE.dModel + 3 * SHAPE.dFf) * SAMPLES.counts.trainTokens) / 1e9;
    bench(
      `rank ${rank}: ${gigaflop.toFixed(1)} GFLOP`,
      async () => {
        const { curve } = await trainLayer(createWasmKernels, SAMPLES, { rank, downNorms: DOWN_NORMS, epochs: 1 });
        const [bin] = chooseThresholdBins([curve], 2);
        expect(qualityAt(curve, bin!, 0, rank).recall).toBeGreaterThan(0.95);
      },
      { iterations: 3, warmupIterations: 0, time: 0, warmupTime: 0 },
    );
  }
});
