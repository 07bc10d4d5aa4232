/** `copyRows`, `addRowsScaled`: some vectors of a batch, and back. */
import { addProduct } from "./element";
import { padded } from "./vector";

export function copyRows(out: usize, x: usize, rows: usize, n: usize, cols: usize): void {
  const stride = padded(cols) * 4;
  for (let i: usize = 0; i < n; i++) memory.copy(out + i * stride, x + <usize>load<u32>(rows + 4 * i) * stride, stride);
}

export function addRowsScaled(out: usize, x: usize, rows: usize, factors: usize, n: usize, cols: usize): void {
  const stride = padded(cols) * 4;
  for (let i: usize = 0; i < n; i++) {
    addRow(out + <usize>load<u32>(rows + 4 * i) * stride, x + i * stride, cols, load<f32>(factors + 4 * i));
  }
}

/** Padding is no part of it: a factor that is not finite would make NaN of its zeros. */
@inline
function addRow(out: usize, x: usize, cols: usize, factor: f32): void {
  const f = f32x4.splat(factor);
  const end = out + 4 * cols;
  for (; out + 16 <= end; out += 16) {
    v128.store(out, addProduct(v128.load(out), v128.load(x), f));
    x += 16;
  }
  for (; out < end; out += 4) {
    store<f32>(out, load<f32>(out) + load<f32>(x) * factor);
    x += 4;
  }
}
