/** `rotate`: pairs of elements, four pairs at a time. Each element is two products and one sum, whatever its neighbours. */
import { padded } from "./vector";

/** @param dims Elements that are turned, of each head; @param neighbours 0: pairs lie dims/2 apart; 1: one beside the other. */
export function rotate(
  x: usize, cos: usize, sin: usize, headDim: usize, dims: usize, neighbours: i32, nHeads: usize, position: usize,
  nTokens: usize,
): void {
  const halfBytes: usize = dims << 1;
  const stride = padded(nHeads * headDim) * 4;
  for (let t: usize = 0; t < nTokens; t++) {
    const row = (position + t) * halfBytes;
    const end = x + t * stride + 4 * nHeads * headDim;
    for (let head = x + t * stride; head < end; head += 4 * headDim) {
      if (neighbours) rotateNeighbours(head, cos + row, sin + row, halfBytes);
      else rotateHalves(head, cos + row, sin + row, halfBytes);
    }
  }
}

@inline
function rotateHalves(x: usize, cos: usize, sin: usize, halfBytes: usize): void {
  const y = x + halfBytes;
  let at: usize = 0;
  for (; at + 16 <= halfBytes; at += 16) {
    const c = v128.load(cos + at), s = v128.load(sin + at);
    const a = v128.load(x + at), b = v128.load(y + at);
    v128.store(x + at, f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)));
    v128.store(y + at, f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s)));
  }
  for (; at < halfBytes; at += 4) rotatePair(x + at, y + at, load<f32>(cos + at), load<f32>(sin + at));
}

@inline
function rotateNeighbours(x: usize, cos: usize, sin: usize, halfBytes: usize): void {
  let at: usize = 0;
  for (; at + 16 <= halfBytes; at += 16) {
    const c = v128.load(cos + at), s = v128.load(sin + at);
    const first = v128.load(x + 2 * at), second = v128.load(x + 2 * at, 16);
    const a = v128.shuffle<f32>(first, second, 0, 2, 4, 6), b = v128.shuffle<f32>(first, second, 1, 3, 5, 7);
    const turnedA = f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s));
    const turnedB = f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s));
    v128.store(x + 2 * at, v128.shuffle<f32>(turnedA, turnedB, 0, 4, 1, 5));
    v128.store(x + 2 * at, v128.shuffle<f32>(turnedA, turnedB, 2, 6, 3, 7), 16);
  }
  for (; at < halfBytes; at += 4) rotatePair(x + 2 * at, x + 2 * at + 4, load<f32>(cos + at), load<f32>(sin + at));
}

@inline
function rotatePair(p: usize, q: usize, c: f32, s: f32): void {
  const a = load<f32>(p), b = load<f32>(q);
  store<f32>(p, a * c - b * s);
  store<f32>(q, b * c + a * s);
}
