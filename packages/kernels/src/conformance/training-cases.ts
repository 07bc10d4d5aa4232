/** The ops of predictor training. */
import { decodeFloat16, encodeFloat16 } from "@flashwick/core";
import type { Ptr } from "../arena.js";
import { SIGMOID_ERROR, sumBound, UNIT_ROUNDOFF } from "./tolerance.js";
import { expectClose, expectEqual } from "./verdict.js";
import { SENTINEL, type Workbench } from "./workbench.js";

export interface GemmCase {
  readonly op: "gemm";
  readonly form: "A·B" | "Aᵀ·B" | "A·Bᵀ";
  readonly m: number;
  readonly n: number;
  readonly k: number;
}

export function gemmTitle(c: GemmCase): string {
  return `gemm ${c.form} [${c.m}, ${c.n}, ${c.k}]: within (k+3)·2^-24·Σ|a·b|`;
}

/** A dense array with row length `ld` in the arena and its values. */
interface Dense {
  readonly ptr: Ptr;
  readonly ld: number;
  at(i: number, j: number): number;
}

function dense(bench: Workbench, rows: number, cols: number): Dense {
  const ld = 4 * Math.ceil(cols / 4) + 4;
  const { ptr, values } = bench.floats(rows * ld);
  return { ptr, ld, at: (i, j) => values[i * ld + j]! };
}

export function runGemm(bench: Workbench, { form, m, n, k }: GemmCase): void {
  const { kernels } = bench;
  const a = form === "Aᵀ·B" ? dense(bench, k, m) : dense(bench, m, k);
  const b = form === "A·Bᵀ" ? dense(bench, n, k) : dense(bench, k, n);
  const c = dense(bench, m, n);
  if (form === "A·B") kernels.gemm(c.ptr, c.ld, a.ptr, a.ld, 1, b.ptr, b.ld, m, n, k);
  else if (form === "Aᵀ·B") kernels.gemm(c.ptr, c.ld, a.ptr, 1, a.ld, b.ptr, b.ld, m, n, k);
  else kernels.gemmTransposed(c.ptr, c.ld, a.ptr, a.ld, b.ptr, b.ld, m, n, k);
  const found = bench.arena.f32(c.ptr, m * c.ld);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      const start = form === "A·Bᵀ" ? 0 : c.at(i, j);
      let [sum, magnitude] = [start, Math.abs(start)];
      for (let l = 0; l < k; l++) {
        const term = (form === "Aᵀ·B" ? a.at(l, i) : a.at(i, l)) * (form === "A·Bᵀ" ? b.at(j, l) : b.at(l, j));
        sum += term;
        magnitude += Math.abs(term);
      }
      expectClose(`c[${i}, ${j}]`, found[i * c.ld + j]!, sum, sumBound(k + 1, magnitude));
    }
    for (let j = 4 * Math.ceil(n / 4); j < c.ld; j++) {
      expectEqual(`c[${i}, ${j}], beyond n`, found[i * c.ld + j], c.at(i, j));
    }
  }
}

export interface Float16Case {
  readonly op: "float16";
}

export function float16Title(_: Float16Case): string {
  return "encodeF16 and decodeF16: every finite half, and all midpoints to even, exactly";
}

export function runFloat16(bench: Workbench, _: Float16Case): void {
  const { arena, kernels } = bench;
  const finite = Array.from({ length: 0x7c00 }, (_, bits) => bits).flatMap((bits) => [bits, bits | 0x8000]);
  const halves = arena.allocate(2 * finite.length);
  const decoded = bench.output(finite.length);
  new Uint16Array(arena.memory.buffer, halves, finite.length).set(finite);
  kernels.decodeF16(decoded, halves, finite.length);
  const values = arena.f32(decoded, finite.length);
  for (const [i, bits] of finite.entries()) expectEqual(`decoded ${bits}`, values[i], Math.fround(decodeFloat16(bits)));
  // Half a unit of the last place of each half away from it, and a little less and more.
  for (const nudge of [0, 2 ** -24, 0.5, 0.5 - 2 ** -12, 0.5 + 2 ** -12]) {
    const wanted = Float32Array.from(values, (value) => value + Math.sign(value) * nudge * unitOfHalf(value));
    const inside = wanted.map((value) => (Math.abs(value) < 65504 ? value : 65504));
    arena.f32(decoded, finite.length).set(inside);
    kernels.encodeF16(halves, decoded, finite.length);
    const encoded = new Uint16Array(arena.memory.buffer, halves, finite.length);
    for (const [i, value] of inside.entries()) expectEqual(`encoded ${value}`, encoded[i], encodeFloat16(value));
    arena.f32(decoded, finite.length).set(Float32Array.from(finite, decodeFloat16));
  }
}

