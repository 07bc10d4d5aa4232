/**
 * Predictor weights as stored elements, and back.
 *
 * f16 rounds to nearest, ties to even. int8 is symmetric with one scale a row: scale = f32(max|w| / 127),
 * q = round(w / scale) within ±127, ties to even; a row of zeros has scale 0. Q8_0 and Q4_0 are ggml's blocks of 32 as in model files.
 * What is not finite is never stored.
 */
import {
  assert,
  blockBytes,
  blockElements,
  encodeFloat16,
  FormatError,
  InputError,
  type PredictorMatrix,
  type PredictorMatrixShape,
  rowBytes,
} from "@flashwick/core";
import { BLOCK_ELEMENTS, BlockEncoder, decodeRow, roundTiesToEven } from "@flashwick/kernels/reference";

/** Types that a predictor's weights may be stored in. */
export type PredictorDType = PredictorMatrix["dtype"];

/** The types of blocks. */
type PredictorBlockDType = Extract<PredictorDType, "q8_0" | "q4_0">;

/** All of {@link PredictorDType}. */
export const PREDICTOR_DTYPES: readonly PredictorDType[] = ["f32", "f16", "int8", "q8_0", "q4_0"];

const INT8_MOST = 127;
const FLOAT16_EXPONENT = 0x7c00;

/** Bytes of a stored matrix: elements and scales. */
export function predictorMatrixBytes(matrix: Pick<PredictorMatrix, "dtype" | "rows" | "cols">): number {
  const { dtype, rows, cols } = matrix;
  return rows * rowBytes(dtype, cols) + (dtype === "int8" ? 4 * rows : 0);
}

/** Whether rows of so many columns can be stored: blocks have 32 elements, and a row is a whole number of them. */
export function fitsPredictorDType(dtype: PredictorDType, cols: number): boolean {
  return cols % blockElements(dtype) === 0;
}

/**
 * Stores a matrix.
 *
 * @param weights f32 `[rows, cols]`, row-major.
 * @param dtype   One that {@link fitsPredictorDType}.
 * @throws {InputError} `INPUT_INVALID` naming the element, for NaN, infinity or overflow of f16.
 */
export function quantisePredictorMatrix(
  weights: Float32Array,
  rows: number,
  cols: number,
  dtype: PredictorDType,
): PredictorMatrix {
  assert(weights.length === rows * cols, `${weights.length} weights for a matrix [${rows}, ${cols}]`);
  const bad = weights.findIndex((w) => !Number.isFinite(w));
  if (bad >= 0) throw unstorable(weights, bad, cols, dtype);
  if (dtype === "f32") return { dtype, rows, cols, data: littleEndianF32(weights), scales: null };
  if (dtype === "f16") return { dtype, rows, cols, data: encodeHalves(weights, cols), scales: null };
  if (dtype === "int8") return { dtype, rows, cols, ...encodeInt8(weights, rows, cols) };
  return { dtype, rows, cols, data: encodeBlocks(weights, cols, dtype), scales: null };
}

/** The f32 `[rows, cols]` that a stored matrix stands for. */
export function dequantisePredictorMatrix({ dtype, rows, cols, data, scales }: PredictorMatrix): Float32Array {
  const out = new Float32Array(rows * cols);
  for (let r = 0; r < rows; r++) {
    const row = out.subarray(r * cols, (r + 1) * cols);
    decodeRow(dtype, data, r * rowBytes(dtype, cols), cols, row);
    if (scales) for (let c = 0; c < cols; c++) row[c] = row[c]! * scales[r]!;
  }
  return out;
}

/**
 * Checks that a matrix is what its fields say; of one that is not read yet, its shape.
 *
 * @param where For the message: "layer 3 W1".
 * @throws {FormatError} `FORMAT_INVALID`.
 */
export function checkPredictorMatrix(
  matrix: PredictorMatrix | PredictorMatrixShape,
  rows: number,
  cols: number,
  where: string,
): void {
  const expect = (what: string, expected: number | string, found: number | string) => {
    if (expected === found) return;
    throw new FormatError(
      "FORMAT_INVALID",
      `predictor ${where}: expected ${what} ${expected}, found ${found}; train the predictor again`,
      { details: { where, what, expected, found } },
    );
  };
  expect("rows", rows, matrix.rows);
  expect("columns", cols, matrix.cols);
  const elements = blockElements(matrix.dtype);
  if (cols % elements !== 0) expect("columns of its type", `a multiple of ${elements}`, cols);
  if (!("data" in matrix)) return;
  expect("data bytes", rows * rowBytes(matrix.dtype, cols), matrix.data.byteLength);
  expect("scales", matrix.dtype === "int8" ? rows : "none", matrix.scales?.length ?? "none");
}

function unstorable(weights: Float32Array, at: number, cols: number, dtype: PredictorDType): InputError {
  const [row, column] = [Math.floor(at / cols), at % cols];
  return new InputError(
    "INPUT_INVALID",
    `predictor weight [${row}, ${column}]: expected a finite ${dtype}, found ${weights[at]}; train with a lower learning rate`,
    { details: { row, column, dtype } },
  );
}

function littleEndianF32(weights: Float32Array): Uint8Array {
  const data = new Uint8Array(4 * weights.length);
  const view = new DataView(data.buffer);
  for (let i = 0; i < weights.length; i++) view.setFloat32(4 * i, weights[i]!, true);
  return data;
}

function encodeHalves(weights: Float32Array, cols: number): Uint8Array {
  const data = new Uint8Array(2 * weights.length);
  const view = new DataView(data.buffer);
  for (let i = 0; i < weights.length; i++) {
    const half = encodeFloat16(weights[i]!);
    if ((half & FLOAT16_EXPONENT) === FLOAT16_EXPONENT) throw unstorable(weights, i, cols, "f16");
    view.setUint16(2 * i, half, true);
  }
  return data;
}

function encodeInt8(weights: Float32Array, rows: number, cols: number): { data: Uint8Array; scales: Float32Array } {
  const quantised = new Int8Array(weights.length);
  const scales = new Float32Array(rows);
  for (let r = 0; r < rows; r++) {
    const row = weights.subarray(r * cols, (r + 1) * cols);
    const scale = Math.fround(row.reduce((most, w) => Math.max(most, Math.abs(w)), 0) / INT8_MOST);
    scales[r] = scale;
    if (scale === 0) continue;
    for (let c = 0; c < cols; c++) quantised[r * cols + c] = nearestInt8(row[c]! / scale);
  }
  return { data: new Uint8Array(quantised.buffer), scales };
}

/** Nearest integer within ±127. */
function nearestInt8(x: number): number {
  return Math.max(-INT8_MOST, Math.min(INT8_MOST, roundTiesToEven(x)));
}

function encodeBlocks(weights: Float32Array, cols: number, dtype: PredictorBlockDType): Uint8Array {
  const data = new Uint8Array((weights.length / BLOCK_ELEMENTS) * blockBytes(dtype));
  const encoder = new BlockEncoder(dtype, data);
  for (let at = 0, i = 0; i < weights.length; i += BLOCK_ELEMENTS, at += blockBytes(dtype)) {
    if (!encoder.encode(weights.subarray(i, i + BLOCK_ELEMENTS), at)) throw unstorable(weights, i, cols, dtype);
  }
  return data;
}
