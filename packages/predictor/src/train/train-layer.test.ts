import type { Progress } from "@flashwick/core";
import { createReferenceKernels } from "@flashwick/kernels/reference";
import { describe, expect, it } from "vitest";
import { checkPredictor } from "../predictor-check.js";
import { finishPredictors } from "./finish-predictors.js";
import { probeLayer } from "./layer-probe.js";
import { FIXTURE_DOWN_NORMS, FIXTURE_SHAPE, fixtureSamples } from "./samples.fixture.js";
import { type LayerTrainingOptions, type LayerTrainingState, trainLayer } from "./train-layer.js";

const STORE = fixtureSamples(60);
const OPTIONS: LayerTrainingOptions = {
  rank: 8,
  downNorms: FIXTURE_DOWN_NORMS,
  epochs: 6,
  batchTokens: 50,
  peakLearningRate: 2e-2,
  namedPerActive: 1.5,
};
const QUICK = { ...OPTIONS, epochs: 2, batchTokens: 300 };

const train = (layer: number, options: LayerTrainingOptions) =>
  trainLayer(createReferenceKernels, STORE.layer(layer), options);

describe("a planted layer", () => {
  it("is learnt: recall above 0.95 with half as many neurons again named, stored as int8", async () => {
    const layers = structuredClone([await train(0, OPTIONS), await train(1, OPTIONS)]);
    const modelFingerprint = "ab".repeat(32);
    const predictor = finishPredictors(layers, { modelFingerprint, namedPerActive: 1.5, training: { seed: 0 } });
    const { dModel, dFf, nLayers } = FIXTURE_SHAPE;
    const geometry = { dModel, layers: new Array(nLayers).fill({ ffn: { dFf } }) };
    checkPredictor(predictor, { fingerprint: modelFingerprint, geometry });
    let [named, active] = [0, 0];
    for (const layer of predictor.layers) {
      expect(layer.recall).toBeGreaterThan(0.95);
      expect(layer.missedMass).toBeLessThan(0.02);
      expect(layer.w2.dtype).toBe("int8");
      expect(layer.precision * layer.namedShare).toBeCloseTo(layer.recall * layer.trueActiveShare, 12);
      named += layer.namedShare;
      active += layer.trueActiveShare;
    }
    expect(named / active).toBeLessThanOrEqual(1.5);
    expect(named / active).toBeGreaterThan(1.4);
    expect(predictor.training).toMatchObject({ namedPerActive: 1.5, seed: 0, trainTokens: 2700, heldOutTokens: 300 });
  });
});

describe("training", () => {
  it("reports every epoch and its progress", async () => {
    const seen: Progress[] = [];
    const { epochs } = await train(0, { ...QUICK, onProgress: (progress) => seen.push(progress) });
    expect(epochs.map(({ epoch }) => epoch)).toEqual([1, 2]);
    expect(epochs[1]!.loss).toBeLessThan(epochs[0]!.loss);
    expect(seen.at(-1)).toMatchObject({ phase: "train", loaded: 18, total: 18, unit: "steps" });
    expect(seen.at(-1)!.detail).toMatch(/^layer 0, loss \d/);
  });

  it("resumed from a cloned checkpoint, gives the same result bit for bit", async () => {
    const states: LayerTrainingState[] = [];
    const whole = await train(0, { ...QUICK, onCheckpoint: (state) => states.push(structuredClone(state)) });
    expect(states.length).toBe(2);
    expect(await train(0, { ...QUICK, resume: states[0]! })).toEqual(whole);
    expect(await train(0, { ...QUICK, resume: states[1]! })).toEqual(whole);
  });

  it("keeps the best epoch, and ends when nothing improves", async () => {
    // A rate that destroys what was learnt: later epochs are worse than the best.
    const wild = { ...QUICK, epochs: 12, peakLearningRate: 3, floorLearningRate: 3, patienceEpochs: 1 };
    const { epochs, curve } = await train(0, wild);
    expect(epochs.length).toBeLessThan(12);
    const best = Math.min(...epochs.map(({ missedMass }) => missedMass));
    expect(epochs.at(-1)!.missedMass).toBeGreaterThanOrEqual(best);
    const again = await train(0, { ...wild, epochs: 12 });
    expect(again.curve).toEqual(curve);
  });

  it("an abort ends it with the signal's own reason, within a turn of the event loop", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    let [steps, stepsAtAbort] = [0, 0];
    const training = train(0, {
      ...OPTIONS,
      epochs: 100,
      signal: controller.signal,
      onProgress: ({ loaded }) => {
        steps = loaded;
        setImmediate(() => {
          if (!controller.signal.aborted) stepsAtAbort = steps;
          controller.abort(reason);
        });
      },
    });
    await expect(training).rejects.toBe(reason);
    expect(steps).toBeGreaterThan(0);
    expect(steps).toBe(stepsAtAbort);
  });

  it("does nothing for a signal that is aborted already", async () => {
    await expect(train(0, { ...QUICK, signal: AbortSignal.abort("no") })).rejects.toBe("no");
  });
});

it("a probe gives its points in the order of the ranks, of each type", async () => {
  const probe = await probeLayer(createReferenceKernels, STORE.layer(1), {
    downNorms: FIXTURE_DOWN_NORMS,
    ranks: [4, 8],
    dtypes: ["f32", "int8"],
    batchTokens: 50,
    peakLearningRate: 2e-2,
  });
  expect(probe.layer).toBe(1);
  expect(probe.points.map(({ rank }) => rank)).toEqual([4, 8]);
  const [low, high] = probe.points.map(({ missedMass }) => missedMass);
  expect(Object.keys(low!)).toEqual(["f32", "int8"]);
  expect(high!.int8!).toBeLessThan(low!.int8!);
  expect(high!.int8!).not.toBe(high!.f32!);
  expect(probe.massPerToken).toBeGreaterThan(0);
});

describe("finishPredictors", () => {
  it("refuses a missing layer, no layer, and a ratio that names nothing", async () => {
    const [first, second] = [await train(0, QUICK), await train(1, QUICK)];
    const options = { modelFingerprint: "ab".repeat(32) };
    expect(() => finishPredictors([second], options)).toThrow("expected layer 0 next, found layer 1");
    expect(() => finishPredictors([], options)).toThrow("at least one");
    expect(() => finishPredictors([first, second], { ...options, namedPerActive: 0 })).toThrow("expected above 0");
  });
});
