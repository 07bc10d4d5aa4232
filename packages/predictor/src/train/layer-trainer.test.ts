import { decodeFloat16 } from "@flashwick/core";
import { createReferenceKernels } from "@flashwick/kernels/reference";
import { describe, expect, it } from "vitest";
import { dequantisePredictorMatrix, quantisePredictorMatrix } from "../predictor-matrix.js";
import {
  autoLearningRate,
  DEFAULT_TRAINER_SETTINGS,
  LayerTrainer,
  type PredictorWeights,
  type TrainerSettings,
} from "./layer-trainer.js";
import { MemorySampleStore } from "./memory-sample-store.js";
import { FIXTURE_SHAPE, fixtureSamples } from "./samples.fixture.js";

const SETTINGS: TrainerSettings = {
  ...DEFAULT_TRAINER_SETTINGS,
  roundedEpochs: 0,
  rank: 8,
  epochs: 2,
  batchTokens: 150,
  peakLearningRate: 1e-3,
  seed: 3,
};
const SAMPLES = fixtureSamples(10).layer(0);

/** The sample's x, and whether each neuron is active. */
function sample(index: number, samples = SAMPLES) {
  const { recordBytes, dModel, dFf, activeOffset } = samples.layout;
  const record = new Uint8Array(recordBytes);
  samples.readTrain(Uint32Array.of(index), record);
  const view = new DataView(record.buffer);
  const x = Array.from({ length: dModel }, (_, i) => decodeFloat16(view.getUint16(2 * i, true)));
  const active = Array.from({ length: dFf }, (_, j) => (record[activeOffset + (j >> 3)]! >> (j & 7)) & 1);
  return { x, active };
}

/** The loss of one batch in double precision: summed over neurons, averaged over tokens. */
function slowLoss({ w1, w2 }: PredictorWeights, tokens: number, negativeWeight: number, samples = SAMPLES): number {
  const rank = w1.length / samples.layout.dModel;
  let loss = 0;
  for (let t = 0; t < tokens; t++) {
    const { x, active } = sample(t, samples);
    const hidden = Array.from({ length: rank }, (_, r) =>
      Math.max(
        0,
        x.reduce((sum, value, i) => sum + w1[r * x.length + i]! * value, 0),
      ),
    );
    for (const [j, y] of active.entries()) {
      const z = hidden.reduce((sum, h, r) => sum + w2[j * rank + r]! * h, 0);
      loss += y ? Math.log1p(Math.exp(-z)) : negativeWeight * Math.log1p(Math.exp(z));
    }
  }
  return loss / tokens;
}

describe("one step", () => {
  // One batch is all samples, so order does not matter, and the first moment after one step is a tenth of the gradient.
  const tokens = SAMPLES.counts.trainTokens;
  const settings = { ...SETTINGS, batchTokens: tokens, epochs: 1 };
  const trainer = new LayerTrainer(createReferenceKernels, SAMPLES, settings);
  const before = trainer.weights();
  const loss = trainer.trainStep();
  const { mean, weights } = trainer.state();
  const activeShare = SAMPLES.counts.trainActive / (tokens * FIXTURE_SHAPE.dFf);
  const negativeWeight = Math.max(activeShare + 0.005, 0.05);

  it("reports the weighted loss per neuron and token, within 1e-5", () => {
    expect(loss).toBeCloseTo(slowLoss(before, tokens, negativeWeight) / FIXTURE_SHAPE.dFf, 5);
  });

  it.each(["w1", "w2"] as const)("the gradient of %s is the slope of the loss, within 1 %", (name) => {
    const step = 1e-4;
    for (const at of [0, 17, 42, 100]) {
      const moved = (by: number) => {
        const copy = { w1: Float64Array.from(before.w1), w2: Float64Array.from(before.w2) };
        copy[name][at]! += by;
        return slowLoss(copy as unknown as PredictorWeights, tokens, negativeWeight);
      };
      const slope = (moved(step) - moved(-step)) / (2 * step);
      expect(Math.abs(mean[name][at]! / 0.1 - slope)).toBeLessThan(0.01 * Math.abs(slope) + 1e-5);
    }
  });

  it("moves every weight that has a gradient by the learning rate, against it", () => {
    for (const [i, g] of mean.w2.entries()) {
      if (Math.abs(g) < 1e-4) continue;
      const moved = weights.w2[i]! - before.w2[i]!;
      expect(Math.abs(moved + Math.sign(g) * 1e-3)).toBeLessThan(2e-5);
    }
  });
});

