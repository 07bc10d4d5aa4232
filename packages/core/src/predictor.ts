/** What a trained sparsity predictor is: data that the trainer makes, the sidecar file carries and the engine runs. */
import type { SparsityStatistics } from "./sparsity.js";

/** How good one layer's predictor is, on held-out tokens. Shares are of `dFf`. */
export interface PredictorQuality {
  readonly layer: number;
  readonly rank: number;
  /** A neuron is named when its score exceeds this (score = logit, before the sigmoid). */
  readonly threshold: number;
  readonly trueActiveShare: number;
  readonly namedShare: number;
  /** Share of the truly active neurons that are named. */
  readonly recall: number;
  /** Share of the named neurons that are truly active. */
  readonly precision: number;
  /** Σ over missed |act_i|·‖down_i‖ divided by the same sum over all active neurons. */
  readonly missedMass: number;
}

/** Weights of one layer's predictor: score = W2 · relu(W1 · x), no biases. */
export interface PredictorLayer extends PredictorQuality {
  /** W1 `[rank, dModel]`, row-major. */
  readonly w1: PredictorMatrix;
  /** W2 `[dFf, rank]`, row-major. */
  readonly w2: PredictorMatrix;
}

/** Size and type of one matrix of a predictor. The matrices of one predictor may differ in type. */
export interface PredictorMatrixShape {
  /** Of blocks (`q8_0`, `q4_0`) a row has a whole number: `cols` is a multiple of 32. */
  readonly dtype: "f32" | "f16" | "int8" | "q8_0" | "q4_0";
  readonly rows: number;
  readonly cols: number;
}

/** One matrix of a predictor, as it is stored. */
export interface PredictorMatrix extends PredictorMatrixShape {
  /** Rows of `dtype`, without gaps, little-endian. */
  readonly data: Uint8Array;
  /** f32 per row; int8 only. */
  readonly scales: Float32Array | null;
}

/** A trained predictor: for each layer two matrices, a threshold and what was measured of them. */
export interface Predictor {
  /** Fingerprint of the model it belongs to; a mismatch is refused, since a foreign predictor gives fluent wrong text. */
  readonly modelFingerprint: string;
  readonly dModel: number;
  /** Of the widest layer; a layer's own are the rows of its W2. */
  readonly dFf: number;
  /** One entry a layer, ascending and complete. */
  readonly layers: readonly PredictorLayer[];
  /** What it names of a held-out text, token after token; null where that was not looked at. */
  readonly sparsity: SparsityStatistics | null;
  /** Free facts about the training: tokens, epochs, seed, command. JSON values. */
  readonly training: Readonly<Record<string, unknown>>;
}

/** A layer of a predictor before its weights are read. */
export interface PredictorLayerShape extends PredictorQuality {
  readonly w1: PredictorMatrixShape;
  readonly w2: PredictorMatrixShape;
}

/** A predictor whose weights are read when they are wanted, a layer at a time: nothing of them stays behind. */
export interface PredictorSource {
  readonly modelFingerprint: string;
  readonly dModel: number;
  readonly dFf: number;
  readonly layers: readonly PredictorLayerShape[];
  readonly sparsity: SparsityStatistics | null;
  /** @throws {IntegrityError} `INTEGRITY_TENSOR`. */
  readLayer(layer: number, signal?: AbortSignal): Promise<PredictorLayer>;
}
