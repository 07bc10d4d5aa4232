/** Neurons, or columns, as records: rows side by side, with their checksums. SPEC.md, "Records" and "Columns". */

import { assert, type RecordRole, type WeightLayout } from "@flashwick/core";
import { BLOCK_ELEMENTS } from "@flashwick/kernels/reference";
import { crc32c } from "./crc32c.js";
import type { RoundedBlocks } from "./model-writer.js";
import { LossTally } from "./quantisation-loss.js";
import { RowEncoder, type UnstorableValue } from "./row-encoder.js";

/** What of a layout records depend on. */
export type EncodedRecords = Pick<WeightLayout, "dtype" | "layout" | "strideBytes" | "parts">;

/** The parts of records, f32 `[n, width]` each: of columns as rows. */
export type RecordRows = Readonly<Partial<Record<RecordRole, Float32Array | null>>> & {
  readonly rounded?: RoundedBlocks | null;
};

/** Where a value stands that the dtype cannot hold. */
export interface UnstorableWeight {
  readonly matrix: RecordRole;
  /** Index of the record among those given. */
  readonly neuron: number;
  readonly element: UnstorableValue;
}

export class RecordEncoder {
  /** Records that one call can take. */
  readonly capacity: number;
  readonly #weights: EncodedRecords;
  readonly #width: number;
  /** Whole records; when split, the up halves, and `#down` the down halves. Padding is zero from the start and never written. */
  readonly #up: RowEncoder;
  readonly #down: RowEncoder;

  /** @param width Elements of a part. */
  constructor(weights: EncodedRecords, width: number, capacity: number) {
    const sizeBytes = capacity * weights.strideBytes;
    this.capacity = capacity;
    this.#weights = weights;
    this.#width = width;
    this.#up = new RowEncoder(weights.dtype, sizeBytes);
    this.#down = weights.layout === "split" ? new RowEncoder(weights.dtype, sizeBytes) : this.#up;
  }

  /**
   * Encodes `n` records.
   *
   * @param rows f32 `[n, width]` each, n at most {@link capacity}; of down, neuron i's column as row i.
   * @param crcs Receives the CRC-32C of each slot, `[n]`.
   * @param tally Receives what was lost, unless rows were rounded before: whoever did that knows it.
   * @returns Null, or the first weight that cannot be stored.
   */
  encode(rows: RecordRows, crcs: Uint32Array, tally = new LossTally()): UnstorableWeight | null {
    assert(crcs.length <= this.capacity, `${crcs.length} records at once, room for ${this.capacity}`);
    for (let i = 0; i < crcs.length; i++) {
      const unstorable = this.#encodeRecord(rows, i, tally);
      if (unstorable !== null) return unstorable;
      crcs[i] = this.#checksum(i);
    }
    return null;
  }

  /** The first `n` records encoded last; when split, their up halves. */
  records(n: number): Uint8Array {
    return this.#up.bytes.subarray(0, n * this.#weights.strideBytes);
  }

  /** The first `n` down halves encoded last; split only. */
  downHalves(n: number): Uint8Array {
    return this.#down.bytes.subarray(0, n * this.#weights.strideBytes);
  }

  #encodeRecord(rows: RecordRows, i: number, tally: LossTally): UnstorableWeight | null {
    const { strideBytes, layout, parts } = this.#weights;
    const begin = i * strideBytes;
    // Offsets count from the slot's start; the down halves have a buffer of their own.
    const downBegin = layout === "split" ? begin - strideBytes : begin;
    const row = i * this.#width;
    for (const { role, offsetBytes, scaleOffsetBytes } of parts) {
      const values = rows[role];
      assert(values, `records have ${role}`);
      const isDown = role === "down";
      const encoder = isDown ? this.#down : this.#up;
      const at = (isDown ? downBegin : begin) + offsetBytes;
      if (!encoder.encode(values.subarray(row, row + this.#width), at, this.#scalesOf(rows, role, i))) {
        return { matrix: role, neuron: i, element: encoder.unstorable! };
      }
      if (encoder.isLossy && !rows.rounded) tally.add(role, encoder.squaredError, encoder.squaredSum);
      // All scales stand behind the last part.
      if (scaleOffsetBytes !== null) this.#down.putFloat(encoder.scale, downBegin + scaleOffsetBytes);
    }
    return null;
  }

  /** Of the blocks of a row that was rounded before. */
  #scalesOf({ rounded }: RecordRows, role: RecordRole, i: number): Float32Array | null {
    const rowBlocks = this.#width / BLOCK_ELEMENTS;
    return rounded?.scales[role]?.subarray(i * rowBlocks, (i + 1) * rowBlocks) ?? null;
  }

  #checksum(i: number): number {
    const { strideBytes, layout } = this.#weights;
    const first = i * strideBytes;
    const crc = crc32c(this.#up.bytes.subarray(first, first + strideBytes));
    return layout === "split" ? crc32c(this.#down.bytes.subarray(first, first + strideBytes), crc) : crc;
  }
}
