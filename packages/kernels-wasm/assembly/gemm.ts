/**
 * `gemm` and `gemmTransposed`, f32.
 *
 * gemm: c + Σ_k a(i, k) · b[k, j], k ascending, one rounded product after the other, as the reference. Two rows of c and four
 * rows of b at a time, along j: whatever the row length of b, it is read in sequence. Blocks of c stay in the second-level cache.
 */
import { rowProducts } from "./row-product";

/** Block of c: 64 rows of 512 columns are 128 KiB. */
const BLOCK_ROWS: usize = 64;
const BLOCK_COLS: usize = 512;

export function gemm(
  c: usize, ldc: usize, a: usize, aRowStride: usize, aColStride: usize, b: usize, ldb: usize,
  m: usize, n: usize, k: usize,
): void {
  const rowBytes = aRowStride * 4, colBytes = aColStride * 4;
  for (let j: usize = 0; j < n; j += BLOCK_COLS) {
    const cols = min<usize>(BLOCK_COLS, n - j);
    for (let i: usize = 0; i < m; i += BLOCK_ROWS) {
      block(
        c + 4 * (i * ldc + j), 4 * ldc, a + i * rowBytes, rowBytes, colBytes, b + 4 * j, 4 * ldb,
        min<usize>(BLOCK_ROWS, m - i), cols, k,
      );
    }
  }
}

/** Strides in bytes from here on. */
function block(
  c: usize, cStride: usize, a: usize, aRow: usize, aCol: usize, b: usize, bStride: usize, m: usize, n: usize, k: usize,
): void {
  let l: usize = 0;
  for (; l + 4 <= k; l += 4) {
    const al = a + l * aCol, bl = b + l * bStride;
    let i: usize = 0;
    for (; i + 2 <= m; i += 2) tile2(c + i * cStride, cStride, al + i * aRow, aRow, aCol, bl, bStride, n);
    if (i < m) tile1(c + i * cStride, al + i * aRow, aCol, bl, bStride, n);
  }
  for (; l < k; l++) {
    for (let i: usize = 0; i < m; i++) axpy(c + i * cStride, load<f32>(a + i * aRow + l * aCol), b + l * bStride, n);
  }
}

/** Two rows of c, four rows of b. */
function tile2(
  c: usize, cStride: usize, a: usize, aRow: usize, aCol: usize, b: usize, bStride: usize, n: usize,
): void {
  const s0 = v128.load32_splat(a), s1 = v128.load32_splat(a + aCol);
  const s2 = v128.load32_splat(a + 2 * aCol), s3 = v128.load32_splat(a + 3 * aCol);
  const t0 = v128.load32_splat(a + aRow), t1 = v128.load32_splat(a + aRow + aCol);
  const t2 = v128.load32_splat(a + aRow + 2 * aCol), t3 = v128.load32_splat(a + aRow + 3 * aCol);
  let b1 = b + bStride, b2 = b1 + bStride, b3 = b2 + bStride, d = c + cStride;
  for (const end = c + 4 * n; c < end; c += 16) {
    let v = v128.load(b);
    let x = f32x4.add(v128.load(c), f32x4.mul(s0, v));
    let y = f32x4.add(v128.load(d), f32x4.mul(t0, v));
    v = v128.load(b1);
    x = f32x4.add(x, f32x4.mul(s1, v));
    y = f32x4.add(y, f32x4.mul(t1, v));
    v = v128.load(b2);
    x = f32x4.add(x, f32x4.mul(s2, v));
    y = f32x4.add(y, f32x4.mul(t2, v));
    v = v128.load(b3);
    v128.store(c, f32x4.add(x, f32x4.mul(s3, v)));
    v128.store(d, f32x4.add(y, f32x4.mul(t3, v)));
    b += 16; b1 += 16; b2 += 16; b3 += 16; d += 16;
  }
}

function tile1(c: usize, a: usize, aCol: usize, b: usize, bStride: usize, n: usize): void {
  for (let l: usize = 0; l < 4; l++) axpy(c, load<f32>(a + l * aCol), b + l * bStride, n);
}

/** c += factor · b. */
function axpy(c: usize, factor: f32, b: usize, n: usize): void {
  const f = f32x4.splat(factor);
  for (const end = c + 4 * n; c < end; c += 16) {
    v128.store(c, f32x4.add(v128.load(c), f32x4.mul(f, v128.load(b))));
    b += 16;
  }
}

/** The rows of b are the rows of a matrix, those of a the vectors: row-product.ts says in which order it adds. */
export function gemmTransposed(
  c: usize, ldc: usize, a: usize, lda: usize, b: usize, ldb: usize, m: usize, n: usize, k: usize,
): void {
  rowProducts<f32>(c, 4 * ldc, a, 4 * lda, m, b, 4 * ldb, 0, 0, n, k);
}
