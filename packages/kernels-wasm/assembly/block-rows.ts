/**
 * Products of rows of blocks with one vector; block-batch.ts has those of several.
 *
 * Four rows at a time, a lane of each vector of sums for each row: the sums of 32 products are taken apart (`dots`), then together across the
 * rows (`sumEach`), so that scaling and adding cost once for four rows. Rows come from distant parts of the range, as in row-product.ts.
 *
 * Order of summation: contract.ts. Integer sums are exact, whatever their order.
 */
import { sumEach } from "./block-bytes";
import { MINIMA_AT, SCALES_AT } from "./block-scales";
import { GROUP_BYTES } from "./block-vector";
import { addProduct } from "./element";

/** Four rows of blocks of 32. Outputs are a lane each. */
export function fourRowsOf32<T>(x: usize, p0: usize, p1: usize, p2: usize, p3: usize, cols: usize): v128 {
  const f = changetype<T>(0);
  let sum = f32x4.splat(0);
  for (const end = x + (cols / 32) * GROUP_BYTES; x < end; x += GROUP_BYTES) {
    const q0 = v128.load(x, 16), q1 = v128.load(x, 32), q2 = v128.load(x, 48), q3 = v128.load(x, 64);
    const a = f.dots(p0, q0, q1, q2, q3), b = f.dots(p1, q0, q1, q2, q3);
    const c = f.dots(p2, q0, q1, q2, q3), d = f.dots(p3, q0, q1, q2, q3);
    let sums = sumEach(a, b, c, d);
    if (f.offset()) sums = i32x4.sub(sums, v128.load32_splat(x, 4));
    const weights = f32x4.mul(v128.load32_splat(x), f32x4.convert_i32x4_s(sums));
    let product = f32x4.mul(f.scales(p0, p1, p2, p3), weights);
    if (f.hasMinima()) product = f32x4.add(product, f32x4.mul(f.minima(p0, p1, p2, p3), v128.load32_splat(x, 12)));
    sum = f32x4.add(sum, product);
    p0 += f.blockBytes(); p1 += f.blockBytes(); p2 += f.blockBytes(); p3 += f.blockBytes();
  }
  return sum;
}

/** Four rows of blocks of 256. */
export function fourRowsOf256<T>(
  x: usize, table: usize, p0: usize, p1: usize, p2: usize, p3: usize, cols: usize,
): v128 {
  const f = changetype<T>(0);
  let sum = f32x4.splat(0);
  const end = x + (cols / 32) * GROUP_BYTES;
  while (x < end) {
    f.scales(table, p0, p1, p2, p3);
    let product = f32x4.splat(0), below = product;
    let at = table;
    for (let stretch: usize = 0; stretch < f.stretches(); stretch++) {
      product = addWeights<T>(product, x, at, p0, p1, p2, p3, stretch, 0);
      below = addMinima<T>(below, x, at);
      x += GROUP_BYTES; at += 512 / f.shared();
      if (f.stretches() < 8) {
        product = addWeights<T>(product, x, at, p0, p1, p2, p3, stretch, 1);
        below = addMinima<T>(below, x, at);
        x += GROUP_BYTES; at += 512 / f.shared();
      }
      if (f.stretches() < 4) {
        product = addWeights<T>(product, x, at, p0, p1, p2, p3, stretch, 2);
        below = addMinima<T>(below, x, at);
        x += GROUP_BYTES; at += 512 / f.shared();
        product = addWeights<T>(product, x, at, p0, p1, p2, p3, stretch, 3);
        below = addMinima<T>(below, x, at);
        x += GROUP_BYTES; at += 512 / f.shared();
      }
    }
    product = f32x4.mul(v128.load(table), product);
    if (f.hasMinima()) product = f32x4.sub(product, f32x4.mul(v128.load(table, 16), below));
    sum = f32x4.add(sum, product);
    p0 += f.blockBytes(); p1 += f.blockBytes(); p2 += f.blockBytes(); p3 += f.blockBytes();
  }
  return sum;
}

/** sum + s · Σ w · q of one sub-block. `at`: so far into the table as scales have been used. */
@inline
function addWeights<T>(
  sum: v128, x: usize, at: usize, p0: usize, p1: usize, p2: usize, p3: usize, stretch: usize, t: i32,
): v128 {
  const f = changetype<T>(0);
  const high = f.high(stretch, t);
  let integers: v128;
  if (f.shared() == 32) {
    integers = i32x4.mul(
      sumEach(
        dots<T>(x, p0, stretch, t, high), dots<T>(x, p1, stretch, t, high),
        dots<T>(x, p2, stretch, t, high), dots<T>(x, p3, stretch, t, high),
      ),
      v128.load(at, SCALES_AT),
    );
  } else {
    integers = i32x4.add(
      i32x4.mul(sumHalves<T>(x, p0, p1, p2, p3, stretch, t, 0, high), v128.load(at, SCALES_AT)),
      i32x4.mul(sumHalves<T>(x, p0, p1, p2, p3, stretch, t, 1, high), v128.load(at, SCALES_AT + 16)),
    );
  }
  return f32x4.add(sum, f32x4.mul(v128.load32_splat(x), f32x4.convert_i32x4_s(integers)));
}

/** Of one row's sub-block. */
@inline
function dots<T>(x: usize, p: usize, stretch: usize, t: i32, high: v128): v128 {
  const f = changetype<T>(0);
  return i32x4.add(
    f.dots(p, stretch, t, 0, high, v128.load(x, 16), v128.load(x, 32)),
    f.dots(p, stretch, t, 1, high, v128.load(x, 48), v128.load(x, 64)),
  );
}

/** Of half h of four rows' sub-blocks. */
@inline
function sumHalves<T>(
  x: usize, p0: usize, p1: usize, p2: usize, p3: usize, stretch: usize, t: i32, h: i32, high: v128,
): v128 {
  const f = changetype<T>(0);
  const even = v128.load(x + 32 * h, 16), odd = v128.load(x + 32 * h, 32);
  const sums = sumEach(
    f.dots(p0, stretch, t, h, high, even, odd), f.dots(p1, stretch, t, h, high, even, odd),
    f.dots(p2, stretch, t, h, high, even, odd), f.dots(p3, stretch, t, h, high, even, odd),
  );
  return f.offset() ? i32x4.sub(sums, v128.load32_splat(x + 4 * h, 4)) : sums;
}

/** sum + m · s · Σ q of one sub-block. */
@inline
function addMinima<T>(sum: v128, x: usize, at: usize): v128 {
  const f = changetype<T>(0);
  if (!f.hasMinima()) return sum;
  if (f.shared() == 32) return addProduct(sum, v128.load(at, MINIMA_AT), v128.load32_splat(x, 12));
  const first = addProduct(sum, v128.load(at, MINIMA_AT), v128.load32_splat(x, 4));
  return addProduct(first, v128.load(at, MINIMA_AT + 16), v128.load32_splat(x, 8));
}
