/** Rows of gate and up in blocks of four bits: what rounding one weight changes of a row's product is made up for by the others. */
import { BLOCK_ELEMENTS, chooseScaleQ4, roundQ4 } from "@flashwick/kernels/reference";
import { factorMoments, type MomentFactor } from "./moment-factor.js";

/** Rounds rows that all meet one input. */
export class RowRounding {
  readonly #factor: MomentFactor;
  /** Of the current row: weights less what is stored. */
  readonly #errors: Float64Array;
  /** Of the current block: what earlier errors ask of each weight, before it is divided by the pivot. */
  readonly #asked = new Float64Array(BLOCK_ELEMENTS);
  readonly #wanted = new Float32Array(BLOCK_ELEMENTS);

  /**
   * @param moments Of the rows' input, f32 lower triangle.
   * @param cols    Elements of a row, a multiple of 32.
   * Cost: cols³ / 3 multiplications, and cols² / 2 for each row.
   */
  constructor(moments: Float32Array, cols: number) {
    this.#factor = factorMoments(
      moments,
      Uint32Array.from({ length: cols }, (_, i) => i),
    );
    this.#errors = new Float64Array(cols);
  }

  /**
   * Rounds a row in place, its last block first.
   *
   * @param row    f32 `[cols]`: becomes multiples of its blocks' scales.
   * @param scales f32 `[cols / 32]`, each a value of f16; overwritten.
   */
  round(row: Float32Array, scales: Float32Array): void {
    for (let block = scales.length - 1; block >= 0; block--) scales[block] = this.#roundBlock(row, block);
  }

  #roundBlock(row: Float32Array, block: number): number {
    const begin = block * BLOCK_ELEMENTS;
    const end = begin + BLOCK_ELEMENTS;
    const { rows, size, meanSquares } = this.#factor;
    for (let m = begin; m < end; m++) this.#asked[m - begin] = this.#sumOfErrors(m, end, size);
    // Errors that would leave nothing to make up for, were the block not rounded: they say which scale it needs.
    for (let m = end - 1; m >= begin; m--) {
      const error = -(this.#asked[m - begin]! + this.#sumOfErrors(m, m + 1, end)) / rows[m * size + m]!;
      this.#errors[m] = error;
      this.#wanted[m - begin] = row[m]! - error;
    }
    const scale = chooseScaleQ4(this.#wanted, meanSquares.subarray(begin, end));
    for (let m = end - 1; m >= begin; m--) {
      const error = -(this.#asked[m - begin]! + this.#sumOfErrors(m, m + 1, end)) / rows[m * size + m]!;
      const stored = scale * roundQ4(row[m]! - error, scale);
      this.#errors[m] = row[m]! - stored;
      row[m] = stored;
    }
    return scale;
  }

  /** Σ over weights `first` … `end − 1` of what their errors ask of weight m. */
  #sumOfErrors(m: number, first: number, end: number): number {
    const { rows, size } = this.#factor;
    let sum = 0;
    for (let i = first; i < end; i++) sum += rows[m * size + i]! * this.#errors[i]!;
    return sum;
  }
}
