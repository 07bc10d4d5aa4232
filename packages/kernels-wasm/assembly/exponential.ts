/**
 * e^x and what is made of it, four lanes at a time.
 *
 * e^x = 2^n · e^r with n = round(x / ln 2) and |r| ≤ ln 2 / 2, reduced in two steps so that r is good to the last bit
 * (Cody and Waite 1980), then the polynomial of Cephes' expf. Within 2 units in the last place; NaN stays NaN; results
 * below 2^-126 are zero.
 */
import { addProduct } from "./element";

const LOG2_E: f32 = 1.44269504088896341;
const LN2_HIGH: f32 = 0.693359375;
const LN2_LOW: f32 = -2.12194440e-4;
/** ln of the least normal f32, and of what is almost the largest. */
const LEAST: f32 = -87.3365;
const MOST: f32 = 88.3762;

@inline
export function exp4(x: v128): v128 {
  const clamped = f32x4.min(f32x4.max(x, f32x4.splat(LEAST)), f32x4.splat(MOST));
  const n = f32x4.nearest(f32x4.mul(clamped, f32x4.splat(LOG2_E)));
  const r = f32x4.sub(f32x4.sub(clamped, f32x4.mul(n, f32x4.splat(LN2_HIGH))), f32x4.mul(n, f32x4.splat(LN2_LOW)));
  let p = f32x4.splat(1.9875691500e-4);
  p = addProduct(f32x4.splat(1.3981999507e-3), p, r);
  p = addProduct(f32x4.splat(8.3334519073e-3), p, r);
  p = addProduct(f32x4.splat(4.1665795894e-2), p, r);
  p = addProduct(f32x4.splat(1.6666665459e-1), p, r);
  p = addProduct(f32x4.splat(5.0000001201e-1), p, r);
  const e = f32x4.add(addProduct(r, p, f32x4.mul(r, r)), f32x4.splat(1));
  const power = i32x4.shl(i32x4.add(i32x4.trunc_sat_f32x4_s(n), i32x4.splat(127)), 23);
  const result = f32x4.mul(e, power);
  return v128.andnot(result, f32x4.lt(x, f32x4.splat(LEAST)));
}

/**
 * gelu(x) = x · Φ(x) = x · erfc(−x / √2) / 2, with erfc(z) = t · e^(−z² + P(t)), t = 1 / (1 + z/2) for z ≥ 0
 * (Numerical Recipes, 6.2: relative error below 1.2e-7).
 */
export function gelu4(x: v128): v128 {
  const z = f32x4.mul(f32x4.abs(x), f32x4.splat(0.70710678118654752));
  const t = f32x4.div(f32x4.splat(1), addProduct(f32x4.splat(1), z, f32x4.splat(0.5)));
  let p = f32x4.splat(0.17087277);
  p = addProduct(f32x4.splat(-0.82215223), p, t);
  p = addProduct(f32x4.splat(1.48851587), p, t);
  p = addProduct(f32x4.splat(-1.13520398), p, t);
  p = addProduct(f32x4.splat(0.27886807), p, t);
  p = addProduct(f32x4.splat(-0.18628806), p, t);
  p = addProduct(f32x4.splat(0.09678418), p, t);
  p = addProduct(f32x4.splat(0.37409196), p, t);
  p = addProduct(f32x4.splat(1.00002368), p, t);
  p = addProduct(f32x4.splat(-1.26551223), p, t);
  // Half of erfc(|x| / √2): the area beyond |x|.
  const beyond = f32x4.mul(f32x4.mul(t, f32x4.splat(0.5)), exp4(f32x4.sub(p, f32x4.mul(z, z))));
  const below = v128.bitselect(beyond, f32x4.sub(f32x4.splat(1), beyond), f32x4.lt(x, f32x4.splat(0)));
  return f32x4.mul(x, below);
}

/** log(1 + e) for 0 ≤ e ≤ 1: 2 · atanh(s), s = e / (2 + e) ≤ 1/3, seven terms. */
@inline
export function log1p4(e: v128): v128 {
  const s = f32x4.div(e, f32x4.add(e, f32x4.splat(2)));
  const s2 = f32x4.mul(s, s);
  let p = f32x4.splat(<f32>(1.0 / 15.0));
  p = addProduct(f32x4.splat(<f32>(1.0 / 13.0)), p, s2);
  p = addProduct(f32x4.splat(<f32>(1.0 / 11.0)), p, s2);
  p = addProduct(f32x4.splat(<f32>(1.0 / 9.0)), p, s2);
  p = addProduct(f32x4.splat(<f32>(1.0 / 7.0)), p, s2);
  p = addProduct(f32x4.splat(<f32>(1.0 / 5.0)), p, s2);
  p = addProduct(f32x4.splat(<f32>(1.0 / 3.0)), p, s2);
  p = addProduct(f32x4.splat(1), p, s2);
  return f32x4.mul(f32x4.add(s, s), p);
}
