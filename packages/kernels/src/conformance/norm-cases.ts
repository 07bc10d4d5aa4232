/** `layerNorm`, `rmsNorm`, `normHeads`. */
import { paddedLength } from "@flashwick/core";
import type { HeadNorm } from "../contract.js";
import { UNIT_ROUNDOFF } from "./tolerance.js";
import { expectClose, expectSameBits, expectZeros } from "./verdict.js";
import type { Workbench } from "./workbench.js";

const EPSILON = 1e-5;

export interface LayerNormCase {
  readonly op: "layerNorm";
  readonly n: number;
  readonly nTokens: number;
  readonly affine: boolean;
}

export interface RmsNormCase {
  readonly op: "rmsNorm";
  readonly n: number;
  readonly nTokens: number;
  readonly affine: boolean;
}

export interface NormHeadsCase {
  readonly op: "normHeads";
  readonly kind: HeadNorm["kind"];
  readonly nHeads: number;
  readonly headDim: number;
  readonly nTokens: number;
  readonly affine: boolean;
}

const BOUND: Readonly<Record<HeadNorm["kind"], string>> = {
  layer: "within (n+8)·2^-23·max|x|/σ·|weight|",
  rms: "within (n+8)·2^-23·|x|/rms·|weight|",
};

export function layerNormTitle(c: LayerNormCase): string {
  return `layerNorm [${c.nTokens}, ${c.n}]${c.affine ? " affine" : ""}: ${BOUND.layer}, a batch equals its vectors bit for bit`;
}

export function rmsNormTitle(c: RmsNormCase): string {
  return `rmsNorm [${c.nTokens}, ${c.n}]${c.affine ? " with weight" : ""}: ${BOUND.rms}, a batch equals its vectors bit for bit`;
}

export function normHeadsTitle(c: NormHeadsCase): string {
  const shape = `normHeads ${c.kind} [${c.nTokens}, ${c.nHeads} x ${c.headDim}]${c.affine ? " affine" : ""}`;
  return `${shape}: ${BOUND[c.kind]} of each head, a batch equals its vectors bit for bit`;
}

/** Weight and bias in double precision, ones and zeros where there are none. */
interface Norm extends HeadNorm {
  readonly weights: Float64Array;
  readonly biases: Float64Array;
}

function makeNorm(bench: Workbench, kind: HeadNorm["kind"], n: number, affine: boolean): Norm {
  const weight = affine ? bench.floats(n) : { ptr: 0, values: new Float64Array(n).fill(1) };
  const bias = affine && kind === "layer" ? bench.floats(n) : { ptr: 0, values: new Float64Array(n) };
  const pointers = { kind, weight: weight.ptr, bias: bias.ptr, epsilon: EPSILON };
  return { ...pointers, weights: weight.values, biases: bias.values };
}

/** `found` against the norm of `vector`. */
function compareNormed(what: string, { kind, weights, biases }: Norm, vector: Float64Array, found: Float32Array): void {
  const n = vector.length;
  const mean = kind === "layer" ? vector.reduce((sum, value) => sum + value, 0) / n : 0;
  const sigma = Math.sqrt(vector.reduce((sum, value) => sum + (value - mean) ** 2, 0) / n + EPSILON);
  for (const [i, value] of vector.entries()) {
    const expected = ((value - mean) / sigma) * weights[i]! + biases[i]!;
    const scale = kind === "layer" ? 1 : Math.abs(value);
    const bound = (n + 8) * 2 * UNIT_ROUNDOFF * ((scale * Math.abs(weights[i]!)) / sigma + Math.abs(biases[i]!));
    expectClose(`${what}[${i}]`, found[i]!, expected, bound);
  }
}

export function runLayerNorm(bench: Workbench, c: LayerNormCase): void {
  const norm = makeNorm(bench, "layer", c.n, c.affine);
  runVectors(bench, c, norm, (out, x, nTokens) =>
    bench.kernels.layerNorm(out, x, norm.weight, norm.bias, c.n, nTokens, EPSILON),
  );
}

export function runRmsNorm(bench: Workbench, c: RmsNormCase): void {
  const norm = makeNorm(bench, "rms", c.n, c.affine);
  runVectors(bench, c, norm, (out, x, nTokens) => bench.kernels.rmsNorm(out, x, norm.weight, c.n, nTokens, EPSILON));
}

function runVectors(
  bench: Workbench,
  c: LayerNormCase | RmsNormCase,
  norm: Norm,
  run: (out: number, x: number, nTokens: number) => void,
): void {
  const x = bench.vectors(c.nTokens, c.n);
  const stride = paddedLength(c.n);
  const out = bench.output(c.nTokens * stride);
  run(out, x.ptr, c.nTokens);
  const found = bench.snapshot(out, c.nTokens * stride);
  for (const [t, vector] of x.values.entries()) {
    compareNormed(`out[${t}]`, norm, vector, found.subarray(t * stride));
    expectZeros(`padding of out[${t}]`, found.subarray(t * stride + c.n, (t + 1) * stride));
  }
  // In place, one vector at a time.
  for (let t = 0; t < c.nTokens; t++) {
    const at = x.ptr + 4 * t * stride;
    run(at, at, 1);
  }
  expectSameBits("in place", bench.snapshot(x.ptr, c.nTokens * stride), found);
}

export function runNormHeads(bench: Workbench, c: NormHeadsCase): void {
  const { nHeads, headDim, nTokens } = c;
  const norm = makeNorm(bench, c.kind, headDim, c.affine);
  const x = bench.vectors(nTokens, nHeads * headDim);
  const stride = paddedLength(nHeads * headDim);
  const before = bench.snapshot(x.ptr, nTokens * stride);
  bench.kernels.normHeads(x.ptr, norm, nHeads, headDim, nTokens);
  const found = bench.snapshot(x.ptr, nTokens * stride);
  for (const [t, vector] of x.values.entries()) {
    for (let head = 0; head < nHeads; head++) {
      const from = head * headDim;
      const at = t * stride + from;
      compareNormed(`x[${t}, ${head}]`, norm, vector.subarray(from, from + headDim), found.subarray(at));
    }
    expectZeros(`padding of x[${t}]`, found.subarray(t * stride + vector.length, (t + 1) * stride));
  }
  bench.arena.f32(x.ptr, before.length).set(before);
  for (let t = 0; t < nTokens; t++) bench.kernels.normHeads(x.ptr + 4 * t * stride, norm, nHeads, headDim, 1);
  expectSameBits("one by one", bench.snapshot(x.ptr, before.length), found);
}
