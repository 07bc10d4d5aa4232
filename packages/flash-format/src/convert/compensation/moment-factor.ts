/**
 * The triangular factor by which an error made in one weight is made up for by the others.
 *
 * With moments M = G · Gᵀ, G lower triangular, the mean square of e · x for errors e of weights that meet inputs x is
 * eᵀ · M · e = ‖Gᵀ · e‖²: a sum over m of (Σ_{i ≥ m} G_im · e_i)². Taking the weights from the last to the first, the
 * error of weight m that leaves least is −Σ_{i > m} G_im · e_i / G_mm. This is GPTQ (arXiv 2210.17323) without its
 * inverse: Babai's nearest plane (arXiv 2507.18553).
 */
import { assert } from "@flashwick/core";

/** Added to the diagonal, of its mean: what a text of finite length says of rare inputs is not to be trusted to the letter. */
const DAMPING = 0.01;

/** Gᵀ of moments in an order: row m holds what an error of each later weight asks of weight m. */
export interface MomentFactor {
  readonly size: number;
  /** f64 `[size, size]`, upper triangular; zeros, or anything, below the diagonal. */
  readonly rows: Float64Array;
  /** f32 `[size]`: the mean square of each input, damped, so that it is above 0. */
  readonly meanSquares: Float32Array;
}

/**
 * Factors moments.
 *
 * @param moments f32 lower triangle, as in moments-file.ts.
 * @param order   Which weight each row of the factor is of: the last is taken first.
 * Cost: n³ / 3 multiplications and 8 · n² bytes, n the length of `order`.
 */
export function factorMoments(moments: Float32Array, order: Uint32Array): MomentFactor {
  const size = order.length;
  const rows = orderedMoments(moments, order);
  dampen(rows, size);
  const meanSquares = Float32Array.from(order, (_, i) => rows[i * size + i]!);
  for (let k = 0; k < size; k++) {
    const pivot = Math.sqrt(rows[k * size + k]!);
    assert(pivot > 0, `damped moments have a positive pivot ${k}`);
    const row = rows.subarray(k * size, (k + 1) * size);
    for (let j = k; j < size; j++) row[j] = row[j]! / pivot;
    for (let i = k + 1; i < size; i++) {
      const factor = row[i]!;
      if (factor === 0) continue;
      const begin = i * size;
      for (let j = i; j < size; j++) rows[begin + j] = rows[begin + j]! - factor * row[j]!;
    }
  }
  return { size, rows, meanSquares };
}

/** Upper triangle of the symmetric matrix, its rows and columns in the order. */
function orderedMoments(moments: Float32Array, order: Uint32Array): Float64Array {
  const size = order.length;
  const rows = new Float64Array(size * size);
  for (let i = 0; i < size; i++) {
    const a = order[i]!;
    for (let j = i; j < size; j++) {
      const b = order[j]!;
      rows[i * size + j] = moments[a >= b ? (a * (a + 1)) / 2 + b : (b * (b + 1)) / 2 + a]!;
    }
  }
  return rows;
}

/** A text that leaves all inputs at zero says nothing: then every weight is on its own. */
function dampen(rows: Float64Array, size: number): void {
  let sum = 0;
  for (let i = 0; i < size; i++) sum += rows[i * size + i]!;
  const added = sum === 0 ? 1 : (DAMPING * sum) / size;
  for (let i = 0; i < size; i++) rows[i * size + i] = rows[i * size + i]! + added;
}
