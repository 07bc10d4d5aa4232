/**
 * Holding the bytes of a tensor against checksums of its groups (checksum-file.ts). The bytes may come in pieces of any length, as reads bring them: a
 * group that ends in a later piece is carried on. Pure.
 */
import { assert, type ByteSource, IntegrityError, sourcePlace } from "@flashwick/core";
import { crc32c } from "./crc32c.js";
import type { ModelHeader, ResidentTensor } from "./model-file.js";

/** CRC-32C of bytes of the piece at hand, continuing `seed`. */
export type PieceCrc = (at: number, sizeBytes: number, seed: number) => number;

/** What of a tensor its checks depend on. */
export type CheckedBytes = Pick<ResidentTensor, "name" | "offset" | "sizeBytes">;

/** The checksums of a tensor's groups, in order, of pieces of any length. A group is of `groupBytes`, the last of what is left. */
export class GroupCrcs {
  readonly #tensor: CheckedBytes;
  readonly #groupBytes: number;
  /** Bytes of the tensor that have come, in order. */
  #done = 0;
  /** Of the group that has begun. */
  #crc = 0;

  constructor(tensor: CheckedBytes, groupBytes: number) {
    this.#tensor = tensor;
    this.#groupBytes = groupBytes;
  }

  /**
   * Takes the next bytes of the tensor.
   *
   * @param at      Of the piece's first byte in the tensor: 0, which begins anew, or where the last piece ended.
   * @param onGroup Called for each group that has ended.
   */
  take(at: number, sizeBytes: number, crcOf: PieceCrc, onGroup: (group: number, crc: number) => void): void {
    if (at === 0) this.#done = 0;
    assert(at === this.#done, `${this.#tensor.name}: pieces follow each other`);
    for (let used = 0; used < sizeBytes; ) {
      const group = Math.floor(this.#done / this.#groupBytes);
      const begin = group * this.#groupBytes;
      const end = Math.min(begin + this.#groupBytes, this.#tensor.sizeBytes);
      const count = Math.min(end - this.#done, sizeBytes - used);
      this.#crc = crcOf(used, count, this.#done === begin ? 0 : this.#crc) >>> 0;
      this.#done += count;
      used += count;
      if (this.#done === end) onGroup(group, this.#crc);
    }
  }
}

/** Holds pieces of tensors against their checksums as they come. */
export class TensorChecks {
  readonly #tensor: CheckedBytes;
  readonly #groupBytes: number;
  readonly #expected: Uint32Array;
  readonly #groups: GroupCrcs;

  constructor(tensor: CheckedBytes, groupBytes: number, expected: Uint32Array) {
    assert(expected.length === groupCount(tensor, groupBytes), `${tensor.name}: a checksum for each group`);
    this.#tensor = tensor;
    this.#groupBytes = groupBytes;
    this.#expected = expected;
    this.#groups = new GroupCrcs(tensor, groupBytes);
  }

  /**
   * Takes the next bytes of the tensor, and holds each group that has ended against its checksum.
   *
   * @param at    As `GroupCrcs.take` has it.
   * @param onBad Called for each group that has ended and does not match, with its offset among those of the source.
   */
  take(at: number, sizeBytes: number, crcOf: PieceCrc, onBad: (offset: number) => void): void {
    this.#groups.take(at, sizeBytes, crcOf, (group, crc) => {
      if (crc !== this.#expected[group]) onBad(this.#tensor.offset + group * this.#groupBytes);
    });
  }
}

/** Checksums of a tensor: one for each `groupBytes`, the last for what is left. */
export function groupCount({ sizeBytes }: Pick<CheckedBytes, "sizeBytes">, groupBytes: number): number {
  return Math.ceil(sizeBytes / groupBytes);
}

/** What a tensor's bytes are held against; null where no checksums lie beside the file. */
export function checksOf({ checksums }: Pick<ModelHeader, "checksums">, tensor: ResidentTensor): TensorChecks | null {
  const expected = checksums?.byTensor.get(tensor.name);
  return checksums && expected ? new TensorChecks(tensor, checksums.groupBytes, expected) : null;
}

/** A {@link PieceCrc} of bytes at hand. */
export function crcOfBytes(bytes: Uint8Array): PieceCrc {
  return (at, sizeBytes, seed) => crc32c(bytes.subarray(at, at + sizeBytes), seed);
}

/** The error of a group that does not match. @param offset Among those of the source. */
export function damagedTensor(
  source: Pick<ByteSource, "name" | "parts">,
  tensor: string,
  offset: number,
): IntegrityError {
  const place = sourcePlace(source, offset);
  return new IntegrityError(
    "INTEGRITY_TENSOR",
    `${place.name} @ ${place.offset}: tensor ${tensor} does not match its CRC-32C; the model is damaged, fetch it again`,
    { details: { tensor, offset: place.offset } },
  );
}
