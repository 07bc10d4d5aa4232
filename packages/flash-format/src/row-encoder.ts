/**
 * f32 rows as stored elements.
 *
 * f16 and bf16 round to nearest, ties to even. int8 is symmetric with one scale a row: scale = f32(max|x| / 127),
 * q = round(x / scale) within ±127, ties to even; a row of zeros has scale 0. Blocks: `BlockEncoder` of the kernels. What cannot be stored as a finite number is
 * never stored.
 */
import { assert, encodeFloat16, type RecordDType, type ResidentDType, rowBytes } from "@flashwick/core";
import { BLOCK_ELEMENTS, BlockEncoder, roundTiesToEven } from "@flashwick/kernels/reference";

const INT8_MOST = 127;
const FLOAT16_EXPONENT = 0x7c00;
const FLOAT32_MAGNITUDE = 0x7fffffff;
const FLOAT32_EXPONENT = 0x7f800000;

/** A value that the dtype cannot hold; `column` is its place in the row. */
export interface UnstorableValue {
  readonly column: number;
  readonly value: number;
}

/** Encodes rows of one dtype into a buffer of its own, which the caller writes out. */
export class RowEncoder {
  readonly dtype: RecordDType | ResidentDType;
  /** The encoded bytes. Starts as zeros; nothing is written but the rows. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Scale of the last row encoded; int8 only. */
  scale = 0;
  /** Σ (x − stored x)² and Σ x² of the last row encoded; int8 and blocks only. */
  squaredError = 0;
  squaredSum = 0;
  /** Why the last row could not be encoded. */
  unstorable: UnstorableValue | null = null;
  readonly #u16: Uint16Array;
  readonly #u32: Uint32Array;
  readonly #f32: Float32Array;
  readonly #i8: Int8Array;
  readonly #blocks: BlockEncoder;

  /** @param capacityBytes A multiple of 4. */
  constructor(dtype: RecordDType | ResidentDType, capacityBytes: number) {
    const buffer = new ArrayBuffer(capacityBytes);
    this.dtype = dtype;
    this.bytes = new Uint8Array(buffer);
    this.#u16 = new Uint16Array(buffer);
    this.#u32 = new Uint32Array(buffer);
    this.#f32 = new Float32Array(buffer);
    this.#i8 = new Int8Array(buffer);
    this.#blocks = new BlockEncoder(dtype === "q8_0" ? dtype : "q4_0", this.bytes);
  }

  /** Whether rows become integers with scales, so that {@link squaredError} says what was lost. */
  get isLossy(): boolean {
    return this.dtype === "int8" || this.dtype === "q4" || this.dtype === "q4_0" || this.dtype === "q8_0";
  }

  /** Bytes of a row of `cols` elements. */
  rowBytes(cols: number): number {
    return rowBytes(this.dtype, cols);
  }

  /**
   * Encodes one row.
   *
   * @param row    f32 `[cols]`.
   * @param atByte Where it goes in {@link bytes}; a multiple of the element size.
   * @param scales Of its blocks, f32 `[cols / 32]`, if they are chosen already; Q4_0 only.
   * @returns False if a value cannot be stored; {@link unstorable} says which.
   */
  encode(row: Float32Array, atByte: number, scales: Float32Array | null = null): boolean {
    const column = this.#encode(row, atByte, scales);
    if (column < 0) return true;
    this.unstorable = { column, value: row[column]! };
    return false;
  }

  /** f32 `value` as it is, at a multiple of 4: the scales of a record. */
  putFloat(value: number, atByte: number): void {
    this.#f32[atByte >> 2] = value;
  }

