import { blockElements, paddedLength } from "@flashwick/core";
import { Arena } from "@flashwick/kernels";
import { createReferenceKernels } from "@flashwick/kernels/reference";
import { describe, expect, it } from "vitest";
import { nameNeurons, nameNeuronsOfBatch, namingScratchBytes, scoreNeurons } from "./neuron-naming.js";
import { placedPredictorBytes, placePredictor, predictorBytes } from "./placed-predictor.js";
import { type FixtureShape, fixtureLayer, randomFloats } from "./predictor.fixture.js";
import { dequantisePredictorMatrix, PREDICTOR_DTYPES } from "./predictor-matrix.js";

const TOKENS = 3;
// Not multiples of 16, where there are no blocks: padding is at work in every buffer.
const PLAIN_SHAPE = { dModel: 20, dFf: 40, rank: 12 };
const BLOCK_SHAPE = { dModel: 64, dFf: 40, rank: 32 };

/** A placed fixture with `TOKENS` random inputs and all buffers. */
function workshop(shape: FixtureShape) {
  const layer = fixtureLayer(shape);
  const kernels = createReferenceKernels(new Arena(1 << 20));
  const { arena } = kernels;
  const placed = placePredictor(arena, layer);
  const sizes = namingScratchBytes(kernels, placed, TOKENS);
  const scratch = {
    hidden: arena.allocate(sizes.hidden),
    scores: arena.allocate(sizes.scores),
    kernel: arena.allocate(sizes.kernel),
  };
  const xLength = paddedLength(shape.dModel);
  const x = arena.allocate(4 * TOKENS * xLength);
  const inputs = Array.from({ length: TOKENS }, (_, t) => randomFloats(shape.dModel, 100 + t));
  for (const [t, input] of inputs.entries()) arena.f32(x + 4 * t * xLength, shape.dModel).set(input);
  return { layer, kernels, arena, placed, scratch, x, xBytes: 4 * xLength, inputs };
}

/** W2 · relu(W1 · x) in double precision. */
function slowScores({ layer }: ReturnType<typeof workshop>, input: Float32Array): number[] {
  const product = (w: Float32Array, x: ArrayLike<number>, rows: number) =>
    Array.from({ length: rows }, (_, r) => {
      const cols = w.length / rows;
      return Array.from({ length: cols }, (_, c) => w[r * cols + c]! * x[c]!).reduce((a, b) => a + b, 0);
    });
  const hidden = product(dequantisePredictorMatrix(layer.w1), input, layer.rank).map((h) => Math.max(0, h));
  return product(dequantisePredictorMatrix(layer.w2), hidden, layer.w2.rows);
}

describe.each(PREDICTOR_DTYPES)("with %s weights", (dtype) => {
  const SHAPE = blockElements(dtype) > 1 ? BLOCK_SHAPE : PLAIN_SHAPE;
  const shop = workshop({ ...SHAPE, dtype });

  it("scores equal W2 · relu(W1 · x) within 2e-3", () => {
    scoreNeurons(shop.kernels, shop.placed, shop.x, TOKENS, shop.scratch);
    for (const [t, input] of shop.inputs.entries()) {
      const scores = shop.arena.f32(shop.scratch.scores + 4 * t * paddedLength(SHAPE.dFf), SHAPE.dFf);
      for (const [j, expected] of slowScores(shop, input).entries()) expect(scores[j]).toBeCloseTo(expected, 2.4);
    }
  });

  it("names what scores above the predictor's threshold", () => {
    const out = shop.arena.allocate(4 * SHAPE.dFf);
    const count = nameNeurons(shop.kernels, shop.placed, shop.x, shop.scratch, out);
    const expected = slowScores(shop, shop.inputs[0]!).flatMap((score, j) => (score > 0.25 ? [j] : []));
    expect([...shop.arena.u32(out, count)]).toEqual(expected);
    expect(count).toBeGreaterThan(0);
    expect(count).toBeLessThan(SHAPE.dFf);
  });

  it("threshold -Infinity names every neuron, +Infinity none", () => {
    const out = shop.arena.allocate(4 * SHAPE.dFf);
    const all = nameNeurons(shop.kernels, shop.placed, shop.x, shop.scratch, out, Number.NEGATIVE_INFINITY);
    expect([...shop.arena.u32(out, all)]).toEqual(Array.from({ length: SHAPE.dFf }, (_, j) => j));
    expect(nameNeurons(shop.kernels, shop.placed, shop.x, shop.scratch, out, Number.POSITIVE_INFINITY)).toBe(0);
  });

  it("a batch names what its tokens name one by one", () => {
    const out = shop.arena.allocate(4 * TOKENS * SHAPE.dFf);
    const counts = new Uint32Array(TOKENS);
    nameNeuronsOfBatch(shop.kernels, shop.placed, shop.x, TOKENS, shop.scratch, out, counts);
    const single = shop.arena.allocate(4 * SHAPE.dFf);
    for (let t = 0; t < TOKENS; t++) {
      const count = nameNeurons(shop.kernels, shop.placed, shop.x + t * shop.xBytes, shop.scratch, single);
      expect(shop.arena.u32(out + 4 * t * SHAPE.dFf, counts[t]!)).toEqual(shop.arena.u32(single, count));
    }
  });

  it("placedPredictorBytes is what placing takes, a little more than the weights", () => {
    const arena = new Arena(1 << 20);
    const layer = fixtureLayer({ ...SHAPE, dtype });
    const before = arena.mark();
    placePredictor(arena, layer);
    expect(arena.mark() - before).toBe(placedPredictorBytes(layer));
    expect(placedPredictorBytes(layer)).toBeGreaterThanOrEqual(predictorBytes(layer) + 128);
  });
});
