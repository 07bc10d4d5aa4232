import type { ModelGeometry } from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { PRESETS, planScale, spreadLayers } from "./geometry-scale.js";

const source: ModelGeometry = {
  architecture: "opt",
  nLayers: 8,
  dModel: 256,
  dFf: 1024,
  nHeads: 4,
  nKvHeads: 4,
  headDim: 64,
  vocabSize: 4096,
  contextLength: 1024,
  embeddingDim: 256,
  activation: "relu",
  normBefore: true,
  finalNorm: true,
  normAffine: true,
  normEpsilon: 1e-5,
  biases: true,
  tiedHead: true,
  positions: "learned",
  ropeTheta: null,
  parallelBlock: false,
  ffnNorm: true,
  positionOffset: 2,
  bosTokenId: 2,
  eosTokenId: 2,
};
const size = { dModel: 512, dFf: 2048, nLayers: 16, nHeads: 8 };

describe("planScale", () => {
  it("plans the presets", () => {
    expect(planScale(source, PRESETS.get("1.3b")!)).toMatchObject({
      widthCopies: 8,
      headWidthCopies: 1,
      neuronCopies: 8,
      target: { headDim: 64, nKvHeads: 32, embeddingDim: 2048, vocabSize: 4096 },
    });
    expect(planScale(source, PRESETS.get("6.7b")!)).toMatchObject({
      widthCopies: 16,
      headWidthCopies: 2,
      neuronCopies: 16,
      target: { headDim: 128 },
    });
  });

  it.each([
    ["d-model", { dModel: 600 }],
    ["d-ff", { dFf: 1500 }],
    ["heads", { nHeads: 6 }],
    ["d-model / heads", { nHeads: 16 }],
    ["layers", { nLayers: 7 }],
    ["layers", { dModel: 256, nHeads: 4 }],
    ["nLayers", { nLayers: 16.5 }],
  ])("refuses %s that is not made of copies", (name, change) => {
    expect(() => planScale(source, { ...size, ...change })).toThrow(
      expect.objectContaining({ code: "INPUT_INVALID", details: expect.objectContaining({ name }) }),
    );
  });

  it("refuses a checkpoint of another form", () => {
    expect(() => planScale({ ...source, normBefore: false }, size)).toThrow(
      expect.objectContaining({ code: "UNSUPPORTED_FEATURE" }),
    );
  });
});

describe("spreadLayers", () => {
  it("attends in the first and has the FFN in the last of each layer's stretch", () => {
    const layers = spreadLayers(2, 5).map(({ sourceLayer, attends, hasFfn }) => [sourceLayer, +attends, +hasFfn]);
    expect(layers).toEqual([
      [0, 1, 0],
      [0, 0, 0],
      [0, 0, 1],
      [1, 1, 0],
      [1, 0, 1],
    ]);
  });
});
