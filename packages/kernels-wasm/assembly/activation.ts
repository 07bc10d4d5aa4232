/** The FFN's activation functions, four lanes at a time: each element by itself, whatever its neighbours. NaN stays NaN. */
import { gelu4, geluTanh4, silu4, swigluFactor4, swigluGate4 } from "./exponential";

/** As in kernels/src/activation-code.ts. */
const RELU: i32 = 0;
const RELU2: i32 = 1;
const FATRELU: i32 = 2;
const SILU: i32 = 3;
const GELU: i32 = 4;
const SWIGLU_CLAMPED: i32 = 6;

/** f of one code; `threshold` is that of FATRELU. */
function activate4(x: v128, kind: i32, threshold: f32): v128 {
  if (kind == RELU) return f32x4.max(x, f32x4.splat(0));
  if (kind == RELU2) {
    const positive = f32x4.max(x, f32x4.splat(0));
    return f32x4.mul(positive, positive);
  }
  // What is not at most the threshold: a NaN is kept.
  if (kind == FATRELU) return v128.andnot(x, f32x4.le(x, f32x4.splat(threshold)));
  if (kind == SILU) return silu4(x);
  if (kind == SWIGLU_CLAMPED) return swigluGate4(x);
  return kind == GELU ? gelu4(x) : geluTanh4(x);
}

/** f(gate) · g(up). */
@inline
function gate4(gate: v128, up: v128, kind: i32, threshold: f32, upRelu: i32): v128 {
  return f32x4.mul(activate4(gate, kind, threshold), factor4(up, kind, upRelu));
}

/** g: that of SWIGLU_CLAMPED, relu, or nothing. */
@inline
function factor4(up: v128, kind: i32, upRelu: i32): v128 {
  if (kind == SWIGLU_CLAMPED) return swigluFactor4(up);
  return upRelu ? f32x4.max(up, f32x4.splat(0)) : up;
}

/** f of the f32 in [p, end), in place. */
export function activateRange(p: usize, end: usize, kind: i32, threshold: f32): void {
  for (; p + 16 <= end; p += 16) v128.store(p, activate4(v128.load(p), kind, threshold));
  for (; p < end; p += 4) v128.store32_lane(p, activate4(v128.load32_zero(p), kind, threshold), 0);
}

/** act = f(gate) · g(up) of `count` f32. */
export function gate(act: usize, gates: usize, up: usize, count: usize, kind: i32, threshold: f32, upRelu: i32): void {
  const end = act + 4 * count;
  for (; act + 16 <= end; act += 16) {
    v128.store(act, gate4(v128.load(gates), v128.load(up), kind, threshold, upRelu));
    gates += 16; up += 16;
  }
  for (; act < end; act += 4) {
    v128.store32_lane(act, gate4(v128.load32_zero(gates), v128.load32_zero(up), kind, threshold, upRelu), 0);
    gates += 4; up += 4;
  }
}
