/**
 * Stored weights as f32: the way back of row-encoder.ts and record-encoder.ts. For tools and studies; kernels compute with the bytes as they are.
 *
 * Values are exact, but that int8's integers meet their scale, and blocks with a minimum their sum, in one rounding.
 */
import { type DType, FlashwickError, rowBytes, type WeightLayout } from "@flashwick/core";
import { decodeRow } from "@flashwick/kernels/reference";
import type { NeuronRows } from "./model-writer.js";

/**
 * Decodes rows as they lie in a tensor, or in a matrix of an expert's record.
 *
 * @param bytes  Whole rows of `cols` elements each, without gaps: as `readResidentTensor` brings them.
 * @param scales f32 `[rows]`, of int8 only: as `readResidentTensor` brings them.
 * @returns f32 `[rows, cols]`.
 * @throws {FlashwickError} `SHAPE` if the bytes are no whole number of rows, or int8 comes without a scale for each.
 */
export function decodeRows(dtype: DType, bytes: Uint8Array, cols: number, scales?: Float32Array): Float32Array {
  const stride = rowBytes(dtype, cols);
  const rows = bytes.length / stride;
  if (!Number.isInteger(rows)) throw shapeError(`${bytes.length} bytes`, `rows of ${stride} bytes each`);
  if (dtype === "int8" && scales?.length !== rows)
    throw shapeError(`${scales?.length ?? 0} scales`, `${rows}, one a row`);
  const out = new Float32Array(rows * cols);
  for (let r = 0; r < rows; r++) {
    const row = out.subarray(r * cols, (r + 1) * cols);
    decodeRow(dtype, bytes, r * stride, cols, row);
    if (dtype === "int8") scaleRow(row, scales![r]!);
  }
  return out;
}

/**
 * Decodes neurons from their slots: records as they were read, in `split` layout each neuron's two halves one behind the other.
 *
 * @param slots Whole slots of `weights.slotBytes` each. Their checksums are the caller's business (`readRecordChecksums`).
 * @returns f32 `[n, dModel]` each; `gate` is null where neurons have none.
 * @throws {FlashwickError} `SHAPE` if the bytes are no whole number of slots.
 */
export function decodeNeurons(weights: WeightLayout, dModel: number, slots: Uint8Array): NeuronRows {
  const n = slots.length / weights.slotBytes;
  if (!Number.isInteger(n)) throw shapeError(`${slots.length} bytes`, `slots of ${weights.slotBytes} bytes each`);
  const rows = new Map(weights.parts.map(({ role }) => [role, new Float32Array(n * dModel)]));
  const view = new DataView(slots.buffer, slots.byteOffset, slots.byteLength);
  for (let i = 0; i < n; i++) {
    const slot = i * weights.slotBytes;
    for (const { role, offsetBytes, scaleOffsetBytes } of weights.parts) {
      const row = rows.get(role)!.subarray(i * dModel, (i + 1) * dModel);
      decodeRow(weights.dtype, slots, slot + offsetBytes, dModel, row);
      if (scaleOffsetBytes !== null) scaleRow(row, view.getFloat32(slot + scaleOffsetBytes, true));
    }
  }
  return { gate: rows.get("gate") ?? null, up: rows.get("up")!, down: rows.get("down")! };
}

function scaleRow(row: Float32Array, scale: number): void {
  for (let k = 0; k < row.length; k++) row[k] = row[k]! * scale;
}

function shapeError(found: string, expected: string): FlashwickError {
  return new FlashwickError("SHAPE", `stored weights: expected ${expected}, found ${found}`, {
    details: { found, expected },
  });
}
