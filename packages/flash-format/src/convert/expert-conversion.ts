/**
 * A layer's experts, read expert after expert and written as records.
 *
 * Invariants: a stored slice is read once and in order; its CRC-32C is that of the bytes as stored, with scales behind their blocks. What holds one matrix row
 * by row streams in blocks; what is fused, transposed or has scales elsewhere is held whole.
 */
import { assert, type DType, isBlockDType, MiB, rowBytes } from "@flashwick/core";
import { crc32c } from "../crc32c.js";
import type { ModelWriter } from "../model-writer.js";
import type { CheckpointTensor, SourceDType } from "./checkpoint-tensor.js";
import type { PlannedExperts, PlannedSlice } from "./expert-plan.js";
import { checkFinite } from "./finite-check.js";
import { ggmlBlocks } from "./paired-mxfp4.js";
import { ReusedBytes } from "./reused-bytes.js";
import { decodeElements, transposeColumns } from "./source-elements.js";

/** Bytes of f32 rows, and of what is read, at once. */
const BLOCK_BYTES = 8 * MiB;

/** Reads bytes at an offset of the file that a tensor is in. @param name Of what is converted. */
export type ReadAt = (tensor: CheckpointTensor, offset: number, target: Uint8Array, name: string) => Promise<void>;

/** Types of a layer's matrices in the file that is written, in the order of a record. */
export type TargetDTypes = readonly DType[];

export class ExpertConversion {
  readonly #writer: ModelWriter;
  readonly #readAt: ReadAt;
  /** By layer; null where everything is encoded. */
  readonly #kept: readonly TargetDTypes[] | null;
  readonly #raw = new ReusedBytes();
  readonly #scales = new ReusedBytes();
  readonly #blocks = new ReusedBytes();
  readonly #fused = new ReusedBytes();
  readonly #values = new ReusedBytes();

  /** @param kept Types of experts by layer: blocks that are of them already are copied. Null: everything is encoded. */
  constructor(writer: ModelWriter, readAt: ReadAt, kept: readonly TargetDTypes[] | null) {
    this.#writer = writer;
    this.#readAt = readAt;
    this.#kept = kept;
  }

  /** @returns CRC-32C of all experts as stored, one after the other. */
  async convert(planned: PlannedExperts): Promise<number> {
    let crc = 0;
    for (const slices of planned.slices) {
      for (const slice of slices) {
        const isPlain = slice.roles.length === 1 && !slice.transposed && slice.scales === null;
        crc = await (isPlain ? this.#streamSlice(planned, slice, crc) : this.#convertSlice(planned, slice, crc));
      }
    }
    return crc;
  }

  /** One matrix row by row. */
  async #streamSlice(planned: PlannedExperts, slice: PlannedSlice, seed: number): Promise<number> {
    const { rows, cols, tensor, offset } = slice;
    const dtype = slice.dtype as SourceDType;
    const stride = rowBytes(dtype, cols);
    const isKept = isBlockDType(dtype) && this.#targetOf(planned, slice, 0) === dtype;
    let crc = seed;
    for (const { first, count } of rowBlocks(rows, cols)) {
      const raw = this.#raw.take(count * stride);
      await this.#readAt(tensor, offset + first * stride, raw, planned.name);
      crc = crc32c(raw, crc);
      const values = this.#values.takeFloats(count * cols);
      decodeElements(dtype, raw, values);
      checkFinite(values, tensor, (i) => placeOf(slice, first + Math.floor(i / cols), i % cols));
      if (isKept) await this.#writer.writeExpertBytes(planned.layer, raw);
      else await this.#writer.writeExpertRows(planned.layer, values);
    }
    return crc;
  }

