/**
 * A table of which each token needs one row: token embeddings, learned positions. In DRAM where there is room, else the
 * rows are read from flash (exact, `dModel` elements a token).
 */
import { IntegrityError, rowBytes } from "@flashwick/core";
import {
  checksOf,
  crc32c,
  crcOfBytes,
  damagedTensor,
  type ModelFile,
  type ResidentTensor,
} from "@flashwick/flash-format";
import type { FlashReader, FlashRun } from "@flashwick/flash-io";
import { type Kernels, type Matrix, type Ptr, TAIL_BYTES } from "@flashwick/kernels";
import type { TokenMeter } from "./token-meter.js";
import { vectorBytes } from "./vector-bytes.js";

/** Small, since it comes on top of the budget for a moment. */
const VERIFY_PIECE_BYTES = 256 * 1024;

/** Tables whose checksums matched, by opened file: each engine of a file asks, and the answer stays the same. */
const verified = new WeakMap<ModelFile, Set<string>>();

export class RowTable {
  readonly #file: ModelFile;
  readonly #name: string;
  readonly #resident: Matrix | null;
  readonly #reader: FlashReader;

  constructor(file: ModelFile, name: string, resident: Matrix | null, reader: FlashReader) {
    this.#file = file;
    this.#name = name;
    this.#resident = resident;
    this.#reader = reader;
  }

  /**
   * Checks the checksum of a table that stays on flash, since single rows carry none: once for each opened file, whatever the
   * number of engines. Failed and aborted checks are made again.
   *
   * @throws {IntegrityError} `INTEGRITY_TENSOR`. The signal's own reason.
   * Cost: reads the table in pieces the first time; nothing later.
   */
  async verify(signal?: AbortSignal): Promise<void> {
    if (this.#resident) return;
    const tables = verified.get(this.#file) ?? new Set();
    verified.set(this.#file, tables);
    if (tables.has(this.#name)) return;
    const tensor = this.#file.header.tensors.get(this.#name)!;
    await this.#verifyGroups(tensor, signal);
    await this.#verifyPart(tensor, signal);
    if (tensor.scales) await this.#verifyPart({ name: `${this.#name}.scale`, ...tensor.scales }, signal);
    tables.add(this.#name);
  }

  /** The same by the checksums beside a file of llama.cpp's, where there are any. */
  async #verifyGroups(tensor: ResidentTensor, signal?: AbortSignal): Promise<void> {
    const { source, header } = this.#file;
    const checks = checksOf(header, tensor);
    const piece = new Uint8Array(Math.min(tensor.sizeBytes, VERIFY_PIECE_BYTES));
    for (let at = 0; checks && at < tensor.sizeBytes; at += piece.length) {
      const bytes = piece.subarray(0, Math.min(piece.length, tensor.sizeBytes - at));
      await source.read(bytes, tensor.offset + at, signal);
      checks.take(at, bytes.length, crcOfBytes(bytes), (offset) => {
        throw damagedTensor(source, tensor.name, offset);
      });
    }
  }

  async #verifyPart(
    part: {
      readonly name: string;
      readonly offset: number;
      readonly sizeBytes: number;
      readonly crc32c: number | null;
    },
    signal?: AbortSignal,
  ): Promise<void> {
    if (part.crc32c === null) return;
    const piece = new Uint8Array(Math.min(part.sizeBytes, VERIFY_PIECE_BYTES));
    let found = 0;
    for (let at = 0; at < part.sizeBytes; at += piece.length) {
      const bytes = piece.subarray(0, Math.min(piece.length, part.sizeBytes - at));
      await this.#file.source.read(bytes, part.offset + at, signal);
      found = crc32c(bytes, found);
    }
    if (found >>> 0 === part.crc32c >>> 0) return;
    throw new IntegrityError(
      "INTEGRITY_TENSOR",
      `${this.#file.source.name} @ ${part.offset}: tensor ${part.name} does not match its CRC-32C; the file is ` +
        "damaged, fetch or convert it again",
      { details: { tensor: part.name, offset: part.offset } },
    );
  }

  /**
   * out[i] = row `rows[i]` as f32.
   *
   * @param out     f32 `[rows.length, pad(cols)]`.
   * @param staging Room for the raw rows, where they come from flash: `rows.length * rowBytes`.
   */
  async gather(
    kernels: Kernels,
    out: Ptr,
    rows: readonly number[],
    staging: Ptr,
    meter: TokenMeter,
    signal?: AbortSignal,
  ): Promise<void> {
    meter.enter("other");
    if (this.#resident) {
      const stride = vectorBytes(this.#resident.cols);
      for (const [i, row] of rows.entries()) kernels.gatherRow(out + i * stride, this.#resident, row);
      return;
    }
    const tensor = this.#file.header.tensors.get(this.#name)!;
    const sizeBytes = rowBytes(tensor.dtype, tensor.cols);
    // Each row is followed by room for a whole group and, for int8, by its scale.
    const slotBytes = (sizeBytes + TAIL_BYTES + 15) & ~15;
    const scaleAt = slotBytes - 16;
    const runs: FlashRun[] = [];
    for (const [i, row] of rows.entries()) {
      const ptr = staging + i * slotBytes;
      runs.push({
        offset: tensor.offset + row * sizeBytes,
        sizeBytes,
        pieces: [{ ptr, sizeBytes }],
        picks: 0,
      });
      if (tensor.scales) {
        const offset = tensor.scales.offset + 4 * row;
        runs.push({ offset, sizeBytes: 4, pieces: [{ ptr: ptr + scaleAt, sizeBytes: 4 }], picks: 0 });
      }
    }
    meter.enter("readWait");
    this.#reader.start(kernels.arena.bytes, runs, signal);
    const pending = this.#reader.wait();
    if (pending) await pending;
    meter.countReads(runs);
    meter.enter("other");
    kernels.put(staging, rows.length * slotBytes);
    const stride = vectorBytes(tensor.cols);
    for (let i = 0; i < rows.length; i++) {
      const data = staging + i * slotBytes;
      const scales = tensor.scales ? data + scaleAt : 0;
      kernels.gatherRow(out + i * stride, { dtype: tensor.dtype, data, scales, rows: 1, cols: tensor.cols }, 0);
    }
  }
}
