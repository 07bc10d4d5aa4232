/**
 * `ffnDown`: out += Σ_i act[i] · down column i, neurons ascending, twelve at a time.
 *
 * Order of summation: each output element receives one rounded product after the other, i ascending, whatever is grouped
 * together. Neurons with activation zero are passed over. For many tokens the neurons are taken in blocks that stay in
 * the cache while all tokens use them.
 *
 * While it is added to, `out` lies in the order of first8/second8, and only in the end in its own: so a column is widened
 * without shuffles. Twelve columns side by side, because slots are scattered: row-product.ts says what that does for the prefetcher.
 *
 * Half: the factor is scaled by 2^112, which is exact for |act| < 2^15; larger ones scale the weights instead. Either way
 * the product is that of the true values, rounded once.
 */
import { Q4_0 as Q4_0_CODE } from "../../kernels/src/dtype-constants";
import {
  BF16, Brain, F16, F32, HALF_FACTOR, Half, INT8, addProduct, first8, loadEight, second8, weightLift, weightMask,
} from "./element";
import { ffnDownBlocks } from "./ffn-down-blocks";
import { nextActive, rowPointer } from "./row-product";
import { joinEvenOdd, padded, splitEvenOdd } from "./vector";

/** Down columns that one block of neurons may take of the cache. */
const BLOCK_BYTES: usize = 256 * 1024;
const HALF_ACT_LIMIT: f32 = 32768;

/** @param down, scales Where slot 0 has its down column, and that column's scale. */
export function ffnDown(
  out: usize, act: usize, dtype: i32, down: usize, stride: usize, scales: usize, dModel: usize, slots: usize,
  n: usize, nTokens: usize, colBegin: usize, colEnd: usize,
): void {
  const at = out + 4 * colBegin;
  const outStride = padded(dModel) * 4;
  if (colBegin >= colEnd) return;
  const cols = colEnd - colBegin;
  if (dtype == F32) tokens<f32>(at, outStride, act, down + 4 * colBegin, stride, 0, slots, n, nTokens, cols);
  else if (dtype == F16) tokens<Half>(at, outStride, act, down + 2 * colBegin, stride, 0, slots, n, nTokens, cols);
  else if (dtype == BF16) tokens<Brain>(at, outStride, act, down + 2 * colBegin, stride, 0, slots, n, nTokens, cols);
  else if (dtype == INT8) tokens<i8>(at, outStride, act, down + colBegin, stride, scales, slots, n, nTokens, cols);
  else if (dtype == Q4_0_CODE) ffnDownBlocks(out, act, down, stride, dModel, slots, n, nTokens, colBegin, colEnd);
  else unreachable();
}

function tokens<T>(
  out: usize, outStride: usize, act: usize, down: usize, stride: usize, scales: usize,
  slots: usize, n: usize, nTokens: usize, cols: usize,
): void {
  const actStride = padded(n) * 4;
  if (!isFloat<T>()) for (let t: usize = 0; t < nTokens; t++) splitEvenOdd(out + t * outStride, 16, out + t * outStride, cols, 1);
  const block = nTokens == 1 ? max<usize>(n, 1) : max<usize>(4, BLOCK_BYTES / (cols * sizeof<T>() + 1));
  for (let begin: usize = 0; begin < n; begin += block) {
    const end = min<usize>(n, begin + block);
    for (let t: usize = 0; t < nTokens; t++) {
      neurons<T>(out + t * outStride, act + t * actStride, down, stride, scales, slots, begin, end, cols);
    }
  }
  if (!isFloat<T>()) for (let t: usize = 0; t < nTokens; t++) joinEvenOdd(out + t * outStride, cols);
}