  /** Whatever has to be at hand as a whole. */
  async #convertSlice(planned: PlannedExperts, slice: PlannedSlice, seed: number): Promise<number> {
    const raw = this.#raw.take(slice.sizeBytes);
    await this.#readWhole(slice.tensor, slice.offset, raw, planned.name);
    let crc = crc32c(raw, seed);
    const scales = this.#scales.take(slice.scales?.sizeBytes ?? 0);
    if (slice.scales) {
      await this.#readWhole(slice.scales.tensor, slice.scales.offset, scales, planned.name);
      crc = crc32c(scales, crc);
    }
    const stored = slice.scales ? this.#asGgml(raw, scales) : raw;
    for (const index of slice.roles.keys()) await this.#writeMatrix(planned, slice, index, stored);
    return crc;
  }

  #asGgml(raw: Uint8Array, scales: Uint8Array): Uint8Array {
    const blocks = this.#blocks.take(rowBytes("mxfp4", 2 * raw.length));
    ggmlBlocks(raw, scales, blocks);
    return blocks;
  }

  /** @param index Of the slice's matrices. */
  async #writeMatrix(planned: PlannedExperts, slice: PlannedSlice, index: number, stored: Uint8Array): Promise<void> {
    const dtype = slice.scales ? "mxfp4" : (slice.dtype as SourceDType);
    const n = slice.roles.length;
    const { rows, cols } = planned.matrices.find(({ role }) => role === slice.roles[index])!;
    const isKept = slice.scales !== null && this.#targetOf(planned, slice, index) === dtype;
    for (const { first, count } of rowBlocks(rows, n * cols)) {
      const values = this.#values.takeFloats(count * cols);
      if (slice.transposed) this.#takeColumns(dtype, slice, stored, index, first, values);
      else decodeFusedRows(dtype, stored, { cols, n, index, first }, values);
      checkFinite(values, slice.tensor, (i) => {
        const row = (first + Math.floor(i / cols)) * n + index;
        return slice.transposed ? placeOf(slice, i % cols, row) : placeOf(slice, row, i % cols);
      });
      if (!isKept) await this.#writer.writeExpertRows(planned.layer, values);
      else
        await this.#writeFusedBytes(planned.layer, stored, { stride: rowBytes(dtype, cols), n, index, first, count });
    }
  }

  /** Columns of a slice as rows of a matrix: of n fused ones, every n-th from `index` on. */
  #takeColumns(
    dtype: SourceDType,
    { rows, cols, roles: { length: n } }: PlannedSlice,
    stored: Uint8Array,
    index: number,
    first: number,
    values: Float32Array,
  ): void {
    const count = values.length / rows;
    const fused = n === 1 ? values : this.#fused.takeFloats(n * values.length);
    const tile = new Float32Array(16 * n * count);
    transposeColumns(dtype, stored, rows, cols, first * n, tile, fused);
    if (n === 1) return;
    for (let row = 0; row < count; row++) {
      const from = (row * n + index) * rows;
      values.set(fused.subarray(from, from + rows), row * rows);
    }
  }

  async #writeFusedBytes(
    layer: number,
    stored: Uint8Array,
    { stride, n, index, first, count }: Record<"stride" | "n" | "index" | "first" | "count", number>,
  ): Promise<void> {
    for (let row = first; row < first + count; row++) {
      const from = (row * n + index) * stride;
      await this.#writer.writeExpertBytes(layer, stored.subarray(from, from + stride));
    }
  }

  #targetOf({ layer, matrices }: PlannedExperts, { roles }: PlannedSlice, index: number): DType | null {
    const place = matrices.findIndex(({ role }) => role === roles[index]);
    assert(place >= 0, "a slice holds matrices of an expert");
    return this.#kept?.[layer]?.[place] ?? null;
  }

  async #readWhole(tensor: CheckpointTensor, offset: number, target: Uint8Array, name: string): Promise<void> {
    for (let at = 0; at < target.length; at += BLOCK_BYTES) {
      await this.#readAt(tensor, offset + at, target.subarray(at, at + BLOCK_BYTES), name);
    }
  }
}

/** Rows `first + i` of matrix `index` of n that take turns. */
function decodeFusedRows(
  dtype: SourceDType,
  stored: Uint8Array,
  { cols, n, index, first }: Record<"cols" | "n" | "index" | "first", number>,
  values: Float32Array,
): void {
  const stride = rowBytes(dtype, cols);
  for (let i = 0; i * cols < values.length; i++) {
    const from = ((first + i) * n + index) * stride;
    decodeElements(dtype, stored.subarray(from, from + stride), values.subarray(i * cols, (i + 1) * cols));
  }
}

/** Blocks of rows whose f32 fill a block of bytes. */
function* rowBlocks(rows: number, cols: number): Generator<{ readonly first: number; readonly count: number }> {
  const atOnce = Math.max(1, Math.floor(BLOCK_BYTES / (cols * Float32Array.BYTES_PER_ELEMENT)));
  for (let first = 0; first < rows; first += atOnce) yield { first, count: Math.min(atOnce, rows - first) };
}

/** Where an element of a slice stands in its tensor. */
function placeOf({ expert }: PlannedSlice, row: number, col: number): number[] {
  return expert === null ? [row, col] : [expert, row, col];
}
