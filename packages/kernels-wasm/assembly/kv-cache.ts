/** `storeKv`: keys and values of new positions, in the cache's own dtype. Halves saturate at ±65504: cached values stay finite. */
import { F16, F32 } from "./element";
import { encodeHalf4, storeHalf4 } from "./float16";
import { padded } from "./vector";

const HALF_MOST: f32 = 65504;
const INT8_MOST: f32 = 127;

/** Called once for keys and once for values. */
export function storeKv(
  dtype: i32, data: usize, scales: usize, capacity: usize, nHeads: usize, headDim: usize, from: usize, position: usize,
  nTokens: usize,
): void {
  const stride = padded(nHeads * headDim) * 4;
  for (let t: usize = 0; t < nTokens; t++) {
    for (let head: usize = 0; head < nHeads; head++) {
      const source = from + t * stride + 4 * head * headDim;
      const index = head * capacity + position + t;
      if (dtype == F32) memory.copy(data + 4 * index * headDim, source, 4 * headDim);
      else if (dtype == F16) storeHalves(data + 2 * index * headDim, source, headDim);
      else store<f32>(scales + 4 * index, storeBytes(data + index * headDim, source, headDim));
    }
  }
}

function storeHalves(out: usize, x: usize, count: usize): void {
  const high = f32x4.splat(HALF_MOST), low = f32x4.splat(-HALF_MOST);
  const bulkEnd = x + 4 * (count & ~3);
  const end = x + 4 * count;
  for (; x < bulkEnd; x += 16) {
    storeHalf4(out, f32x4.max(f32x4.min(v128.load(x), high), low));
    out += 8;
  }
  for (; x < end; x += 4) {
    const v = f32x4.max(f32x4.min(f32x4.splat(load<f32>(x)), high), low);
    store<u16>(out, <u16>i32x4.extract_lane(encodeHalf4(v), 0));
    out += 2;
  }
}

/** One element at a time, as headDim may be odd; returns the scale. As quantise in vector.ts. */
function storeBytes(out: usize, x: usize, count: usize): f32 {
  let largest: f32 = 0;
  for (let k: usize = 0; k < count; k++) largest = max<f32>(largest, abs<f32>(load<f32>(x + 4 * k)));
  const scale = largest / INT8_MOST;
  if (!(scale > 0 && scale < Infinity)) {
    memory.fill(out, 0, count);
    return scale;
  }
  for (let k: usize = 0; k < count; k++) {
    const q = nearest<f32>(load<f32>(x + 4 * k) / scale);
    store<i8>(out + k, <i8>max<f32>(-INT8_MOST, min<f32>(INT8_MOST, q)));
  }
  return scale;
}
