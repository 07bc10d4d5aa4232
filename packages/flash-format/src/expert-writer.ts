/** A layer's experts on their way into a file: rows come in the order of the records, and each goes behind the last. SPEC.md, "Experts". */
import { assert, type ResidentDType, rowBytes } from "@flashwick/core";
import { crc32c } from "./crc32c.js";
import type { ExpertRecordPart } from "./expert-record.js";
import type { ExpertPlan } from "./model-layout.js";
import { LossTally } from "./quantisation-loss.js";
import { RowEncoder, type UnstorableValue } from "./row-encoder.js";

/** Bytes encoded and written at once, at least one row. */
const ENCODE_BYTES = 1024 * 1024;

/** Where a value stands that its type cannot hold. */
export interface UnstorableExpertWeight {
  readonly part: ExpertRecordPart;
  readonly expert: number;
  readonly row: number;
  readonly element: UnstorableValue;
}

export class ExpertWriter {
  /** Of each record that is whole. */
  readonly crcs: Uint32Array;
  readonly tally = new LossTally();
  readonly #plan: ExpertPlan;
  readonly #write: (bytes: Uint8Array, at: number) => Promise<void>;
  #encoder: RowEncoder | null = null;
  /** What comes next: a row of a part of an expert. */
  #expert = 0;
  #part = 0;
  #row = 0;
  /** Of the expert's bytes so far. */
  #crc = 0;

  /** @param write Writes bytes at an offset from the first record. */
  constructor(plan: ExpertPlan, write: (bytes: Uint8Array, at: number) => Promise<void>) {
    this.crcs = new Uint32Array(plan.count);
    this.#plan = plan;
    this.#write = write;
  }

  /** Experts that are written whole. */
  get expertsDone(): number {
    return this.#expert;
  }

  /**
   * @param rows f32 `[n, cols]`, of the matrix that comes next.
   * @returns Null, or the first weight that cannot be stored.
   */
  async writeRows(rows: Float32Array): Promise<UnstorableExpertWeight | null> {
    const part = this.#next();
    const { cols } = part;
    const count = rows.length / cols;
    assert(Number.isInteger(count), `${rows.length} elements are not whole rows of ${cols}`);
    const encoder = this.#encoderOf(part);
    const stride = encoder.rowBytes(cols);
    const batch = Math.floor(encoder.bytes.length / stride);
    for (let begin = 0; begin < count; begin += batch) {
      const end = Math.min(begin + batch, count);
      for (let r = begin; r < end; r++) {
        if (!encoder.encode(rows.subarray(r * cols, (r + 1) * cols), (r - begin) * stride)) {
          return { part, expert: this.#expert, row: this.#row + r - begin, element: encoder.unstorable! };
        }
        if (encoder.isLossy) this.tally.add(part.role, encoder.squaredError, encoder.squaredSum);
      }
      await this.writeBytes(encoder.bytes.subarray(0, (end - begin) * stride));
    }
    return null;
  }

  /** @param bytes Whole rows of the matrix that comes next, as they are stored. */
  async writeBytes(bytes: Uint8Array): Promise<void> {
    const part = this.#next();
    const stride = rowBytes(part.dtype, part.cols);
    const count = bytes.length / stride;
    const { strideBytes } = this.#plan.record;
    assert(Number.isInteger(count) && this.#row + count <= part.rows, `${part.role} has ${part.rows} rows`);
    await this.#write(bytes, this.#expert * strideBytes + part.offsetBytes + this.#row * stride);
    this.#crc = crc32c(bytes, this.#crc);
    this.#row += count;
    if (this.#row === part.rows) await this.#endPart(part);
  }

  async #endPart({ offsetBytes, sizeBytes }: ExpertRecordPart): Promise<void> {
    const { parts, strideBytes } = this.#plan.record;
    this.#row = 0;
    this.#part++;
    if (this.#part < parts.length) return;
    const end = offsetBytes + sizeBytes;
    const padding = new Uint8Array(strideBytes - end);
    if (padding.length > 0) await this.#write(padding, this.#expert * strideBytes + end);
    this.crcs[this.#expert] = crc32c(padding, this.#crc);
    [this.#crc, this.#part] = [0, 0];
    this.#expert++;
  }

  #next(): ExpertRecordPart {
    assert(this.#expert < this.#plan.count, `layer ${this.#plan.layer} has ${this.#plan.count} experts`);
    return this.#plan.record.parts[this.#part]!;
  }

  #encoderOf({ dtype, cols }: ExpertRecordPart): RowEncoder {
    const leastBytes = Math.max(rowBytes(dtype, cols), 4 * cols);
    const known = this.#encoder;
    if (known && known.dtype === dtype && known.bytes.length >= leastBytes) return known;
    this.#encoder = new RowEncoder(dtype as ResidentDType, Math.max(ENCODE_BYTES, leastBytes));
    return this.#encoder;
  }
}
