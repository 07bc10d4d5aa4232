/** The CRC-32C of a long stretch of an arena, found by all threads: in pieces, whose checksums are joined. */
import { crc32cJoin } from "@flashwick/flash-format";
import type { Kernels, Ptr } from "@flashwick/kernels";

/** Long beside a hand-over to another thread, and short beside an expert. */
const LEAST_PIECE_BYTES = 64 * 1024;

export interface SplitCrcRoom {
  /** u32 `[most]` each, for numbers of pieces and for what is found; nothing else uses them meanwhile. */
  readonly numbers: Ptr;
  readonly found: Ptr;
  readonly most: number;
}

export class SplitCrc {
  readonly #kernels: Kernels;
  readonly #room: SplitCrcRoom;
  readonly #sizeBytes: number;
  readonly #pieceBytes: number;
  readonly #pieces: number;
  readonly #join: (before: number, crc: number) => number;

  /** @param sizeBytes Of every stretch. */
  constructor(kernels: Kernels, sizeBytes: number, room: SplitCrcRoom) {
    this.#kernels = kernels;
    this.#room = room;
    this.#sizeBytes = sizeBytes;
    this.#pieceBytes = Math.max(LEAST_PIECE_BYTES, Math.ceil(sizeBytes / Math.max(1, room.most)));
    this.#pieces = Math.floor(sizeBytes / this.#pieceBytes);
    this.#join = crc32cJoin(this.#pieceBytes);
  }

  /** CRC-32C of the stretch at `ptr`. */
  of(ptr: Ptr): number {
    const pieces = this.#pieces;
    if (pieces < 2) return this.#kernels.crc32c(ptr, this.#sizeBytes) >>> 0;
    const { numbers, found } = this.#room;
    const { arena } = this.#kernels;
    const list = arena.u32(numbers, pieces);
    for (let i = 0; i < pieces; i++) list[i] = i;
    this.#kernels.crc32cSlots(found, ptr, this.#pieceBytes, this.#pieceBytes, numbers, pieces);
    const whole = arena.u32(found, pieces).reduce(this.#join);
    const done = pieces * this.#pieceBytes;
    return this.#kernels.crc32c(ptr + done, this.#sizeBytes - done, whole) >>> 0;
  }
}
