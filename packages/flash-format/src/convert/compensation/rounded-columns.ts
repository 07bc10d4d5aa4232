/**
 * Down columns, one after the other: what one neuron's column loses, by being rounded or left out, is made up for by
 * the columns of neurons that fire with it.
 */
import type { MomentFactor } from "./moment-factor.js";

/** Stores a column: replaces its values, f32 `[dModel]`, by what is kept of them. */
export type StoreColumn = (column: Float32Array, index: number) => void;

/**
 * Makes up for the errors of columns, the last first.
 *
 * @param columns f32 `[n, dModel]`, in the order of `factor`: each is given to `store` as the later ones would have it, and
 * is what that makes of it.
 * Cost: n² · dModel / 2 multiplications; 8 · n · dModel bytes.
 */
export function compensateColumns(
  columns: Float32Array,
  { rows, size }: MomentFactor,
  dModel: number,
  store: StoreColumn,
): void {
  const errors = new Float64Array(columns.length);
  const asked = new Float64Array(dModel);
  for (let m = size - 1; m >= 0; m--) {
    asked.fill(0);
    for (let i = m + 1; i < size; i++) {
      const factor = rows[m * size + i]!;
      if (factor === 0) continue;
      const begin = i * dModel;
      for (let k = 0; k < dModel; k++) asked[k] = asked[k]! + factor * errors[begin + k]!;
    }
    const begin = m * dModel;
    const pivot = rows[m * size + m]!;
    const column = columns.subarray(begin, begin + dModel);
    for (let k = 0; k < dModel; k++) {
      errors[begin + k] = column[k]!;
      column[k] = column[k]! + asked[k]! / pivot;
    }
    store(column, m);
    for (let k = 0; k < dModel; k++) errors[begin + k] = errors[begin + k]! - column[k]!;
  }
}