  /** The column of the first value that cannot be stored, or -1. */
  #encode(row: Float32Array, atByte: number, scales: Float32Array | null): number {
    switch (this.dtype) {
      case "f32":
        return this.#encodeFloat32(row, atByte >> 2);
      case "f16":
        return this.#encodeFloat16(row, atByte >> 1);
      case "bf16":
        return this.#encodeBfloat16(row, atByte >> 1);
      case "int8":
        return this.#encodeInt8(row, atByte);
      case "q4":
      case "q4_0":
      case "q8_0":
        return this.#encodeBlocks(row, atByte, scales);
    }
  }

  #encodeFloat32(row: Float32Array, at: number): number {
    const bits = bitsOf(row);
    for (let i = 0; i < bits.length; i++) {
      const x = bits[i]!;
      if ((x & FLOAT32_EXPONENT) === FLOAT32_EXPONENT) return i;
      this.#u32[at + i] = x;
    }
    return -1;
  }

  #encodeFloat16(row: Float32Array, at: number): number {
    const out = this.#u16;
    const bits = bitsOf(row);
    for (let i = 0; i < bits.length; i++) {
      const x = bits[i]!;
      const magnitude = x & FLOAT32_MAGNITUDE;
      let half: number;
      if (magnitude >= 0x38800000 && magnitude < 0x47800000) {
        // A normal half: core's encodeFloat16, without the call.
        const rebased = magnitude - 0x38000000;
        half = ((x >>> 16) & 0x8000) | ((rebased + 0xfff + ((rebased >>> 13) & 1)) >>> 13);
      } else {
        half = encodeFloat16(row[i]!);
      }
      if ((half & FLOAT16_EXPONENT) === FLOAT16_EXPONENT) return i;
      out[at + i] = half;
    }
    return -1;
  }

  #encodeBfloat16(row: Float32Array, at: number): number {
    const out = this.#u16;
    const bits = bitsOf(row);
    for (let i = 0; i < bits.length; i++) {
      const x = bits[i]!;
      if ((x & FLOAT32_EXPONENT) === FLOAT32_EXPONENT) return i;
      const rounded = (x + 0x7fff + ((x >>> 16) & 1)) >>> 16;
      if ((rounded & 0x7f80) === 0x7f80) return i;
      out[at + i] = rounded;
    }
    return -1;
  }

  #encodeInt8(row: Float32Array, at: number): number {
    let most = 0;
    let mostAt = 0;
    for (let i = 0; i < row.length; i++) {
      const magnitude = Math.abs(row[i]!);
      // Written so that NaN fails it as well as infinity.
      if (!(magnitude < Number.POSITIVE_INFINITY)) return i;
      if (magnitude <= most) continue;
      most = magnitude;
      mostAt = i;
    }
    const scale = Math.fround(most / INT8_MOST);
    // At the very end of f32's range a scale rounded up would make 127 · scale infinite.
    if (Math.fround(INT8_MOST * scale) === Number.POSITIVE_INFINITY) return mostAt;
    this.scale = scale;
    [this.squaredError, this.squaredSum] = [0, 0];
    for (let i = 0; i < row.length; i++) {
      const x = row[i]!;
      const q = scale === 0 ? 0 : Math.max(-INT8_MOST, Math.min(INT8_MOST, roundTiesToEven(x / scale)));
      this.#i8[at + i] = q;
      this.squaredError += (x - scale * q) ** 2;
      this.squaredSum += x * x;
    }
    return -1;
  }

  #encodeBlocks(row: Float32Array, at: number, scales: Float32Array | null): number {
    assert(row.length % BLOCK_ELEMENTS === 0, `${row.length} elements are no whole number of blocks`);
    [this.squaredError, this.squaredSum] = [0, 0];
    const blockBytes = this.rowBytes(BLOCK_ELEMENTS);
    for (let k = 0; k < row.length; k += BLOCK_ELEMENTS) {
      const block = row.subarray(k, k + BLOCK_ELEMENTS);
      const index = k / BLOCK_ELEMENTS;
      const [sum, largestAt] = squares(block);
      // NaN and infinity show in the sum. Of large values, the largest is the one whose scale is out of range.
      if (!(sum < Number.POSITIVE_INFINITY)) return k + block.findIndex((x) => x - x !== 0);
      if (!this.#blocks.encode(block, at + index * blockBytes, scales?.[index])) return k + largestAt;
      this.squaredError += this.#blocks.squaredError;
      this.squaredSum += sum;
    }
    return -1;
  }
}

/** Σ x², and where the largest |x| stands. */
function squares(block: Float32Array): readonly [sum: number, largestAt: number] {
  let sum = 0;
  let largestAt = 0;
  for (let i = 0; i < block.length; i++) {
    sum += block[i]! ** 2;
    if (Math.abs(block[i]!) > Math.abs(block[largestAt]!)) largestAt = i;
  }
  return [sum, largestAt];
}

function bitsOf(row: Float32Array): Uint32Array {
  return new Uint32Array(row.buffer, row.byteOffset, row.length);
}
