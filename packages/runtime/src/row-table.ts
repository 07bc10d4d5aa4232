/**
 * A table of which each token needs one row: token embeddings, learned positions. In DRAM where there is room, else the
 * rows are read from flash (exact, `dModel` elements a token).
 */
import { IntegrityError, rowBytes } from "@flashwick/core";
import {
  checksOf,
  crc32c,
  crc32cJoin,
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

/**
 * Tables whose checksums matched, by opened file: each engine of a file asks, and the answer stays the same. With the CRC-32C of each row, and of its scale
 * behind it, as they were then: u32 `[rows]`. Null of a table that there is nothing to hold against.
 */
const verified = new WeakMap<ModelFile, Map<string, Uint32Array | null>>();

export class RowTable {
  readonly #file: ModelFile;
  readonly #name: string;
  readonly #resident: Matrix | null;
  readonly #reader: FlashReader;
  /** Of a table on flash, once it is verified: u32 `[rows]`. */
  #rowCrcs: Uint32Array | null = null;

  constructor(file: ModelFile, name: string, resident: Matrix | null, reader: FlashReader) {
    this.#file = file;
    this.#name = name;
    this.#resident = resident;
    this.#reader = reader;
  }

  /**
   * Checks the checksum of a table that stays on flash, and keeps one of each row, which the file does not have: once for each opened file, whatever the
   * number of engines. Failed and aborted checks are made again.
   *
   * @throws {IntegrityError} `INTEGRITY_TENSOR`. The signal's own reason.
   * Cost: reads the table in pieces the first time, and keeps four bytes a row; nothing later.
   */
  async verify(signal?: AbortSignal): Promise<void> {
    if (this.#resident) return;
    const tables = verified.get(this.#file) ?? new Map<string, Uint32Array | null>();
    verified.set(this.#file, tables);
    if (!tables.has(this.#name)) tables.set(this.#name, await this.#crcsOfRows(signal));
    this.#rowCrcs = tables.get(this.#name)!;
  }

  async #crcsOfRows(signal?: AbortSignal): Promise<Uint32Array | null> {
    const tensor = this.#file.header.tensors.get(this.#name)!;
    const groups = checksOf(this.#file.header, tensor);
    if (groups === null && tensor.crc32c === null) return null;
    const crcs = new Uint32Array(tensor.rows);
    const eachBytes = rowBytes(tensor.dtype, tensor.cols);
    const join = crc32cJoin(eachBytes);
    let whole = 0;
    await this.#eachPiece(tensor.offset, eachBytes, signal, (bytes, first) => {
      groups?.take(first * eachBytes, bytes.length, crcOfBytes(bytes), (offset) => {
        throw damagedTensor(this.#file.source, tensor.name, offset);
      });
      for (let at = 0; at < bytes.length; at += eachBytes) {
        const row = first + at / eachBytes;
        crcs[row] = crc32c(bytes.subarray(at, at + eachBytes));
        whole = row === 0 ? crcs[0]! : join(whole, crcs[row]!);
      }
    });
    if (tensor.crc32c !== null && whole >>> 0 !== tensor.crc32c >>> 0) throw this.#damaged(tensor.name, tensor.offset);
    if (tensor.scales) await this.#addScales(crcs, tensor.scales, signal);
    return crcs;
  }

  /** Continues the CRC-32C of each row by its scale. */
  async #addScales(
    crcs: Uint32Array,
    { offset, crc32c: expected }: NonNullable<ResidentTensor["scales"]>,
    signal?: AbortSignal,
  ): Promise<void> {
    let whole = 0;
    await this.#eachPiece(offset, 4, signal, (bytes, first) => {
      whole = crc32c(bytes, whole);
      for (let at = 0; at < bytes.length; at += 4) {
        crcs[first + at / 4] = crc32c(bytes.subarray(at, at + 4), crcs[first + at / 4]);
      }
    });
    if (whole >>> 0 !== expected >>> 0) throw this.#damaged(`${this.#name}.scale`, offset);
  }

  /** Reads something of `eachBytes` for every row, some rows at a time. @param take Gets their bytes, and which is the first. */
  async #eachPiece(
    offset: number,
    eachBytes: number,
    signal: AbortSignal | undefined,
    take: (bytes: Uint8Array, first: number) => void,
  ): Promise<void> {
    const { rows } = this.#file.header.tensors.get(this.#name)!;
    const atATime = Math.min(rows, Math.max(1, Math.floor(VERIFY_PIECE_BYTES / eachBytes)));
    const piece = new Uint8Array(atATime * eachBytes);
    for (let first = 0; first < rows; first += atATime) {
      const bytes = piece.subarray(0, Math.min(atATime, rows - first) * eachBytes);
      await this.#file.source.read(bytes, offset + first * eachBytes, signal);
      take(bytes, first);
    }
  }

  #damaged(name: string, offset: number): IntegrityError {
    return new IntegrityError(
      "INTEGRITY_TENSOR",
      `${this.#file.source.name} @ ${offset}: tensor ${name} does not match its CRC-32C; the file is damaged, fetch or convert it again`,
      { details: { tensor: name, offset } },
    );
  }

  /**
   * out[i] = row `rows[i]` as f32.
   *
   * @param out     f32 `[rows.length, pad(cols)]`.
   * @param staging Room for the raw rows, where they come from flash: `rows.length * rowBytes`.
   * @throws {IntegrityError} `INTEGRITY_TENSOR` for a row of flash that is not what it was when the table was verified. As `FlashReader.wait`.
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
    this.#check(kernels, rows, staging, slotBytes, meter);
    meter.enter("other");
    kernels.put(staging, rows.length * slotBytes);
    const stride = vectorBytes(tensor.cols);
    for (let i = 0; i < rows.length; i++) {
      const data = staging + i * slotBytes;
      const scales = tensor.scales ? data + scaleAt : 0;
      kernels.gatherRow(out + i * stride, { dtype: tensor.dtype, data, scales, rows: 1, cols: tensor.cols }, 0);
    }
  }

  /** Holds rows that have come against what they were when the table was verified. */
  #check(kernels: Kernels, rows: readonly number[], staging: Ptr, slotBytes: number, meter: TokenMeter): void {
    const crcs = this.#rowCrcs;
    if (crcs === null) return;
    meter.enter("check");
    const tensor = this.#file.header.tensors.get(this.#name)!;
    const sizeBytes = rowBytes(tensor.dtype, tensor.cols);
    for (const [i, row] of rows.entries()) {
      const ptr = staging + i * slotBytes;
      const ofRow = kernels.crc32c(ptr, sizeBytes, 0);
      const found = tensor.scales ? kernels.crc32c(ptr + slotBytes - 16, 4, ofRow) : ofRow;
      if (found >>> 0 !== crcs[row]) throw this.#damaged(`${this.#name}, row ${row},`, tensor.offset + row * sizeBytes);
    }
  }
}
