/**
 * e^x and what is made of it, four lanes at a time.
 *
 * e^x = 2^n · e^r with n = round(x / ln 2) and |r| ≤ ln 2 / 2, reduced in two steps so that r is good to the last bit
 * (Cody and Waite 1980), then the polynomial of Cephes' expf. Within 2 units in the last place; NaN stays NaN; results
 * below 2^-126 are zero.
 *
 * Constants come from memory. V8 (11.3) builds a literal vector from three instructions, inside the loop; with twenty of
 * them crossEntropyGradient took 1.2 times as long (1.37 against 1.14 ms, [256, 1024], EPYC, Node 20.20).
 */
import { addProduct } from "./element";

/** Ascending coefficients and bounds, one f32 each. */
const TABLE: usize = memory.data<f32>([
  // 0: log2 e; ln 2 in two parts; the least normal f32's logarithm, and almost the largest's.
  1.44269504088896341, 0.693359375, -2.12194440e-4, -87.3365, 88.3762,
  // 5: 1.5 · 2^23: added to a small number, it leaves the nearest integer in the lowest bits.
  12582912.0,
  // 6: (e^r − 1 − r) / r², ascending.
  5.0000001201e-1, 1.6666665459e-1, 4.1665795894e-2, 8.3334519073e-3, 1.3981999507e-3, 1.9875691500e-4,
  // 12: 1 and 2.
  1.0, 2.0,
  // 14: atanh(s) / s in s², from the second term on: 1/3, 1/5, … 1/15.
  0.3333333333, 0.2, 0.1428571429, 0.1111111111, 0.0909090909, 0.0769230769, 0.0666666667,
  // 21: √½, ½, then P of erfc, ascending (Numerical Recipes, 6.2).
  0.70710678118654752, 0.5,
  -1.26551223, 1.00002368, 0.37409196, 0.09678418, -0.18628806, 0.27886807, -1.13520398, 1.48851587, -0.82215223,
  0.17087277,
  // 33: 2 · √(2/π), and its product with 0.044715.
  1.5957691216057308, 0.0713548162726009,
  // 35: alpha and the limits of the clamped SwiGLU, as core's activation.ts has them.
  1.702, 7.0, -7.0,
], 16);

@inline
function entry(i: usize): v128 {
  return v128.load32_splat(TABLE + 4 * i);
}

@inline
export function exp4(x: v128): v128 {
  // pmin and pmax are one instruction each where min and max are many; with x first they keep a NaN.
  const clamped = f32x4.pmin(f32x4.pmax(x, entry(3)), entry(4));
  const rounded = addProduct(entry(5), clamped, entry(0));
  const n = f32x4.sub(rounded, entry(5));
  const r = f32x4.sub(f32x4.sub(clamped, f32x4.mul(n, entry(1))), f32x4.mul(n, entry(2)));
  const r2 = f32x4.mul(r, r);
  // Pairs first (Estrin): half as deep as one chain.
  const low = addProduct(entry(6), entry(7), r);
  const middle = addProduct(entry(8), entry(9), r);
  const high = addProduct(entry(10), entry(11), r);
  const p = addProduct(low, addProduct(middle, high, r2), r2);
  const e = f32x4.add(addProduct(r, p, r2), entry(12));
  // The integer's low bits become the exponent; entry(12) is 1, whose exponent is 127.
  const power = i32x4.add(i32x4.shl(rounded, 23), entry(12));
  return v128.andnot(f32x4.mul(e, power), f32x4.lt(x, entry(3)));
}

/** log(1 + e) for 0 ≤ e ≤ 1: 2 · atanh(s), s = e / (2 + e) ≤ 1/3, eight terms. */
@inline
export function log1p4(e: v128): v128 {
  const s = f32x4.div(e, f32x4.add(e, entry(13)));
  const s2 = f32x4.mul(s, s);
  const s4 = f32x4.mul(s2, s2);
  const a = addProduct(entry(12), entry(14), s2);
  const b = addProduct(entry(15), entry(16), s2);
  const c = addProduct(entry(17), entry(18), s2);
  const d = addProduct(entry(19), entry(20), s2);
  const p = addProduct(addProduct(a, b, s4), addProduct(c, d, s4), f32x4.mul(s4, s4));
  return f32x4.mul(f32x4.add(s, s), p);
}

/**
 * gelu(x) = x · Φ(x) = x · erfc(−x / √2) / 2, with erfc(z) = t · e^(−z² + P(t)), t = 1 / (1 + z/2) for z ≥ 0
 * (Numerical Recipes, 6.2: relative error below 1.2e-7).
 */
export function gelu4(x: v128): v128 {
  const z = f32x4.mul(f32x4.abs(x), entry(21));
  const t = f32x4.div(entry(12), addProduct(entry(12), z, entry(22)));
  let p = entry(32);
  for (let i: usize = 31; i >= 23; i--) p = addProduct(entry(i), p, t);
  // Half of erfc(|x| / √2): the area beyond |x|.
  const beyond = f32x4.mul(f32x4.mul(t, entry(22)), exp4(f32x4.sub(p, f32x4.mul(z, z))));
  const below = v128.bitselect(beyond, f32x4.sub(entry(12), beyond), f32x4.lt(x, f32x4.splat(0)));
  return f32x4.mul(x, below);
}

/** σ(z) = 1 / (1 + e^−z), from e^−|z|, which cannot overflow. */
@inline
function sigmoid4(z: v128): v128 {
  const e = exp4(f32x4.neg(f32x4.abs(z)));
  const inverse = f32x4.div(entry(12), f32x4.add(entry(12), e));
  return v128.bitselect(f32x4.mul(e, inverse), inverse, f32x4.lt(z, f32x4.splat(0)));
}

/** silu(x) = x · σ(x). */
export function silu4(x: v128): v128 {
  return f32x4.mul(x, sigmoid4(x));
}

/** ½x · (1 + tanh(u)) = x · σ(2u), u = √(2/π) · (x + 0.044715 x³). */
export function geluTanh4(x: v128): v128 {
  return f32x4.mul(x, sigmoid4(f32x4.mul(x, addProduct(entry(33), entry(34), f32x4.mul(x, x)))));
}

/** c · σ(alpha · c) of c = min(x, 7). pmin keeps a NaN that comes first. */
export function swigluGate4(x: v128): v128 {
  const clamped = f32x4.pmin(x, entry(36));
  return f32x4.mul(clamped, sigmoid4(f32x4.mul(entry(35), clamped)));
}

/** 1 + min(max(x, −7), 7). */
@inline
export function swigluFactor4(x: v128): v128 {
  return f32x4.add(f32x4.pmin(f32x4.pmax(x, entry(37)), entry(36)), entry(12));
}
