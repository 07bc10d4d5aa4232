/**
 * A layer's predictor in an arena, where the kernels read it.
 *
 * Invariant: `placedPredictorBytes` is exactly what `placePredictor` takes from an arena whose top is 16-byte aligned, so
 * a memory plan made before is what is allocated after.
 */
import { type PredictorLayer, type PredictorMatrix, rowBytes } from "@flashwick/core";
import { type Arena, type Matrix, TAIL_BYTES } from "@flashwick/kernels";
import { predictorMatrixBytes } from "./predictor-matrix.js";

/** score = W2 · relu(W1 · x), ready to run. */
export interface PlacedPredictor {
  readonly layer: number;
  readonly rank: number;
  readonly dModel: number;
  readonly dFf: number;
  /** A neuron is named when its score exceeds this. */
  readonly threshold: number;
  /** `[rank, dModel]`. */
  readonly w1: Matrix;
  /** `[dFf, rank]`. */
  readonly w2: Matrix;
}

/** The parts of a layer that sizes depend on. */
type LayerShape = { readonly [name in "w1" | "w2"]: Pick<PredictorMatrix, "dtype" | "rows" | "cols"> };

const align = (bytes: number) => (bytes + 15) & ~15;

/** Bytes of a layer's weights and scales as they are stored: what its sidecar tensors hold. */
export function predictorBytes(layer: LayerShape): number {
  return predictorMatrixBytes(layer.w1) + predictorMatrixBytes(layer.w2);
}

/** Bytes that {@link placePredictor} takes from an arena, tails and alignment included. */
export function placedPredictorBytes(layer: LayerShape): number {
  return placedMatrixBytes(layer.w1) + placedMatrixBytes(layer.w2);
}

/** Copies a layer's weights into an arena that has {@link placedPredictorBytes} free. */
export function placePredictor(arena: Arena, layer: PredictorLayer): PlacedPredictor {
  return {
    layer: layer.layer,
    rank: layer.rank,
    dModel: layer.w1.cols,
    dFf: layer.w2.rows,
    threshold: layer.threshold,
    w1: placeMatrix(arena, layer.w1),
    w2: placeMatrix(arena, layer.w2),
  };
}

function placedMatrixBytes({ dtype, rows, cols }: LayerShape["w1"]): number {
  const scales = dtype === "int8" ? align(4 * rows) : 0;
  return align(rows * rowBytes(dtype, cols) + TAIL_BYTES) + scales;
}

function placeMatrix(arena: Arena, { dtype, rows, cols, data, scales }: PredictorMatrix): Matrix {
  const ptr = arena.allocate(align(data.byteLength + TAIL_BYTES));
  arena.bytes.set(data, ptr);
  if (scales === null) return { dtype, data: ptr, scales: 0, rows, cols };
  const scalesPtr = arena.allocate(align(4 * rows));
  arena.f32(scalesPtr, rows).set(scales);
  return { dtype, data: ptr, scales: scalesPtr, rows, cols };
}
