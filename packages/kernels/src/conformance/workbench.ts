/**
 * Operands in an arena beside their true values in double precision.
 *
 * Outputs start out as a sentinel, so that an element that is not written, or written beyond the range, shows.
 */
import {
  type BlockDType,
  type DType,
  decodeBfloat16,
  decodeFloat16,
  encodeBfloat16,
  encodeFloat16,
  isBlockDType,
  paddedLength,
  type RecordDType,
  rowBytes,
} from "@flashwick/core";
import type { Arena, Ptr } from "../arena.js";
import { type Matrix, type SlotMatrix, TAIL_BYTES, type TrainingKernels } from "../contract.js";
import { storeBlocks } from "./block-rows.js";
import { RandomNumbers } from "./random.js";
import { expectEqual } from "./verdict.js";

export const SENTINEL = 12345.5;

/** A row of scores of a few keys, or a small vector. */
const GUARD_BYTES = 256;
const GUARD_BYTE = 0xa5;

/** A batch of vectors, `values[t]` without padding. */
export interface Vectors {
  readonly ptr: Ptr;
  readonly n: number;
  readonly values: readonly Float64Array[];
}

export interface StoredMatrix {
  readonly matrix: Matrix;
  /** Dequantised. */
  readonly rows: readonly Float64Array[];
  /** What rounding errors are proportional to: |value|, or |D·w| + |N·m| where a block has minima. */
  readonly magnitudes: readonly Float64Array[];
}

export interface StoredNeurons {
  readonly matrix: SlotMatrix;
  readonly up: readonly Float64Array[];
  readonly down: readonly Float64Array[];
  readonly bias: Float64Array;
  readonly gate: { readonly rows: readonly Float64Array[]; readonly bias: Float64Array } | null;
}

interface StoredRow {
  readonly values: Float64Array;
  readonly scale: number;
}

export class Workbench {
  readonly arena: Arena;
  readonly random: RandomNumbers;
  /** Bytes right behind each scratch. */
  readonly #guards: Uint8Array[] = [];

  constructor(
    readonly kernels: TrainingKernels,
    seed: number,
  ) {
    this.arena = kernels.arena;
    this.random = new RandomNumbers(seed);
  }

  /** Random f32 in [-1, 1), not padded, followed by zeros. */
  floats(n: number): { ptr: Ptr; values: Float64Array } {
    const ptr = this.arena.allocate(4 * n + TAIL_BYTES);
    const values = Float64Array.from({ length: n }, () => this.random.signed());
    this.arena.f32(ptr, n).set(values);
    return { ptr, values };
  }

  vectors(nTokens: number, n: number): Vectors {
    const stride = paddedLength(n);
    const ptr = this.arena.allocate(4 * stride * nTokens);
    const values = Array.from({ length: nTokens }, (_, t) => {
      const vector = Float64Array.from({ length: n }, () => this.random.signed());
      this.arena.f32(ptr + 4 * stride * t, n).set(vector);
      return vector;
    });
    return { ptr, n, values };
  }

  /** Room for `count` f32, all {@link SENTINEL}. */
  output(count: number): Ptr {
    const ptr = this.arena.allocate(4 * count);
    this.arena.f32(ptr, count).fill(SENTINEL);
    return ptr;
  }

  /** Scratch, with a guard behind it; see {@link expectScratchKept}. */
  scratch(sizeBytes: number): Ptr {
    const ptr = this.arena.allocate(sizeBytes + GUARD_BYTES);
    this.#guards.push(this.arena.u8(ptr + sizeBytes, GUARD_BYTES).fill(GUARD_BYTE));
    return ptr;
  }

  /** Fails if an op has written beyond its scratch: then the backend's sizes are too small. */
  expectScratchKept(): void {
    for (const guard of this.#guards) {
      const touched = guard.findIndex((byte) => byte !== GUARD_BYTE);
      expectEqual("first byte written beyond the scratch", touched, -1);
    }
  }

  indices(values: readonly number[]): Ptr {
    const ptr = this.arena.allocate(4 * values.length + TAIL_BYTES);
    this.arena.u32(ptr, values.length).set(values);
    return ptr;
  }

  /** A copy of `count` f32, to be compared later. */
  snapshot(ptr: Ptr, count: number): Float32Array {
    return this.arena.f32(ptr, count).slice();
  }

