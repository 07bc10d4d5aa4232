/** `rotate`: pairs of elements half a head apart, four pairs at a time. Each element is two products and one sum, whatever its neighbours. */
import { padded } from "./vector";

export function rotate(
  x: usize, cos: usize, sin: usize, headDim: usize, nHeads: usize, position: usize, nTokens: usize,
): void {
  const halfBytes: usize = headDim << 1;
  const stride = padded(nHeads * headDim) * 4;
  for (let t: usize = 0; t < nTokens; t++) {
    const row = (position + t) * halfBytes;
    const end = x + t * stride + 4 * nHeads * headDim;
    for (let head = x + t * stride; head < end; head += halfBytes << 1) rotateHead(head, cos + row, sin + row, halfBytes);
  }
}

@inline
function rotateHead(x: usize, cos: usize, sin: usize, halfBytes: usize): void {
  const y = x + halfBytes;
  let at: usize = 0;
  for (; at + 16 <= halfBytes; at += 16) {
    const c = v128.load(cos + at), s = v128.load(sin + at);
    const a = v128.load(x + at), b = v128.load(y + at);
    v128.store(x + at, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)));
    v128.store(y + at, f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s)));
  }
  for (; at < halfBytes; at += 4) {
    const c = load<f32>(cos + at), s = load<f32>(sin + at);
    const a = load<f32>(x + at), b = load<f32>(y + at);
    store<f32>(x + at, a * c - b * s);
    store<f32>(y + at, b * c + a * s);
  }
}
