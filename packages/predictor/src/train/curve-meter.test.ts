import { decodeFloat16 } from "@flashwick/core";
import { createReferenceKernels } from "@flashwick/kernels/reference";
import { expect, it } from "vitest";
import { fixtureLayer } from "../predictor.fixture.js";
import { dequantisePredictorMatrix } from "../predictor-matrix.js";
import { accumulateCurve, binOfScore } from "./calibration-curve.js";
import { CurveMeter } from "./curve-meter.js";
import { MemorySampleStore } from "./memory-sample-store.js";
import { FIXTURE_DOWN_NORMS, FIXTURE_SHAPE, fixtureSamples } from "./samples.fixture.js";

const LAYER = fixtureLayer({ ...FIXTURE_SHAPE, rank: 8, dtype: "f32" });
const SAMPLES = fixtureSamples(30).layer(0);

/** Named, hit and missed mass above a threshold, one neuron at a time. */
function slowCount(threshold: number) {
  const { recordBytes, activeOffset, dModel, dFf } = SAMPLES.layout;
  const { heldOutTokens, heldOutActive } = SAMPLES.counts;
  const records = new Uint8Array(heldOutTokens * recordBytes);
  SAMPLES.readHeldOut(0, heldOutTokens, records);
  const magnitudes = new Float32Array(heldOutActive);
  SAMPLES.readMagnitudes(0, magnitudes);
  const view = new DataView(records.buffer);
  const [w1, w2] = [dequantisePredictorMatrix(LAYER.w1), dequantisePredictorMatrix(LAYER.w2)];
  const count = { named: 0, hits: 0, missed: 0, mass: 0 };
  let next = 0;
  for (let t = 0; t < heldOutTokens; t++) {
    const x = Array.from({ length: dModel }, (_, i) => decodeFloat16(view.getUint16(t * recordBytes + 2 * i, true)));
    const dot = (w: Float32Array, row: number, v: readonly number[]) =>
      v.reduce((sum, value, i) => sum + w[row * v.length + i]! * value, 0);
    const hidden = Array.from({ length: LAYER.rank }, (_, r) => Math.max(0, dot(w1, r, x)));
    for (let j = 0; j < dFf; j++) {
      const named = dot(w2, j, hidden) > threshold;
      const active = (records[t * recordBytes + activeOffset + (j >> 3)]! >> (j & 7)) & 1;
      const mass = active ? magnitudes[next++]! * FIXTURE_DOWN_NORMS[j]! : 0;
      count.mass += mass;
      if (named) count.named++;
      if (named && active) count.hits++;
      if (!named) count.missed += mass;
    }
  }
  return count;
}

it("a curve counts what a loop over tokens and neurons counts", () => {
  const curve = new CurveMeter(createReferenceKernels, SAMPLES, FIXTURE_DOWN_NORMS, LAYER).measure(LAYER);
  const { named, hits, missed } = accumulateCurve(curve);
  for (const threshold of [-0.5, 0, 0.25]) {
    const expected = slowCount(threshold);
    const bin = binOfScore(threshold) + 1;
    expect(named[bin]).toBe(expected.named);
    expect(hits[bin]).toBe(expected.hits);
    expect(missed[bin]).toBeCloseTo(expected.missed, 6);
    expect(curve.mass).toBeCloseTo(expected.mass, 6);
  }
  expect(curve).toMatchObject({ tokens: SAMPLES.counts.heldOutTokens, active: SAMPLES.counts.heldOutActive });
});

it("measures again with other weights, and on fewer tokens", () => {
  const meter = new CurveMeter(createReferenceKernels, SAMPLES, FIXTURE_DOWN_NORMS, LAYER, 70);
  const first = meter.measure(LAYER);
  expect(first.tokens).toBe(70);
  const other = fixtureLayer({ ...FIXTURE_SHAPE, rank: 8, dtype: "f32" }, 1);
  expect(meter.measure(other).counts).not.toEqual(first.counts);
  expect(meter.measure(LAYER)).toEqual(first);
});

it("without held-out samples there is nothing to calibrate on", () => {
  const samples = new MemorySampleStore(FIXTURE_SHAPE).layer(0);
  expect(() => new CurveMeter(createReferenceKernels, samples, FIXTURE_DOWN_NORMS, LAYER)).toThrow(
    "no held-out samples",
  );
});