  matrix(dtype: DType, rows: number, cols: number): StoredMatrix {
    if (isBlockDType(dtype)) return this.#blockMatrix(dtype, rows, cols);
    const stride = rowBytes(dtype, cols);
    const data = this.arena.allocate(rows * stride + TAIL_BYTES);
    const scales = dtype === "int8" ? this.arena.allocate(4 * rows + TAIL_BYTES) : 0;
    const stored = Array.from({ length: rows }, (_, r) => {
      const row = this.#storeRow(dtype, data + r * stride, cols);
      if (scales) this.arena.f32(scales, rows)[r] = row.scale;
      return row.values;
    });
    return {
      matrix: { dtype, data, scales, rows, cols },
      rows: stored,
      magnitudes: stored.map((row) => row.map(Math.abs)),
    };
  }

  /** Blocks need not begin at a multiple of 4. */
  #blockMatrix(dtype: BlockDType, rows: number, cols: number): StoredMatrix {
    const stride = rowBytes(dtype, cols);
    const data = this.arena.allocate(rows * stride + TAIL_BYTES + 2) + 2;
    const stored = Array.from({ length: rows }, (_, r) => {
      const bytes = this.arena.u8(data + r * stride, stride);
      return storeBlocks(this.random, dtype, bytes, r === 0);
    });
    return {
      matrix: { dtype, data, scales: 0, rows, cols },
      rows: stored.map(({ values }) => values),
      magnitudes: stored.map(({ magnitudes }) => magnitudes),
    };
  }

  /** Records of gate, up and down (or the last two), then their scales. */
  neurons(dtype: RecordDType, dModel: number, slotCount: number, hasBias: boolean, hasGate = false): StoredNeurons {
    const vectorBytes = rowBytes(dtype, paddedLength(dModel));
    const parts = hasGate ? 3 : 2;
    const strideBytes = Math.ceil((parts * vectorBytes + 4 * parts) / 512) * 512;
    const base = this.arena.allocate(slotCount * strideBytes + TAIL_BYTES, 512);
    const scalesOffsetBytes = dtype === "int8" ? parts * vectorBytes : 0;
    const rows: Float64Array[][] = Array.from({ length: parts }, () => []);
    for (let slot = 0; slot < slotCount; slot++) {
      const record = base + slot * strideBytes;
      for (const [part, of] of rows.entries()) {
        const { values, scale } = this.#storeRow(dtype, record + part * vectorBytes, dModel);
        if (scalesOffsetBytes) this.arena.f32(record + scalesOffsetBytes, parts)[part] = scale;
        of.push(values);
      }
    }
    const biases = () => (hasBias ? this.floats(slotCount) : { ptr: 0, values: new Float64Array(slotCount) });
    const bias = biases();
    const gateBias = hasGate ? biases() : null;
    const [down, up, gate] = rows.toReversed();
    const layout = { dtype, base, strideBytes, scalesOffsetBytes, dModel };
    const offsets = { upOffsetBytes: (parts - 2) * vectorBytes, downOffsetBytes: (parts - 1) * vectorBytes };
    const matrix = { ...layout, ...offsets, bias: bias.ptr, gate: gateBias && { offsetBytes: 0, bias: gateBias.ptr } };
    return {
      matrix,
      up: up!,
      down: down!,
      bias: bias.values,
      gate: gateBias && { rows: gate!, bias: gateBias.values },
    };
  }

  /** Random elements of one row; a few are very small, so that subnormal halves occur. */
  #storeRow(dtype: RecordDType, ptr: Ptr, cols: number): StoredRow {
    const { arena, random } = this;
    if (dtype === "q4") {
      return { values: storeBlocks(random, "q4_0", arena.u8(ptr, rowBytes(dtype, cols)), false).values, scale: 1 };
    }
    const wanted = Float64Array.from({ length: cols }, (_, k) => random.signed() * (k % 13 === 5 ? 2 ** -16 : 1));
    switch (dtype) {
      case "f32":
        arena.f32(ptr, cols).set(wanted);
        return { values: wanted.map(Math.fround), scale: 1 };
      case "f16": {
        const bits = new Uint16Array(arena.memory.buffer, ptr, cols);
        bits.set(Array.from(wanted, encodeFloat16));
        return { values: Float64Array.from(bits, decodeFloat16), scale: 1 };
      }
      case "bf16": {
        const bits = new Uint16Array(arena.memory.buffer, ptr, cols);
        bits.set(Array.from(wanted, encodeBfloat16));
        return { values: Float64Array.from(bits, decodeBfloat16), scale: 1 };
      }
      case "int8": {
        const scale = Math.fround(wanted.reduce((most, w) => Math.max(most, Math.abs(w)), 0) / 127);
        const q = Int8Array.from(wanted, (w) => Math.round(w / scale));
        new Int8Array(arena.memory.buffer, ptr, cols).set(q);
        return { values: Float64Array.from(q, (integer) => integer * scale), scale };
      }
    }
  }
}
