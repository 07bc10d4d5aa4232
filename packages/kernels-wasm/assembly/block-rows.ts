/**
 * Products of rows of blocks with one vector; block-batch.ts has those of several.
 *
 * Four rows at a time, a lane of each vector of sums for each row: the sums of 32 products are taken apart (`dots`), then together across the
 * rows (`sumEach`), so that scaling and adding cost once for four rows. Rows come from distant parts of the range, as in row-product.ts.
 *
 * Sums of the first rows wait in the table while the others are computed. V8 moves loads to the front of a loop body, but not past a store:
 * without these the rows' loads came first, and spilled.
 *
 * Order of summation: contract.ts. Integer sums are exact, whatever their order.
 */
import { sumEach } from "./block-bytes";
import { MINIMA_AT, SCALES_AT, WAITING_AT } from "./block-scales";
import { GROUP_BYTES } from "./block-vector";
import { addProduct } from "./element";

/** Four rows of blocks of 32. Outputs are a lane each. */
export function fourRowsOf32<T>(
  x: usize, table: usize, p0: usize, p1: usize, p2: usize, p3: usize, cols: usize,
): v128 {
  const f = changetype<T>(0);
  const a = f.a(), b = f.b(), low = f.low();
  let sum = f32x4.splat(0);
  for (const end = x + (cols / 32) * GROUP_BYTES; x < end; x += GROUP_BYTES) {
    const q0 = v128.load(x, 16), q1 = v128.load(x, 32), q2 = v128.load(x, 48), q3 = v128.load(x, 64);
    v128.store(table, f.dots(p0, q0, q1, q2, q3, a, b, low), WAITING_AT);
    v128.store(table, f.dots(p1, q0, q1, q2, q3, a, b, low), WAITING_AT + 16);
    v128.store(table, f.dots(p2, q0, q1, q2, q3, a, b, low), WAITING_AT + 32);
    let sums = sumWaiting(table + WAITING_AT, f.dots(p3, q0, q1, q2, q3, a, b, low));
    if (f.offset()) sums = i32x4.sub(sums, v128.load32_splat(x, 4));
    const weights = f32x4.mul(v128.load32_splat(x), f32x4.convert_i32x4_s(sums));
    let product = f32x4.mul(f.scales(p0, p1, p2, p3), weights);
    if (f.hasMinima()) product = f32x4.add(product, f32x4.mul(f.minima(p0, p1, p2, p3), v128.load32_splat(x, 12)));
    sum = f32x4.add(sum, product);
    p0 += f.blockBytes(); p1 += f.blockBytes(); p2 += f.blockBytes(); p3 += f.blockBytes();
  }
  return sum;
}

/** The sums of three rows' lanes at `at`, and of the fourth's. */
@inline
function sumWaiting(at: usize, fourth: v128): v128 {
  return sumEach(v128.load(at), v128.load(at, 16), v128.load(at, 32), fourth);
}