describe("reproducibility", () => {
  const train = (settings: TrainerSettings, state?: ConstructorParameters<typeof LayerTrainer>[3]) => {
    const trainer = new LayerTrainer(createReferenceKernels, SAMPLES, settings, state);
    while (trainer.step < trainer.totalSteps) trainer.trainStep();
    return trainer.state();
  };

  it("a seed gives the same weights bit for bit, another seed others", () => {
    expect(train(SETTINGS)).toEqual(train(SETTINGS));
    expect(train({ ...SETTINGS, seed: 4 }).weights).not.toEqual(train(SETTINGS).weights);
  });

  it("resumed from a cloned state between epochs, it ends bit for bit the same", () => {
    const first = new LayerTrainer(createReferenceKernels, SAMPLES, SETTINGS);
    do first.trainStep();
    while (!first.isEpochEnd);
    const state = structuredClone(first.state());
    expect(state.epoch).toBe(1);
    expect(train(SETTINGS, state)).toEqual(train(SETTINGS));
  });

  it("a state of other samples or settings is refused", () => {
    const state = train(SETTINGS);
    expect(() => train({ ...SETTINGS, rank: 12 }, state)).toThrow("train without resuming");
    expect(() => train({ ...SETTINGS, batchTokens: 100 }, state)).toThrow("train without resuming");
  });

  it("maxTokens trains on that many samples", () => {
    const trainer = new LayerTrainer(createReferenceKernels, SAMPLES, { ...SETTINGS, maxTokens: 300 });
    expect(trainer.totalSteps).toBe(4);
  });
});

describe("rounded epochs", () => {
  const samples = fixtureSamples(10, { ...FIXTURE_SHAPE, dModel: 32 }).layer(0);
  const tokens = samples.counts.trainTokens;
  // A batch is all samples: a step is an epoch.
  const settings: TrainerSettings = {
    ...SETTINGS,
    ...{ rank: 32, dtype: "q4_0", epochs: 1, roundedEpochs: 2, batchTokens: tokens, negativeWeight: 0.1 },
  };
  const rounded = ({ w1, w2 }: PredictorWeights): PredictorWeights => ({
    w1: dequantisePredictorMatrix(quantisePredictorMatrix(w1, 32, 32, "q4_0")),
    w2: dequantisePredictorMatrix(quantisePredictorMatrix(w2, FIXTURE_SHAPE.dFf, 32, "q4_0")),
  });
  const lossOf = (weights: PredictorWeights) => slowLoss(weights, tokens, 0.1, samples) / FIXTURE_SHAPE.dFf;

  it("compute with the weights as they are stored, and change those behind them", () => {
    const trainer = new LayerTrainer(createReferenceKernels, samples, settings);
    expect(trainer.trainStep()).not.toBeCloseTo(lossOf(rounded(trainer.weights())), 5);
    const before = trainer.weights();
    expect(trainer.trainStep()).toBeCloseTo(lossOf(rounded(before)), 5);
    expect(lossOf(rounded(before))).not.toBeCloseTo(lossOf(before), 4);
    const after = trainer.weights();
    expect(after).not.toEqual(before);
    expect(after).not.toEqual(rounded(after));
  });

  it("their gradient is that at the stored weights", () => {
    const trainer = new LayerTrainer(createReferenceKernels, samples, settings);
    trainer.trainStep();
    const [state, weights] = [trainer.state(), rounded(trainer.weights())];
    trainer.trainStep();
    const step = 1e-4;
    for (const at of [3, 40, 77]) {
      const moved = (by: number) => lossOf({ ...weights, w2: weights.w2.map((w, i) => (i === at ? w + by : w)) });
      const slope = ((moved(step) - moved(-step)) / (2 * step)) * FIXTURE_SHAPE.dFf;
      // mean = 0.9 · mean before + 0.1 · gradient
      const gradient = (trainer.state().mean.w2[at]! - 0.9 * state.mean.w2[at]!) / 0.1;
      expect(Math.abs(gradient - slope)).toBeLessThan(0.01 * Math.abs(slope) + 1e-4);
    }
  });

  it("resumed before or among them, training ends bit for bit the same", () => {
    const states: ReturnType<LayerTrainer["state"]>[] = [];
    const whole = new LayerTrainer(createReferenceKernels, samples, settings);
    while (whole.step < whole.totalSteps) {
      whole.trainStep();
      states.push(structuredClone(whole.state()));
    }
    expect(states.length).toBe(3);
    for (const state of states.slice(0, 2)) {
      const resumed = new LayerTrainer(createReferenceKernels, samples, settings, state);
      while (resumed.step < resumed.totalSteps) resumed.trainStep();
      expect(resumed.state()).toEqual(states[2]);
    }
  });
});

it.each([
  ["rank", { rank: 10 }],
  ["for q4_0 rank and dModel", { dtype: "q4_0" as const }],
  ["rounded epochs", { roundedEpochs: -1 }],
  ["epochs", { epochs: 0 }],
  ["batch tokens", { batchTokens: 0.5 }],
  ["learning rates", { peakLearningRate: Number.NaN }],
  ["learning rates", { floorLearningRate: 1 }],
])("refuses %s out of range", (what, change) => {
  expect(() => new LayerTrainer(createReferenceKernels, SAMPLES, { ...SETTINGS, ...change })).toThrow(
    `expected ${what}`,
  );
});

it("the automatic learning rate is 3e-3 for small models and 1e-3 for large ones", () => {
  expect([64, 256, 1024, 4096].map(autoLearningRate)).toEqual([3e-3, 3e-3, 1.5e-3, 1e-3]);
});

it("refuses to train on nothing", () => {
  const samples = new MemorySampleStore(FIXTURE_SHAPE).layer(0);
  expect(() => new LayerTrainer(createReferenceKernels, samples, SETTINGS)).toThrow("record more text");
});
