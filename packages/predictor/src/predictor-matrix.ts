/**
 * Predictor weights as stored elements, and back.
 *
 * f16 rounds to nearest, ties to even. int8 is symmetric with one scale a row: scale = f32(max|w| / 127),
 * q = round(w / scale) within ±127, ties to even; a row of zeros has scale 0. What is not finite is never stored.
 */
import {
  assert,
  decodeFloat16,
  encodeFloat16,
  FormatError,
  InputError,
  type PredictorMatrix,
  type PredictorMatrixShape,
  rowBytes,
} from "@flashwick/core";

/** Types that a predictor's weights may be stored in. */
export type PredictorDType = PredictorMatrix["dtype"];

const INT8_MOST = 127;
const FLOAT16_EXPONENT = 0x7c00;

/** Bytes of a stored matrix: elements and scales. */
export function predictorMatrixBytes(matrix: Pick<PredictorMatrix, "dtype" | "rows" | "cols">): number {
  const { dtype, rows, cols } = matrix;
  return rows * rowBytes(dtype, cols) + (dtype === "int8" ? 4 * rows : 0);
}

/**
 * Stores a matrix.
 *
 * @param weights f32 `[rows, cols]`, row-major.
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
  return { dtype, rows, cols, ...encodeInt8(weights, rows, cols) };
}

/** The f32 `[rows, cols]` that a stored matrix stands for. */
export function dequantisePredictorMatrix({ dtype, rows, cols, data, scales }: PredictorMatrix): Float32Array {
  const out = new Float32Array(rows * cols);
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  for (let i = 0; i < out.length; i++) {
    if (dtype === "f32") out[i] = view.getFloat32(4 * i, true);
    else if (dtype === "f16") out[i] = decodeFloat16(view.getUint16(2 * i, true));
    else out[i] = view.getInt8(i) * scales![Math.floor(i / cols)]!;
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

/** Nearest integer, ties to even, within ±127: adding and taking away 1.5·2^52 rounds in double precision. */
function nearestInt8(x: number): number {
  const rounded = x + 6755399441055744 - 6755399441055744;
  return Math.max(-INT8_MOST, Math.min(INT8_MOST, rounded));
}