function unitOfHalf(value: number): number {
  return 2 ** (Math.max(-14, Math.floor(Math.log2(Math.abs(value) || 1))) - 10);
}

export interface CrossEntropyCase {
  readonly op: "crossEntropy";
  readonly m: number;
  readonly n: number;
}

export function crossEntropyTitle(c: CrossEntropyCase): string {
  return `crossEntropyGradient [${c.m}, ${c.n}]: gradient within scale·weight·2^-20, loss within (n+16)·2^-24 of itself`;
}

export function runCrossEntropy(bench: Workbench, { m, n }: CrossEntropyCase): void {
  const [positiveWeight, negativeWeight, scale] = [2, 0.25, 1 / 64];
  const z = dense(bench, m, n);
  const logits = bench.arena.f32(z.ptr, m * z.ld);
  for (let i = 0; i < logits.length; i++) logits[i] = logits[i]! * [1, 8, 40, 200][i % 4]!;
  const before = logits.slice();
  const labelStride = Math.ceil(n / 8) + 3;
  const labels = bench.arena.allocate(m * labelStride + 8);
  const bytes = bench.arena.u8(labels, m * labelStride);
  for (let i = 0; i < bytes.length; i++) bytes[i] = bench.random.below(256);
  const found = bench.kernels.crossEntropyGradient(
    z.ptr,
    z.ld,
    labels,
    labelStride,
    m,
    n,
    positiveWeight,
    negativeWeight,
    scale,
  );
  let loss = 0;
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < z.ld; j++) {
      const logit = before[i * z.ld + j]!;
      if (j >= n) {
        expectEqual(`z[${i}, ${j}], beyond n`, logits[i * z.ld + j], logit);
        continue;
      }
      const label = (bytes[i * labelStride + (j >> 3)]! >> (j & 7)) & 1;
      const weight = label ? positiveWeight : negativeWeight;
      const sigmoid = 1 / (1 + Math.exp(-logit));
      loss += weight * (Math.max(label ? -logit : logit, 0) + Math.log1p(Math.exp(-Math.abs(logit))));
      const gradient = scale * weight * (sigmoid - label);
      expectClose(`z[${i}, ${j}]`, logits[i * z.ld + j]!, gradient, scale * weight * SIGMOID_ERROR);
    }
  }
  expectClose("loss", found, loss, loss * (n + 16) * UNIT_ROUNDOFF);
}

export interface OptimiserCase {
  readonly op: "adamW";
  readonly count: number;
  readonly steps: number;
}

export function optimiserTitle(c: OptimiserCase): string {
  return `adamW, ${c.steps} steps over ${c.count}: weights within steps·2^-20·(|w| + lr), gradients zeroed; reluGradient exact`;
}

export function runOptimiser(bench: Workbench, { count, steps }: OptimiserCase): void {
  const [lr, beta1, beta2, epsilon, decay] = [0.01, 0.9, 0.999, 1e-8, 0.01];
  const [w, m, v] = [bench.floats(count), bench.output(count), bench.output(count)];
  bench.kernels.zero(m, count);
  bench.kernels.zero(v, count);
  const weights = w.values.slice();
  const [means, squares] = [new Float64Array(count), new Float64Array(count)];
  for (let step = 1; step <= steps; step++) {
    const g = bench.floats(count);
    bench.kernels.adamW(w.ptr, g.ptr, m, v, count, step, lr, beta1, beta2, epsilon, decay);
    for (let i = 0; i < count; i++) {
      means[i] = beta1 * means[i]! + (1 - beta1) * g.values[i]!;
      squares[i] = beta2 * squares[i]! + (1 - beta2) * g.values[i]! ** 2;
      const [mean, square] = [means[i]! / (1 - beta1 ** step), squares[i]! / (1 - beta2 ** step)];
      weights[i] = weights[i]! - lr * (mean / (Math.sqrt(square) + epsilon) + decay * weights[i]!);
      expectEqual(`g[${i}]`, bench.arena.f32(g.ptr, count)[i], 0);
    }
  }
  const found = bench.arena.f32(w.ptr, count);
  for (let i = 0; i < count; i++) {
    expectClose(`w[${i}]`, found[i]!, weights[i]!, steps * 2 ** -20 * (Math.abs(weights[i]!) + lr));
  }
  compareReluGradient(bench, count);
}

function compareReluGradient(bench: Workbench, count: number): void {
  const x = bench.output(count);
  const gate = bench.floats(count);
  const gates = bench.arena.f32(gate.ptr, count);
  gates[0] = Number.NaN;
  gates[1] = 0;
  bench.kernels.reluGradient(x, gate.ptr, count);
  for (let i = 0; i < count; i++) expectEqual(`x[${i}]`, bench.arena.f32(x, count)[i], gates[i]! > 0 ? SENTINEL : 0);
}
