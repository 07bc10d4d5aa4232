// @ts-check
/**
 * Blocking positional reads of a file, whatever alignment the device asks for: how a reader thread of Node reads an entry.
 *
 * What is aligned lands where the kernels will read it. Anything else is widened to the device's alignment, lands in this
 * thread's own bounce buffer, and is copied. The bounce buffer is a WebAssembly memory: other memory is not page-aligned, and
 * direct reads into it fail with EINVAL.
 */
import { readSync, readvSync } from "node:fs";
import { Truncated } from "../threads/table-thread.js";

/** `readSync` takes lengths below 2^31 only; a multiple of every alignment. */
export const MAX_READ_BYTES = 2 ** 30;
const BOUNCE_BYTES = 256 * 1024;
/** Pieces at least this long are read each on its own where the run is not aligned: their middles need no copy. */
const LONG_PIECE_BYTES = 64 * 1024;

export class DirectReads {
  /** @type {Uint8Array | null} */
  #bounce = null;

  /**
   * @param {import("../threads/table-thread.js").TableThread} table
   * @param {readonly import("./node-threads.js").ThreadFile[]} files Ascending; an entry lies in one of them.
   * @param {number} alignmentBytes
   */
  constructor(table, files, alignmentBytes) {
    this.table = table;
    this.files = files;
    this.alignmentBytes = alignmentBytes;
    /** Of the file that the entry at hand is in. */
    this.fd = files[0].fd;
  }

  /**
   * The file that an entry's offset is in.
   *
   * @param {number} offset
   */
  fileAt(offset) {
    let at = this.files.length - 1;
    while (at > 0 && this.files[at].begin > offset) at--;
    return this.files[at];
  }

  /**
   * Reads the entry at a place of the ring, completely.
   *
   * @param {number} place
   * @throws {Truncated} What the system says.
   */
  readEntry(place) {
    const { table } = this;
    const memory = table.memoryOf(place);
    const count = table.pieceCount[place];
    const first = table.firstPiece[place];
    const { fd, begin } = this.fileAt(table.offset[place]);
    const offset = table.offset[place] - begin;
    this.fd = fd;
    if (count === 1) {
      const ptr = table.piecePtr[first];
      const sizeBytes = table.pieceBytes[first];
      // Nearly always this is all there is to do.
      if (this.isAligned(offset) && this.isAligned(ptr) && this.isAligned(sizeBytes) && sizeBytes <= MAX_READ_BYTES) {
        if (readSync(this.fd, memory, ptr, sizeBytes, offset) === sizeBytes) return;
      }
      this.#readPiece(memory, ptr, sizeBytes, offset);
      return;
    }
    const aligned = this.isAligned(offset) && this.arePiecesAligned(first, count);
    const isScattered = aligned && table.sizeBytes[place] <= MAX_READ_BYTES;
    if (isScattered && this.#readScattered(memory, first, count, offset, table.sizeBytes[place])) return;
    if (!aligned && table.sizeBytes[place] < LONG_PIECE_BYTES * count) {
      this.#readThroughBounce(memory, first, count, offset, table.sizeBytes[place]);
      return;
    }
    let at = offset;
    for (let i = 0; i < count; i++) {
      const piece = (first + i) & table.pieceMask;
      this.#readPiece(memory, table.piecePtr[piece], table.pieceBytes[piece], at);
      at += table.pieceBytes[piece];
    }
  }

  /** @param {number} n A file offset, a pointer or a size: below 2^53. */
  isAligned(n) {
    return n % this.alignmentBytes === 0;
  }

  /**
   * @param {number} first
   * @param {number} count
   */
  arePiecesAligned(first, count) {
    const { table } = this;
    for (let i = 0; i < count; i++) {
      const piece = (first + i) & table.pieceMask;
      if (!this.isAligned(table.piecePtr[piece]) || !this.isAligned(table.pieceBytes[piece])) return false;
    }
    return true;
  }

  /**
   * One vectored read; false when it came back short (then the pieces are read one by one).
   *
   * @param {Uint8Array} memory
   * @param {number} first
   * @param {number} count
   * @param {number} offset
   * @param {number} sizeBytes Of all pieces.
   */
  #readScattered(memory, first, count, offset, sizeBytes) {
    return readvSync(this.fd, this.viewsOf(memory, first, count), offset) === sizeBytes;
  }

