import { expect, it } from "vitest";
import {
  attentionBiases,
  equalLayers,
  ffnBytes,
  hasSameForm,
  isSparse,
  kvWidth,
  type LayerGeometry,
  type NormGeometry,
  neuronCount,
  neuronGrid,
  normsBefore,
  queryWidth,
  widestFfn,
} from "./geometry.js";

const norm: NormGeometry = { kind: "layer", epsilon: 1e-5, weight: true, bias: true };
const layer: LayerGeometry = {
  attention: {
    ...{ nHeads: 6, nKvHeads: 2, headDim: 24, scale: 1 / Math.sqrt(24), biases: attentionBiases(true) },
    ...{ queryKeyNorm: null, rotary: null, alibi: false, windowTokens: null },
  },
  ffn: {
    ...{ dFf: 100, gated: false, activation: "relu", threshold: 0, upActivation: "none" },
    biases: { gate: false, up: true, down: true },
  },
  norms: normsBefore(norm, norm),
  parallel: false,
};
const wide: LayerGeometry = { ...layer, ffn: { ...layer.ffn, dFf: 300, activation: "gelu" } };
const geometry = { dModel: 64, layers: [...equalLayers(2, layer), wide] };

it("counts what layers have, whatever their widths", () => {
  expect([widestFfn(geometry), neuronCount(geometry)]).toEqual([300, 500]);
  expect(ffnBytes(geometry, { slotBytes: 512 })).toBe(500 * 512);
  expect([queryWidth(layer.attention), kvWidth(layer.attention)]).toEqual([144, 48]);
});

it("is sparse if every layer is", () => {
  expect([isSparse({ layers: [layer, layer] }), isSparse(geometry)]).toEqual([true, false]);
});

it("a grid of neurons has layers of one width", () => {
  expect(neuronGrid({ dModel: 64, layers: equalLayers(3, layer) })).toEqual({ nLayers: 3, dModel: 64, dFf: 100 });
  expect(() => neuronGrid(geometry)).toThrowError(
    expect.objectContaining({ code: "UNSUPPORTED_FEATURE", details: { layer: 2, expected: 100, found: 300 } }),
  );
});

it("form is which norms there are and whether blocks are parallel, not sizes", () => {
  expect(hasSameForm(layer, wide)).toBe(true);
  expect(hasSameForm(layer, { ...layer, parallel: true })).toBe(false);
  expect(hasSameForm(layer, { ...layer, norms: normsBefore(norm, null) })).toBe(false);
});
