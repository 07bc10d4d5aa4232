import type { Predictor } from "@flashwick/core";
import { expect, it } from "vitest";
import { spreadLayers } from "./untrained-layer.js";

it("keeps what was trained in its place, and names every neuron elsewhere", () => {
  const matrix = { dtype: "f32" as const, rows: 1, cols: 1, data: new Uint8Array(4), scales: null };
  const quality = { rank: 1, threshold: 0.5, trueActiveShare: 0.1, namedShare: 0.2, recall: 0.9, precision: 0.5 };
  const layers = [0, 1].map((layer) => ({ layer, ...quality, missedMass: 0.01 * layer, w1: matrix, w2: matrix }));
  const trained: Predictor = {
    modelFingerprint: "f",
    dModel: 8,
    dFf: 4,
    layers,
    sparsity: null,
    training: { seed: 1 },
  };
  const whole = spreadLayers(trained, [1, 2], 4);
  expect(whole.layers.map(({ layer }) => layer)).toEqual([0, 1, 2, 3]);
  expect(whole.layers.map(({ threshold }) => threshold)).toEqual([-Infinity, 0.5, 0.5, -Infinity]);
  expect(whole.layers[2]!.missedMass).toBe(0.01);
  expect(whole.layers[3]!.w2).toMatchObject({ rows: 4, cols: 1 });
  expect(whole.training).toEqual({ seed: 1 });
});
