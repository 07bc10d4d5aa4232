/**
 * The slots of one layer's experts in DRAM: where an expert's matrices lie, and how they get there.
 *
 * The cache (dram-cache) decides which expert has which slot and moves no bytes; this class executes what it decides. An expert is checked after it has
 * landed and before it is used, where there is anything to hold it against.
 */
import { assert, type ByteSource, IntegrityError, type RecordRole, sourcePlace } from "@flashwick/core";
import { LONGEST_EXPERT_READ_BYTES, SECTOR_BYTES } from "@flashwick/cost-model";
import type { CacheWave, NeuronCache } from "@flashwick/dram-cache";
import { type ExpertSlot, type ExpertTensors, planExpertSlot } from "@flashwick/flash-format";
import type { FlashReader, FlashRun } from "@flashwick/flash-io";
import type { Kernels, Matrix, Ptr } from "@flashwick/kernels";
import { crcText } from "./crc-text.js";
import { SplitCrc, type SplitCrcRoom } from "./split-crc.js";
import type { TokenMeter } from "./token-meter.js";
import { widenedReads } from "./widened-reads.js";

/** What the bytes of an expert must have as CRC-32C; null where nothing is known. */
export type ExpertCrc = (expert: number, piece: number) => number | null;

export interface ExpertSlotsParts {
  readonly layer: number;
  readonly kernels: Kernels;
  readonly reader: FlashReader;
  /** The model's file, which no read goes beyond. */
  readonly source: Pick<ByteSource, "sizeBytes" | "parts" | "name">;
  readonly tensors: ExpertTensors;
  /** Of this layer, or a pool of all layers of the arena. */
  readonly cache: NeuronCache;
  /** Whether other layers share the cache. */
  readonly isPooled: boolean;
  /** Expert e is the cache's unit `firstUnit + e`. */
  readonly firstUnit: number;
  /** Arena pointer of slot 0, and from one slot to the next. */
  readonly slotBase: Ptr;
  readonly slotBytes: number;
  readonly crcOf: ExpertCrc;
  /** For checksums, between one expert's products and the next's. */
  readonly crcRoom: SplitCrcRoom;
}

export class ExpertSlots {
  readonly parts: ExpertSlotsParts;
  readonly #slot: ExpertSlot;
  /** By piece. */
  readonly #crcs: readonly SplitCrc[];

  constructor(parts: ExpertSlotsParts) {
    assert(parts.slotBase % SECTOR_BYTES === 0 && parts.slotBytes % SECTOR_BYTES === 0, "slots begin at sectors");
    this.parts = parts;
    this.#slot = planExpertSlot(parts.tensors);
    assert(this.#slot.sizeBytes <= parts.slotBytes, "an expert fits its slot");
    const { kernels, crcRoom } = parts;
    this.#crcs = this.#slot.pieces.map(({ sizeBytes }) => new SplitCrc(kernels, sizeBytes, crcRoom));
  }

  get cache(): NeuronCache {
    return this.parts.cache;
  }

  get isPooled(): boolean {
    return this.parts.isPooled;
  }

  /** What the rows of a step use, as the cache knows it. */
  unitsOf(experts: Uint32Array): Uint32Array {
    const { firstUnit } = this.parts;
    return firstUnit === 0 ? experts : experts.map((expert) => firstUnit + expert);
  }

  /** Bytes that one expert's reads bring, but for what they are widened by. */
  get expertBytes(): number {
    return this.#slot.pieces.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  }

  expertOf(unit: number): number {
    return unit - this.parts.firstUnit;
  }

  /** Whether an expert has a slot, landed or on its way. */
  readonly isResident = (expert: number): boolean => {
    const { cache, firstUnit } = this.parts;
    return cache.slotOf(firstUnit + expert) >= 0;
  };

  /** The layer's experts that slots hold, in no order. Cost: a copy. */
  residentExperts(): Uint32Array {
    const { cache, firstUnit, tensors } = this.parts;
    const units = cache.pointer.subarray(0, cache.numUsed);
    const own = units.filter((unit) => unit >= firstUnit && unit < firstUnit + tensors.count);
    return own.map((unit) => unit - firstUnit);
  }

  /** A matrix of the expert in a slot. */
  matrix(role: RecordRole, expert: number, slot: number): Matrix {
    const index = this.#slot.matrices.findIndex((candidate) => candidate.role === role);
    assert(index >= 0, `experts have ${role}`);
    const { piece, offsetInPiece } = this.#slot.matrices[index]!;
    const { dtype, rows, cols } = this.parts.tensors.matrices[index]!;
    return { dtype, data: this.#piecePtr(piece, expert, slot) + offsetInPiece, scales: 0, rows, cols };
  }

  /** Executes the slot copies that a wave asks for before its reads. */
  prepareWave({ moves, neurons, slots }: CacheWave): void {
    const { kernels, slotBase, slotBytes } = this.parts;
    const { bytes } = kernels.arena;
    assert(neurons.length === slots.length, "a slot for each expert");
    for (let i = 0; i < moves.length; i += 2) {
      const from = slotBase + moves[i]! * slotBytes;
      bytes.copyWithin(slotBase + moves[i + 1]! * slotBytes, from, from + slotBytes);
    }
  }

  /** The reads that bring one expert to a slot. */
  planReads(expert: number, slot: number): FlashRun[] {
    const { source, reader } = this.parts;
    return this.#slot.pieces.flatMap(({ offset, strideBytes, sizeBytes }, piece) => {
      const begin = offset + expert * strideBytes;
      const reads = { source, reader, mostBytes: LONGEST_EXPERT_READ_BYTES };
      return widenedReads(begin, begin + sizeBytes, this.#piecePtr(piece, expert, slot), reads);
    });
  }

  /**
   * Holds an expert that has landed against its checksums.
   *
   * @throws {IntegrityError} `INTEGRITY_EXPERT`.
   * Cost: a CRC-32C of its bytes by all threads, where there is one to compare it with.
   */
  check(expert: number, slot: number, meter: TokenMeter): void {
    const { crcOf } = this.parts;
    for (const [piece, crc] of this.#crcs.entries()) {
      const expected = crcOf(expert, piece);
      if (expected === null) continue;
      meter.enter("check");
      const found = crc.of(this.#piecePtr(piece, expert, slot));
      if (found !== expected >>> 0) throw this.#damaged(expert, piece, found, expected >>> 0);
    }
  }

  /** A piece lies as far behind a sector's beginning as in the file. */
  #piecePtr(piece: number, expert: number, slot: number): Ptr {
    const { slotBase, slotBytes } = this.parts;
    const { offset, strideBytes, slotOffset } = this.#slot.pieces[piece]!;
    return slotBase + slot * slotBytes + slotOffset + ((offset + expert * strideBytes) % SECTOR_BYTES);
  }

  #damaged(expert: number, piece: number, found: number, expected: number): IntegrityError {
    const { source, layer } = this.parts;
    const { offset, strideBytes } = this.#slot.pieces[piece]!;
    const place = sourcePlace(source, offset + expert * strideBytes);
    return new IntegrityError(
      "INTEGRITY_EXPERT",
      `${place.name} @ ${place.offset}: expert ${expert} of layer ${layer} has CRC-32C ${crcText(found)}, expected ${crcText(expected)}; the file is damaged, fetch or convert it again`,
      { details: { layer, expert, offset: place.offset, found, expected } },
    );
  }
}
