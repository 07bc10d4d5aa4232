/**
 * `ffnDown`: out += Σ_i act[i] · down column i, neurons ascending, four at a time.
 *
 * Order of summation: each output element receives one rounded product after the other, i ascending, whatever is grouped
 * together. Neurons with activation zero are passed over. For many tokens the neurons are taken in blocks that stay in
 * the cache while all tokens use them.
 *
 * While it is added to, `out` lies in the order of first8/second8, and only in the end in its own: so a column is widened
 * without shuffles. Slots are scattered, and the prefetcher sees a column only once it is being read: the first line of a
 * later one, and its scale, are touched ahead.
 *
 * Half: the factor is scaled by 2^112, which is exact for |act| < 2^15; larger ones scale the weights instead. Either way
 * the product is that of the true values, rounded once.
 */
import { BF16, Brain, F16, F32, HALF_FACTOR, Half, first8, loadEight, second8, weightLift, weightMask } from "./element";
import { rowPointer, touch } from "./row-product";
import { joinEvenOdd, padded, splitEvenOdd } from "./vector";

/** Down columns that one block of neurons may take of the cache. */
const BLOCK_BYTES: usize = 256 * 1024;
const HALF_ACT_LIMIT: f32 = 32768;
/** Neurons from the one that is added to the one that is touched. */
const TOUCH_AHEAD: usize = 8;

export function ffnDown(
  out: usize, act: usize, dtype: i32, base: usize, stride: usize, downOffset: usize, scalesOffset: usize, dModel: usize,
  slots: usize, n: usize, nTokens: usize, colBegin: usize, colEnd: usize,
): void {
  const at = out + 4 * colBegin;
  const outStride = padded(dModel) * 4;
  if (colBegin >= colEnd) return;
  const cols = colEnd - colBegin;
  const down = base + downOffset;
  const scales = base + scalesOffset + 4;
  if (dtype == F32) tokens<f32>(at, outStride, act, down + 4 * colBegin, stride, 0, slots, n, nTokens, cols);
  else if (dtype == F16) tokens<Half>(at, outStride, act, down + 2 * colBegin, stride, 0, slots, n, nTokens, cols);
  else if (dtype == BF16) tokens<Brain>(at, outStride, act, down + 2 * colBegin, stride, 0, slots, n, nTokens, cols);
  else tokens<i8>(at, outStride, act, down + colBegin, stride, scales, slots, n, nTokens, cols);
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

/** Neurons [begin, end) of one token: gathers the next four active ones, adds them, and so on. */
function neurons<T>(
  out: usize, act: usize, down: usize, stride: usize, scales: usize, slots: usize, begin: usize, end: usize, cols: usize,
): void {
  let p0: usize = 0, p1: usize = 0, p2: usize = 0;
  let f0: f32 = 0, f1: f32 = 0, f2: f32 = 0;
  let held: i32 = 0;
  for (let i = begin; i < end; i++) {
    const later = min<usize>(i + TOUCH_AHEAD, end - 1);
    touch(rowPointer(down, stride, slots, later));
    if (sizeof<T>() == 1) touch(rowPointer(scales, stride, slots, later));
    const a = load<f32>(act + 4 * i);
    if (a == 0) continue;
    const p = rowPointer(down, stride, slots, i);
    const f = sizeof<T>() == 1 ? a * load<f32>(rowPointer(scales, stride, slots, i)) : a;
    if (held == 0) { p0 = p; f0 = f; held = 1; }
    else if (held == 1) { p1 = p; f1 = f; held = 2; }
    else if (held == 2) { p2 = p; f2 = f; held = 3; }
    else { addFour<T>(out, cols, p0, p1, p2, p, f0, f1, f2, f); held = 0; }
  }
  if (held > 0) addOne<T>(out, cols, p0, f0);
  if (held > 1) addOne<T>(out, cols, p1, f1);
  if (held > 2) addOne<T>(out, cols, p2, f2);
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