  /**
   * @param {Uint8Array} memory
   * @param {number} first
   * @param {number} count
   */
  viewsOf(memory, first, count) {
    const { table } = this;
    const views = new Array(count);
    for (let i = 0; i < count; i++) {
      const piece = (first + i) & table.pieceMask;
      views[i] = memory.subarray(table.piecePtr[piece], table.piecePtr[piece] + table.pieceBytes[piece]);
    }
    return views;
  }

  /**
   * One contiguous stretch, whatever its alignment and however short the reads: aligned stretches directly, the rest bounced.
   *
   * @param {Uint8Array} memory
   * @param {number} ptr
   * @param {number} sizeBytes
   * @param {number} offset
   */
  #readPiece(memory, ptr, sizeBytes, offset) {
    const congruent = this.isAligned(ptr - offset);
    let done = 0;
    while (done < sizeBytes) {
      const at = offset + done;
      const left = sizeBytes - done;
      const direct = Math.min(left - (left % this.alignmentBytes), MAX_READ_BYTES);
      if (congruent && this.isAligned(at) && direct > 0) {
        const got = readSync(this.fd, memory, ptr + done, direct, at);
        if (got === 0) throw new Truncated(at);
        done += got;
      } else {
        // A head stops where the aligned middle begins; what will never be aligned goes on through the bounce buffer.
        const head = this.alignmentBytes - (at % this.alignmentBytes);
        const want = congruent ? Math.min(left, head) : left;
        const got = this.#fillBounce(at, want);
        memory.set(this.#bounceAt(at, got), ptr + done);
        done += got;
      }
    }
  }

  /**
   * A run of short pieces: the whole run through the bounce buffer, then copied piece by piece.
   *
   * @param {Uint8Array} memory
   * @param {number} first
   * @param {number} count
   * @param {number} offset
   * @param {number} sizeBytes
   */
  #readThroughBounce(memory, first, count, offset, sizeBytes) {
    const { table } = this;
    let piece = 0;
    let pieceDone = 0;
    for (let done = 0; done < sizeBytes; ) {
      const at = offset + done;
      const got = this.#fillBounce(at, sizeBytes - done);
      for (let used = 0; used < got && piece < count; ) {
        const i = (first + piece) & table.pieceMask;
        const n = Math.min(table.pieceBytes[i] - pieceDone, got - used);
        memory.set(this.#bounceAt(at + used, n, at), table.piecePtr[i] + pieceDone);
        used += n;
        pieceDone += n;
        if (pieceDone === table.pieceBytes[i]) {
          piece++;
          pieceDone = 0;
        }
      }
      done += got;
    }
  }

  /**
   * Reads the aligned blocks around `offset` … `offset + want` into the bounce buffer; returns how many of the wanted bytes came,
   * at least one.
   *
   * @param {number} offset
   * @param {number} want
   */
  #fillBounce(offset, want) {
    this.#bounce ??= new Uint8Array(new WebAssembly.Memory({ initial: BOUNCE_BYTES / 65536 }).buffer);
    const before = offset % this.alignmentBytes;
    const wide = Math.min(Math.ceil((before + want) / this.alignmentBytes) * this.alignmentBytes, BOUNCE_BYTES);
    const got = readSync(this.fd, this.#bounce, 0, wide, offset - before) - before;
    if (got <= 0) throw new Truncated(offset - before + Math.max(0, got + before));
    return Math.min(got, want);
  }

  /**
   * @param {number} offset
   * @param {number} sizeBytes
   * @param {number} filledFrom The offset that `fillBounce` was asked for.
   */
  #bounceAt(offset, sizeBytes, filledFrom = offset) {
    const start = (filledFrom % this.alignmentBytes) + (offset - filledFrom);
    return /** @type {Uint8Array} */ (this.#bounce).subarray(start, start + sizeBytes);
  }
}
