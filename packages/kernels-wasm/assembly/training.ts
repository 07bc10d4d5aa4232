/** Gradients and the optimiser step. */
import { sumLanes } from "./element";
import { exp4, log1p4 } from "./exponential";

/** A NaN gate lets nothing through. */
export function reluGradient(x: usize, gate: usize, count: usize): void {
  for (const end = x + 4 * count; x < end; x += 16) {
    v128.store(x, v128.and(v128.load(x), f32x4.gt(v128.load(gate), f32x4.splat(0))));
    gate += 16;
  }
}

/** Sum of the loss: f32 along a row, f64 over the rows. */
export function crossEntropyGradient(
  z: usize, ldz: usize, labels: usize, labelStrideBytes: usize, m: usize, n: usize,
  positiveWeight: f32, negativeWeight: f32, scale: f32,
): f64 {
  let loss: f64 = 0;
  for (let i: usize = 0; i < m; i++) {
    loss += <f64>gradientOfRow(z + 4 * i * ldz, labels + i * labelStrideBytes, n, positiveWeight, negativeWeight, scale);
  }
  return loss;
}

function gradientOfRow(z: usize, labels: usize, n: usize, positiveWeight: f32, negativeWeight: f32, scale: f32): f32 {
  const one = f32x4.splat(1), none = f32x4.splat(0);
  const wPositive = f32x4.splat(positiveWeight), wNegative = f32x4.splat(negativeWeight);
  let sum = none;
  for (let j: usize = 0; j < n; j += 4) {
    const logit = v128.load(z + 4 * j);
    // Row lengths are multiples of 4, so a last group lies inside the row; only its columns < n are used.
    const used = i32x4.lt_u(i32x4.add(i32x4.splat(<i32>j), i32x4(0, 1, 2, 3)), i32x4.splat(<i32>n));
    const bits = i32x4.splat(<i32>load<u8>(labels + (j >> 3)) >> <i32>(j & 4));
    const positive = i32x4.ne(v128.and(bits, i32x4(1, 2, 4, 8)), none);
    const weight = v128.bitselect(wPositive, wNegative, positive);
    const e = exp4(f32x4.neg(f32x4.abs(logit)));
    const inverse = f32x4.div(one, f32x4.add(one, e));
    // σ(z), and log(1 + e^z) = max(z, 0) + log(1 + e^-|z|); for a positive the loss is log(1 + e^-z).
    const sigmoid = v128.bitselect(f32x4.mul(e, inverse), inverse, f32x4.lt(logit, none));
    const toward = v128.bitselect(f32x4.neg(logit), logit, positive);
    const softplus = f32x4.add(f32x4.pmax(toward, none), log1p4(e));
    sum = f32x4.add(sum, v128.and(f32x4.mul(weight, softplus), used));
    const gradient = f32x4.mul(f32x4.mul(f32x4.splat(scale), weight), f32x4.sub(sigmoid, v128.and(one, positive)));
    v128.store(z + 4 * j, v128.bitselect(gradient, logit, used));
  }
  return sumLanes(sum);
}

/** `correction`: 1 − β^step; `rest`: 1 − β, made in double precision, as 1 − f32(0.999) is off by 1e-5 of itself. */
export function adamW(
  w: usize, g: usize, m: usize, v: usize, count: usize, correction1: f32, correction2: f32, lr: f32,
  beta1: f32, beta2: f32, rest1: f32, rest2: f32, epsilon: f32, decay: f32,
): void {
  const b1 = f32x4.splat(beta1), b2 = f32x4.splat(beta2);
  const r1 = f32x4.splat(rest1), r2 = f32x4.splat(rest2);
  const c1 = f32x4.splat(correction1), c2 = f32x4.splat(correction2);
  for (let i: usize = 0; i < 4 * count; i += 16) {
    const gradient = v128.load(g + i);
    const mean = f32x4.add(f32x4.mul(b1, v128.load(m + i)), f32x4.mul(r1, gradient));
    const square = f32x4.add(f32x4.mul(b2, v128.load(v + i)), f32x4.mul(r2, f32x4.mul(gradient, gradient)));
    v128.store(m + i, mean);
    v128.store(v + i, square);
    const weight = v128.load(w + i);
    const step = f32x4.div(
      f32x4.div(mean, c1),
      f32x4.add(f32x4.sqrt(f32x4.div(square, c2)), f32x4.splat(epsilon)),
    );
    const update = f32x4.add(step, f32x4.mul(f32x4.splat(decay), weight));
    v128.store(w + i, f32x4.sub(weight, f32x4.mul(f32x4.splat(lr), update)));
    v128.store(g + i, f32x4.splat(0));
  }
}