/** Neurons [begin, end) of one token: the next twelve active ones, and so on; those that are left by fours, then one by one. */
function neurons<T>(
  out: usize, act: usize, down: usize, stride: usize, scales: usize, slots: usize, begin: usize, end: usize, cols: usize,
): void {
  let i = begin;
  for (;;) {
    const i0 = nextActive(act, i, end), i1 = nextActive(act, i0 + 1, end), i2 = nextActive(act, i1 + 1, end);
    const i3 = nextActive(act, i2 + 1, end), i4 = nextActive(act, i3 + 1, end), i5 = nextActive(act, i4 + 1, end);
    const i6 = nextActive(act, i5 + 1, end), i7 = nextActive(act, i6 + 1, end), i8 = nextActive(act, i7 + 1, end);
    const i9 = nextActive(act, i8 + 1, end), i10 = nextActive(act, i9 + 1, end), i11 = nextActive(act, i10 + 1, end);
    if (i11 >= end) break;
    addTwelve<T>(
      out, cols,
      rowPointer(down, stride, slots, i0), rowPointer(down, stride, slots, i1), rowPointer(down, stride, slots, i2),
      rowPointer(down, stride, slots, i3), rowPointer(down, stride, slots, i4), rowPointer(down, stride, slots, i5),
      rowPointer(down, stride, slots, i6), rowPointer(down, stride, slots, i7), rowPointer(down, stride, slots, i8),
      rowPointer(down, stride, slots, i9), rowPointer(down, stride, slots, i10), rowPointer(down, stride, slots, i11),
      factor<T>(act, scales, stride, slots, i0), factor<T>(act, scales, stride, slots, i1),
      factor<T>(act, scales, stride, slots, i2), factor<T>(act, scales, stride, slots, i3),
      factor<T>(act, scales, stride, slots, i4), factor<T>(act, scales, stride, slots, i5),
      factor<T>(act, scales, stride, slots, i6), factor<T>(act, scales, stride, slots, i7),
      factor<T>(act, scales, stride, slots, i8), factor<T>(act, scales, stride, slots, i9),
      factor<T>(act, scales, stride, slots, i10), factor<T>(act, scales, stride, slots, i11),
    );
    i = i11 + 1;
  }
  for (;;) {
    const i0 = nextActive(act, i, end), i1 = nextActive(act, i0 + 1, end);
    const i2 = nextActive(act, i1 + 1, end), i3 = nextActive(act, i2 + 1, end);
    if (i3 >= end) break;
    addFour<T>(
      out, cols,
      rowPointer(down, stride, slots, i0), rowPointer(down, stride, slots, i1),
      rowPointer(down, stride, slots, i2), rowPointer(down, stride, slots, i3),
      factor<T>(act, scales, stride, slots, i0), factor<T>(act, scales, stride, slots, i1),
      factor<T>(act, scales, stride, slots, i2), factor<T>(act, scales, stride, slots, i3),
    );
    i = i3 + 1;
  }
  for (i = nextActive(act, i, end); i < end; i = nextActive(act, i + 1, end)) {
    addOne<T>(out, cols, rowPointer(down, stride, slots, i), factor<T>(act, scales, stride, slots, i));
  }
}

/** What the stored elements of neuron i are multiplied with. */
@inline
function factor<T>(act: usize, scales: usize, stride: usize, slots: usize, i: usize): f32 {
  const a = load<f32>(act + 4 * i);
  return sizeof<T>() == 1 ? a * load<f32>(rowPointer(scales, stride, slots, i)) : a;
}

@inline
function isHalf<T>(): bool {
  return !isFloat<T>() && sizeof<T>() == 2 && isSigned<T>();
}

/** Whether a factor may carry 2^112 itself. False for NaN and infinity, too. */
@inline
function isSmall(f: f32): bool {
  return abs<f32>(f) < HALF_ACT_LIMIT;
}

