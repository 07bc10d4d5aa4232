/** Where a map's cells lie: large enough to be told apart, within the canvas, and every expert in one of its own. */
import { describe, expect, it } from "vitest";
import { expertCells } from "./unit-map.js";

/** Layers and experts of Mixtral 8x7B, OLMoE 1B-7B, gpt-oss-20b, Qwen3 30B-A3B, and of DeepSeek's largest. */
const MIXTURES = [
  [32, 8],
  [16, 64],
  [24, 32],
  [48, 128],
  [61, 256],
] as const;

describe.each([342, 1150])("on a canvas %i pixels wide", (width) => {
  it.each(MIXTURES)("%i layers of %i experts have cells of at least 5 pixels that fit side by side", (nLayers, dFf) => {
    const { columns, rowsPerLayer, across, down, layerDown } = expertCells({ nLayers, dFf }, width);
    expect(columns * across).toBeLessThanOrEqual(width);
    expect(columns * rowsPerLayer).toBeGreaterThanOrEqual(dFf);
    expect(columns * (rowsPerLayer - 1)).toBeLessThan(dFf);
    expect(Math.min(across, down)).toBeGreaterThanOrEqual(5);
    expect(layerDown).toBeGreaterThanOrEqual(rowsPerLayer * down);
  });
});

it("few experts have square cells, and are not stretched over the canvas", () => {
  expect(expertCells({ nLayers: 2, dFf: 8 }, 1150)).toEqual({
    ...{ columns: 8, rowsPerLayer: 1 },
    ...{ across: 24, down: 24, layerDown: 24 },
  });
});