/** Four rows of blocks of 256. */
export function fourRowsOf256<T>(
  x: usize, table: usize, p0: usize, p1: usize, p2: usize, p3: usize, cols: usize,
): v128 {
  const f = changetype<T>(0);
  const a = f.a(), b = f.b(), low = f.low();
  let sum = f32x4.splat(0);
  const end = x + (cols / 32) * GROUP_BYTES;
  while (x < end) {
    f.scales(table, p0, p1, p2, p3);
    let product = f32x4.splat(0), below = product;
    let at = table;
    for (let stretch: usize = 0; stretch < f.stretches(); stretch++) {
      product = addWeights<T>(product, x, table, at, p0, p1, p2, p3, stretch, 0, a, b, low);
      below = addMinima<T>(below, x, at);
      x += GROUP_BYTES; at += 512 / f.shared();
      if (f.stretches() < 8) {
        product = addWeights<T>(product, x, table, at, p0, p1, p2, p3, stretch, 1, a, b, low);
        below = addMinima<T>(below, x, at);
        x += GROUP_BYTES; at += 512 / f.shared();
      }
      if (f.stretches() < 4) {
        product = addWeights<T>(product, x, table, at, p0, p1, p2, p3, stretch, 2, a, b, low);
        below = addMinima<T>(below, x, at);
        x += GROUP_BYTES; at += 512 / f.shared();
        product = addWeights<T>(product, x, table, at, p0, p1, p2, p3, stretch, 3, a, b, low);
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
  sum: v128, x: usize, table: usize, at: usize, p0: usize, p1: usize, p2: usize, p3: usize, stretch: usize, t: i32,
  a: v128, b: v128, low: v128,
): v128 {
  const f = changetype<T>(0);
  const high = f.high(stretch, t);
  let integers: v128;
  if (f.shared() == 32) {
    integers = i32x4.mul(sumSubBlocks<T>(x, table, p0, p1, p2, p3, stretch, t, high, a, b, low), v128.load(at, SCALES_AT));
  } else {
    integers = i32x4.add(
      i32x4.mul(sumHalves<T>(x, table, p0, p1, p2, p3, stretch, t, 0, high, a, b, low), v128.load(at, SCALES_AT)),
      i32x4.mul(sumHalves<T>(x, table, p0, p1, p2, p3, stretch, t, 1, high, a, b, low), v128.load(at, SCALES_AT + 16)),
    );
  }
  return f32x4.add(sum, f32x4.mul(v128.load32_splat(x), f32x4.convert_i32x4_s(integers)));
}

/** Of four rows' sub-blocks. */
@inline
function sumSubBlocks<T>(
  x: usize, table: usize, p0: usize, p1: usize, p2: usize, p3: usize, stretch: usize, t: i32, high: v128,
  a: v128, b: v128, low: v128,
): v128 {
  const q0 = v128.load(x, 16), q1 = v128.load(x, 32), q2 = v128.load(x, 48), q3 = v128.load(x, 64);
  v128.store(table, dots<T>(p0, stretch, t, high, q0, q1, q2, q3, a, b, low), WAITING_AT);
  v128.store(table, dots<T>(p1, stretch, t, high, q0, q1, q2, q3, a, b, low), WAITING_AT + 16);
  v128.store(table, dots<T>(p2, stretch, t, high, q0, q1, q2, q3, a, b, low), WAITING_AT + 32);
  const sums = sumWaiting(table + WAITING_AT, dots<T>(p3, stretch, t, high, q0, q1, q2, q3, a, b, low));
  return changetype<T>(0).offset() ? i32x4.sub(sums, v128.load32_splat(x, 4)) : sums;
}

/** Of one row's sub-block. */
@inline
function dots<T>(
  p: usize, stretch: usize, t: i32, high: v128, q0: v128, q1: v128, q2: v128, q3: v128, a: v128, b: v128, low: v128,
): v128 {
  const f = changetype<T>(0);
  return i32x4.add(
    f.dots(p, stretch, t, 0, high, q0, q1, a, b, low), f.dots(p, stretch, t, 1, high, q2, q3, a, b, low),
  );
}

/** Of half h of four rows' sub-blocks. */
@inline
function sumHalves<T>(
  x: usize, table: usize, p0: usize, p1: usize, p2: usize, p3: usize, stretch: usize, t: i32, h: i32, high: v128,
  a: v128, b: v128, low: v128,
): v128 {
  const f = changetype<T>(0);
  const even = v128.load(x + 32 * h, 16), odd = v128.load(x + 32 * h, 32);
  const first = f.dots(p0, stretch, t, h, high, even, odd, a, b, low);
  if (isNone(p0, stretch, 2 * t + h)) return first;
  const second = f.dots(p1, stretch, t, h, high, even, odd, a, b, low);
  if (isNone(p1, stretch, 2 * t + h)) return second;
  const third = f.dots(p2, stretch, t, h, high, even, odd, a, b, low);
  if (isNone(p2, stretch, 2 * t + h)) return third;
  const sums = sumEach(first, second, third, f.dots(p3, stretch, t, h, high, even, odd, a, b, low));
  return f.offset() ? i32x4.sub(sums, v128.load32_splat(x + 4 * h, 4)) : sums;
}

/** Never true. Another condition for each `step`, since a second test of the same would be folded into the first. */
@inline
function isNone(p: usize, stretch: usize, step: i32): bool {
  return p + stretch + step == 0;
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