/** Sixteen columns a turn. No column is at 0: the branches end blocks, see row-product.ts. */
function addTwelve<T>(
  out: usize, cols: usize,
  p0: usize, p1: usize, p2: usize, p3: usize, p4: usize, p5: usize,
  p6: usize, p7: usize, p8: usize, p9: usize, p10: usize, p11: usize,
  f0: f32, f1: f32, f2: f32, f3: f32, f4: f32, f5: f32, f6: f32, f7: f32, f8: f32, f9: f32, f10: f32, f11: f32,
): void {
  if (isHalf<T>()) {
    const large = !(
      isSmall(f0) && isSmall(f1) && isSmall(f2) && isSmall(f3) && isSmall(f4) && isSmall(f5) &&
      isSmall(f6) && isSmall(f7) && isSmall(f8) && isSmall(f9) && isSmall(f10) && isSmall(f11)
    );
    if (large) {
      addFour<T>(out, cols, p0, p1, p2, p3, f0, f1, f2, f3);
      addFour<T>(out, cols, p4, p5, p6, p7, f4, f5, f6, f7);
      addFour<T>(out, cols, p8, p9, p10, p11, f8, f9, f10, f11);
      return;
    }
    f0 *= HALF_FACTOR; f1 *= HALF_FACTOR; f2 *= HALF_FACTOR; f3 *= HALF_FACTOR; f4 *= HALF_FACTOR; f5 *= HALF_FACTOR;
    f6 *= HALF_FACTOR; f7 *= HALF_FACTOR; f8 *= HALF_FACTOR; f9 *= HALF_FACTOR; f10 *= HALF_FACTOR; f11 *= HALF_FACTOR;
  }
  const mask = weightMask<T>(), lift = weightLift<T>();
  const end = out + 4 * cols;
  const step: usize = 8 * sizeof<T>();
  let u = f32x4.splat(0), v = u, y = u, z = u;
  let k: usize = 0, p: usize, w: v128, x: v128, a: v128;
  do {
    u = v128.load(out); v = v128.load(out, 16); y = v128.load(out, 32); z = v128.load(out, 48);
    p = p0 + k; w = loadEight<T>(p); x = loadEight<T>(p + step); a = f32x4.splat(f0);
    u = addProduct(u, a, first8<T>(w, mask, lift)); v = addProduct(v, a, second8<T>(w, p, mask));
    y = addProduct(y, a, first8<T>(x, mask, lift)); z = addProduct(z, a, second8<T>(x, p + step, mask));
    if (!p0) break;
    p = p1 + k; w = loadEight<T>(p); x = loadEight<T>(p + step); a = f32x4.splat(f1);
    u = addProduct(u, a, first8<T>(w, mask, lift)); v = addProduct(v, a, second8<T>(w, p, mask));
    y = addProduct(y, a, first8<T>(x, mask, lift)); z = addProduct(z, a, second8<T>(x, p + step, mask));
    if (!p1) break;
    p = p2 + k; w = loadEight<T>(p); x = loadEight<T>(p + step); a = f32x4.splat(f2);
    u = addProduct(u, a, first8<T>(w, mask, lift)); v = addProduct(v, a, second8<T>(w, p, mask));
    y = addProduct(y, a, first8<T>(x, mask, lift)); z = addProduct(z, a, second8<T>(x, p + step, mask));
    if (!p2) break;
    p = p3 + k; w = loadEight<T>(p); x = loadEight<T>(p + step); a = f32x4.splat(f3);
    u = addProduct(u, a, first8<T>(w, mask, lift)); v = addProduct(v, a, second8<T>(w, p, mask));
    y = addProduct(y, a, first8<T>(x, mask, lift)); z = addProduct(z, a, second8<T>(x, p + step, mask));
    if (!p3) break;
    p = p4 + k; w = loadEight<T>(p); x = loadEight<T>(p + step); a = f32x4.splat(f4);
    u = addProduct(u, a, first8<T>(w, mask, lift)); v = addProduct(v, a, second8<T>(w, p, mask));
    y = addProduct(y, a, first8<T>(x, mask, lift)); z = addProduct(z, a, second8<T>(x, p + step, mask));
    if (!p4) break;
    p = p5 + k; w = loadEight<T>(p); x = loadEight<T>(p + step); a = f32x4.splat(f5);
    u = addProduct(u, a, first8<T>(w, mask, lift)); v = addProduct(v, a, second8<T>(w, p, mask));
    y = addProduct(y, a, first8<T>(x, mask, lift)); z = addProduct(z, a, second8<T>(x, p + step, mask));
    if (!p5) break;
    p = p6 + k; w = loadEight<T>(p); x = loadEight<T>(p + step); a = f32x4.splat(f6);
    u = addProduct(u, a, first8<T>(w, mask, lift)); v = addProduct(v, a, second8<T>(w, p, mask));
    y = addProduct(y, a, first8<T>(x, mask, lift)); z = addProduct(z, a, second8<T>(x, p + step, mask));
    if (!p6) break;
    p = p7 + k; w = loadEight<T>(p); x = loadEight<T>(p + step); a = f32x4.splat(f7);
    u = addProduct(u, a, first8<T>(w, mask, lift)); v = addProduct(v, a, second8<T>(w, p, mask));
    y = addProduct(y, a, first8<T>(x, mask, lift)); z = addProduct(z, a, second8<T>(x, p + step, mask));
    if (!p7) break;
    p = p8 + k; w = loadEight<T>(p); x = loadEight<T>(p + step); a = f32x4.splat(f8);
    u = addProduct(u, a, first8<T>(w, mask, lift)); v = addProduct(v, a, second8<T>(w, p, mask));
    y = addProduct(y, a, first8<T>(x, mask, lift)); z = addProduct(z, a, second8<T>(x, p + step, mask));
    if (!p8) break;
    p = p9 + k; w = loadEight<T>(p); x = loadEight<T>(p + step); a = f32x4.splat(f9);
    u = addProduct(u, a, first8<T>(w, mask, lift)); v = addProduct(v, a, second8<T>(w, p, mask));
    y = addProduct(y, a, first8<T>(x, mask, lift)); z = addProduct(z, a, second8<T>(x, p + step, mask));
    if (!p9) break;
    p = p10 + k; w = loadEight<T>(p); x = loadEight<T>(p + step); a = f32x4.splat(f10);
    u = addProduct(u, a, first8<T>(w, mask, lift)); v = addProduct(v, a, second8<T>(w, p, mask));
    y = addProduct(y, a, first8<T>(x, mask, lift)); z = addProduct(z, a, second8<T>(x, p + step, mask));
    if (!p10) break;
    p = p11 + k; w = loadEight<T>(p); x = loadEight<T>(p + step); a = f32x4.splat(f11);
    u = addProduct(u, a, first8<T>(w, mask, lift)); v = addProduct(v, a, second8<T>(w, p, mask));
    y = addProduct(y, a, first8<T>(x, mask, lift)); z = addProduct(z, a, second8<T>(x, p + step, mask));
    v128.store(out, u); v128.store(out, v, 16); v128.store(out, y, 32); v128.store(out, z, 48);
    k += 2 * step;
    out += 64;
  } while (out != end);
  // Once more: the branches need a use of the sums.
  out -= 64;
  v128.store(out, u); v128.store(out, v, 16); v128.store(out, y, 32); v128.store(out, z, 48);
}

