/**
 * A large matrix described by a small one: `large[i, j] = small[rows[i], columns[j]] · rowFactors[i] · columnFactors[j]`.
 * Everything that scaling does to weights is one of these; vectors are matrices of one row.
 */
import { assert } from "@flashwick/core";

export interface Expansion {
  /** Row of the small matrix for each row of the large one. */
  readonly rows: Uint32Array;
  readonly rowFactors: Float32Array;
  /** Column of the small matrix for each column of the large one. */
  readonly columns: Uint32Array;
  readonly columnFactors: Float32Array;
}

/** One side of an expansion: what each index of the large side is a copy of. */
export interface Copies {
  readonly indices: Uint32Array;
  readonly factors: Float32Array;
}

/** The index `i` for `count` positions, each times `factor`. */
export function mapped(count: number, indexOf: (i: number) => number, factor = 1): Copies {
  return {
    indices: Uint32Array.from({ length: count }, (_, i) => indexOf(i)),
    factors: new Float32Array(count).fill(factor),
  };
}

/** `0 … count-1`, again and again: `copies` times. */
export function tiled(count: number, copies: number, factor = 1): Copies {
  return mapped(count * copies, (i) => i % count, factor);
}

/** The same copies, each times a factor of its own. */
export function weighted({ indices, factors }: Copies, factorOf: (i: number) => number): Copies {
  return { indices, factors: factors.map((factor, i) => factor * factorOf(i)) };
}

export function matrixOf(rows: Copies, columns: Copies): Expansion {
  return { rows: rows.indices, rowFactors: rows.factors, columns: columns.indices, columnFactors: columns.factors };
}

export function vectorOf(columns: Copies): Expansion {
  return matrixOf(
    mapped(1, () => 0),
    columns,
  );
}

/**
 * Factors of copies that add up to nothing, powers of two: 1, -1, 1, -1, …; an odd number begins with 1, -½, -½.
 *
 * @param copies At least 2.
 */
export function cancellingFactors(copies: number): Float32Array {
  assert(copies >= 2, "one copy cannot cancel");
  const factors = Float32Array.from({ length: copies }, (_, i) => (i % 2 === 0 ? 1 : -1));
  if (copies % 2 === 0) return factors;
  factors.set([1, -0.5, -0.5]);
  for (let i = 3; i < copies; i++) factors[i] = i % 2 === 1 ? 1 : -1;
  return factors;
}

/**
 * Rows `first … first + out.length / columns` of the large matrix.
 *
 * @param small f32 `[n, smallCols]`.
 * @param out   f32, whole rows; overwritten.
 */
export function expandRows(
  small: Float32Array,
  smallCols: number,
  { rows, rowFactors, columns, columnFactors }: Expansion,
  first: number,
  out: Float32Array,
): void {
  const cols = columns.length;
  const count = out.length / cols;
  for (let r = 0; r < count; r++) {
    const from = rows[first + r]! * smallCols;
    const factor = rowFactors[first + r]!;
    const to = r * cols;
    for (let c = 0; c < cols; c++) out[to + c] = small[from + columns[c]!]! * factor * columnFactors[c]!;
  }
}