function addFour<T>(
  out: usize, cols: usize, p0: usize, p1: usize, p2: usize, p3: usize, f0: f32, f1: f32, f2: f32, f3: f32,
): void {
  if (isHalf<T>()) {
    if (!(isSmall(f0) && isSmall(f1) && isSmall(f2) && isSmall(f3))) {
      addOne<T>(out, cols, p0, f0);
      addOne<T>(out, cols, p1, f1);
      addOne<T>(out, cols, p2, f2);
      addOne<T>(out, cols, p3, f3);
      return;
    }
    f0 *= HALF_FACTOR; f1 *= HALF_FACTOR; f2 *= HALF_FACTOR; f3 *= HALF_FACTOR;
  }
  const a0 = f32x4.splat(f0), a1 = f32x4.splat(f1), a2 = f32x4.splat(f2), a3 = f32x4.splat(f3);
  const mask = weightMask<T>(), lift = weightLift<T>();
  const end = out + 4 * cols;
  do {
    let u = v128.load(out), v = v128.load(out, 16);
    let w = loadEight<T>(p0);
    u = f32x4.add(u, f32x4.mul(a0, first8<T>(w, mask, lift)));
    v = f32x4.add(v, f32x4.mul(a0, second8<T>(w, p0, mask)));
    w = loadEight<T>(p1);
    u = f32x4.add(u, f32x4.mul(a1, first8<T>(w, mask, lift)));
    v = f32x4.add(v, f32x4.mul(a1, second8<T>(w, p1, mask)));
    w = loadEight<T>(p2);
    u = f32x4.add(u, f32x4.mul(a2, first8<T>(w, mask, lift)));
    v = f32x4.add(v, f32x4.mul(a2, second8<T>(w, p2, mask)));
    w = loadEight<T>(p3);
    u = f32x4.add(u, f32x4.mul(a3, first8<T>(w, mask, lift)));
    v = f32x4.add(v, f32x4.mul(a3, second8<T>(w, p3, mask)));
    v128.store(out, u);
    v128.store(out, v, 16);
    p0 += 8 * sizeof<T>(); p1 += 8 * sizeof<T>(); p2 += 8 * sizeof<T>(); p3 += 8 * sizeof<T>();
    out += 32;
  } while (out != end);
}

function addOne<T>(out: usize, cols: usize, p: usize, f: f32): void {
  const large = isHalf<T>() && !isSmall(f);
  const a = f32x4.splat(isHalf<T>() && !large ? f * HALF_FACTOR : f);
  const weightFactor = f32x4.splat(large ? HALF_FACTOR : 1);
  const mask = weightMask<T>(), lift = weightLift<T>();
  const end = out + 4 * cols;
  do {
    const h = loadEight<T>(p);
    let w = first8<T>(h, mask, lift), z = second8<T>(h, p, mask);
    if (isHalf<T>()) {
      w = f32x4.mul(w, weightFactor);
      z = f32x4.mul(z, weightFactor);
    }
    v128.store(out, f32x4.add(v128.load(out), f32x4.mul(a, w)));
    v128.store(out, f32x4.add(v128.load(out, 16), f32x4.mul(a, z)), 16);
    p += 8 * sizeof<T>();
    out += 32;
  } while (out != end);
}
