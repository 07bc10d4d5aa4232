/** `ffnUp` and `ffnDown` over neurons in slots. */
import {
  type Activation,
  type ActivationFunction,
  blocksOf,
  isActive,
  paddedLength,
  type RecordDType,
} from "@flashwick/core";
import type { Ptr } from "../arena.js";
import type { Kernels } from "../contract.js";
import { createReferenceKernels } from "../reference/reference-kernels.js";
import {
  activationBound,
  activationError,
  exactActivation,
  exactFactor,
  functionOf,
  gateRoundings,
} from "./exact-activation.js";
import { dot, productBound, productTolerance, sumBound, UNIT_ROUNDOFF } from "./tolerance.js";
import { expectClose, expectSameBits, expectZeros } from "./verdict.js";
import type { StoredNeurons, Vectors, Workbench } from "./workbench.js";

export interface FfnCase {
  readonly op: "ffn";
  /**
   * `close`: to exact arithmetic. Bit for bit: `batch` = its vectors one by one; `ranges` (of neurons going up, of columns
   * coming down) = the whole; `waves` (consecutive segments of the neurons) = all at once; `zeros`: neurons whose
   * activation is zero left out = all.
   */
  readonly check: "close" | "batch" | "ranges" | "waves" | "zeros";
  readonly dtype: RecordDType;
  readonly activation: Activation;
  /** Gated neurons, and what their up projection goes through. */
  readonly gated?: ActivationFunction["up"];
  /** The gates' sums are given, and slots have no gate rows. */
  readonly given?: true;
  readonly dModel: number;
  readonly slotCount: number;
  /** Active neurons. */
  readonly n: number;
  readonly nTokens: number;
  readonly bias: boolean;
}

const MEANING: Readonly<Record<Exclude<FfnCase["check"], "close">, string>> = {
  batch: "a batch equals its vectors one by one",
  ranges: "neuron and column ranges equal the whole",
  waves: "segments one after the other equal all neurons at once",
  zeros: "leaving out zero activations changes nothing",
};

export function ffnTitle(c: FfnCase): string {
  const factor = c.activation === "swiglu-clamped" ? "g(up)" : c.gated === "none" ? "up" : `${c.gated}(up)`;
  const gate = c.gated ? `(${c.given ? "given " : ""}gate) · ${factor}` : "";
  const shape = `ffn ${c.dtype} ${c.activation}${gate} [${c.n} of ${c.slotCount}, ${c.dModel}] x ${c.nTokens}${c.bias ? " + bias" : ""}`;
  if (c.check !== "close") return `${shape}: ${MEANING[c.check]}, bit for bit`;
  const error = activationError(c.activation);
  const slope = c.activation === "relu2" ? "2|x|·" : "";
  const up = `${slope}(${productTolerance(c.dtype)})${error && ` + ${error}`}`;
  return `${shape}: ${c.gated ? "each factor" : "up"} within ${c.activation === "relu" ? productTolerance(c.dtype) : up}, down within (n+3)·2^-24·Σ|act·w|`;
}

/** One case's operands. */
interface Ffn {
  readonly bench: Workbench;
  readonly kernels: Kernels;
  readonly c: FfnCase;
  readonly neurons: StoredNeurons;
  /** `first`: which of the values lies at the pointer. */
  readonly x: Vectors & { readonly first: number };
  readonly slots: readonly number[];
  readonly scratch: Ptr;
}

export function runFfn(bench: Workbench, c: FfnCase): void {
  const stored = bench.neurons(c.dtype, c.dModel, c.slotCount, c.bias, c.gated !== undefined);
  const neurons = c.given ? withoutGateRows(stored) : stored;
  const x = { ...bench.vectors(c.nTokens, c.dModel), first: 0 };
  const { scratchBytes, gatedScratchBytes } = bench.kernels;
  const scratch = bench.scratch((c.gated ? gatedScratchBytes : scratchBytes)(c.dModel, c.nTokens));
  const { kernels } = bench;
  const ffn: Ffn = { bench, kernels, c, neurons, x, slots: shuffledSlots(bench, c), scratch };
  const act = up(ffn, ffn.slots);
  const out = down(ffn, ffn.slots, act.slice());
  if (c.check === "close") compareWithExact(ffn, act, out);
  else if (c.check === "batch") compareOneByOne(ffn, act, out);
  else if (c.check === "ranges") compareRanges(ffn, act, out);
  else if (c.check === "waves") compareWaves(ffn, out);
  else compareWithoutZeros(ffn, act, out);
}

/** The same neurons, of whose records an op knows up and down alone. */
function withoutGateRows(neurons: StoredNeurons): StoredNeurons {
  const { matrix } = neurons;
  const scalesOffsetBytes = matrix.dtype === "int8" ? matrix.scalesOffsetBytes + 4 : 0;
  return { ...neurons, matrix: { ...matrix, scalesOffsetBytes, gate: "given" } };
}

/** What is given: a neuron's gate times a vector, as f32. */
function givenSum({ gate }: StoredNeurons, slot: number, x: Float64Array): number {
  return Math.fround(dot(gate!.rows[slot]!, x) + gate!.bias[slot]!);
}

/** Distinct slots in no order, as a cache leaves them. */
function shuffledSlots(bench: Workbench, c: FfnCase): number[] {
  const slots = Array.from({ length: c.slotCount }, (_, i) => i);
  for (let i = slots.length - 1; i > 0; i--) {
    const j = bench.random.below(i + 1);
    [slots[i], slots[j]] = [slots[j]!, slots[i]!];
  }
  return slots.slice(0, c.n);
}

/** Activations of the neurons in `slots`, `[nTokens, pad(slots.length)]`. */
function up(
  { bench, kernels, c, neurons, x, scratch }: Ffn,
  slots: readonly number[],
  cuts: readonly number[] = [],
): Float32Array {
  const n = slots.length;
  const count = c.nTokens * paddedLength(n);
  const act = bench.output(count);
  if (c.given) {
    const sums = bench.arena.f32(act, count);
    for (let t = 0; t < c.nTokens; t++) {
      const vector = x.values[t + x.first]!;
      for (const [i, slot] of slots.entries()) sums[t * paddedLength(n) + i] = givenSum(neurons, slot, vector);
    }
  }
  const slotPtr = bench.indices(slots);
  const bounds = [0, ...cuts, n];
  const f = functionOf(c.activation, c.gated);
  for (let i = 1; i < bounds.length; i++) {
    const [begin, end] = [bounds[i - 1]!, bounds[i]!];
    kernels.ffnUp(act, x.ptr, neurons.matrix, slotPtr, n, c.nTokens, f, scratch, begin, end);
  }
  return bench.snapshot(act, count);
}

/** What the neurons add to `start` (zeros, if not given), `[nTokens, pad(dModel)]`. */
function down(
  { bench, kernels, c, neurons }: Ffn,
  slots: readonly number[],
  act: Float32Array,
  start = new Float32Array(c.nTokens * paddedLength(c.dModel)),
  cuts: readonly number[] = [],
): Float32Array {
  const out = bench.output(start.length);
  bench.arena.f32(out, start.length).set(start);
  const actPtr = bench.output(act.length);
  bench.arena.f32(actPtr, act.length).set(act);
  const slotPtr = bench.indices(slots);
  const bounds = [0, ...cuts, paddedLength(c.dModel)];
  for (let i = 1; i < bounds.length; i++) {
    const [begin, end] = [bounds[i - 1]!, bounds[i]!];
    kernels.ffnDown(out, actPtr, neurons.matrix, slotPtr, slots.length, c.nTokens, begin, end);
  }
  return bench.snapshot(out, start.length);
}

function compareWithExact(ffn: Ffn, act: Float32Array, out: Float32Array): void {
  const { c, neurons, x, slots } = ffn;
  if (blocksOf(c.dtype)) compareWithReference(ffn, act, out);
  const [actStride, outStride] = [paddedLength(c.n), paddedLength(c.dModel)];
  for (const [t, vector] of x.values.entries()) {
    for (const [i, slot] of slots.entries()) {
      const { expected, bound } = exactNeuron(c, neurons, slot, vector);
      expectClose(`act[${t}, ${i}]`, act[t * actStride + i]!, expected, bound);
    }
    expectZeros(`padding of act[${t}]`, act.subarray(t * actStride + c.n, (t + 1) * actStride));
    const found = act.subarray(t * actStride, t * actStride + c.n);
    compareDown(c, neurons, slots, found, out.subarray(t * outStride, (t + 1) * outStride), t);
  }
}

/** Blocks have one order on every backend: activations that only compare, and columns, are the reference's bit for bit. */
function compareWithReference(ffn: Ffn, act: Float32Array, out: Float32Array): void {
  const kernels = createReferenceKernels(ffn.bench.arena);
  const reference = { ...ffn, kernels };
  if (ffn.c.activation === "relu" || ffn.c.activation === "fatrelu") {
    expectSameBits("act", act, up(reference, ffn.slots));
  }
  expectSameBits("out", out, down(reference, ffn.slots, act.slice()));
}

/** An activation in double precision, and what a backend may be off by. */
function exactNeuron(
  c: FfnCase,
  neurons: StoredNeurons,
  slot: number,
  x: Float64Array,
): { readonly expected: number; readonly bound: number } {
  const { up, bias, gate } = neurons;
  const f = functionOf(c.activation, c.gated);
  const upSum = dot(up[slot]!, x) + bias[slot]!;
  const upBound = productBound(c.dtype, up[slot]!, x, bias[slot]!);
  if (!gate) return { expected: exactActivation(upSum, f), bound: activationBound(upSum, upBound, f) };
  const sum = c.given ? givenSum(neurons, slot, x) : dot(gate.rows[slot]!, x) + gate.bias[slot]!;
  const gateBound = c.given ? 0 : productBound(c.dtype, gate.rows[slot]!, x, gate.bias[slot]!);
  const bound = activationBound(sum, gateBound, f);
  const [fired, met] = [exactActivation(sum, f), exactFactor(upSum, f)];
  const rounding = gateRoundings(f.kind) * UNIT_ROUNDOFF * (Math.abs(fired) + bound) * (Math.abs(met) + upBound);
  return {
    expected: fired * met,
    bound: bound * Math.abs(met) + Math.abs(fired) * upBound + bound * upBound + rounding,
  };
}

function compareDown(
  c: FfnCase,
  neurons: StoredNeurons,
  slots: readonly number[],
  act: Float32Array,
  out: Float32Array,
  t: number,
): void {
  for (let j = 0; j < c.dModel; j++) {
    const terms = slots.map((slot, i) => act[i]! * neurons.down[slot]![j]!);
    const expected = terms.reduce((sum, term) => sum + term, 0);
    const magnitude = terms.reduce((sum, term) => sum + Math.abs(term), 0);
    expectClose(`out[${t}, ${j}]`, out[j]!, expected, sumBound(c.n + 1, magnitude));
  }
  expectZeros(`padding of out[${t}]`, out.subarray(c.dModel));
}

function compareOneByOne(ffn: Ffn, act: Float32Array, out: Float32Array): void {
  const [actStride, outStride] = [paddedLength(ffn.c.n), paddedLength(ffn.c.dModel)];
  for (let t = 0; t < ffn.c.nTokens; t++) {
    const x = { ...ffn.x, ptr: ffn.x.ptr + 4 * t * outStride, first: t };
    const single = { ...ffn, x, c: { ...ffn.c, nTokens: 1 } };
    const actAlone = up(single, ffn.slots);
    expectSameBits(`act[${t}]`, actAlone, act.slice(t * actStride, (t + 1) * actStride));
    expectSameBits(`out[${t}]`, down(single, ffn.slots, actAlone), out.slice(t * outStride, (t + 1) * outStride));
  }
}

function compareRanges(ffn: Ffn, act: Float32Array, out: Float32Array): void {
  const { n, dModel } = ffn.c;
  const neuronCuts = [0, 1, Math.floor(n / 2), n].map((cut) => Math.min(cut, n));
  expectSameBits("act", up(ffn, ffn.slots, neuronCuts), act);
  const columnCuts = [16, 16, 48].filter((cut) => cut <= dModel);
  expectSameBits("out", down(ffn, ffn.slots, act, undefined, columnCuts), out);
}

function compareWaves(ffn: Ffn, out: Float32Array): void {
  let sum = new Float32Array(out.length);
  const cuts = [0, 3, 4, Math.floor(ffn.c.n / 2), ffn.c.n].map((cut) => Math.min(cut, ffn.c.n));
  for (let i = 1; i < cuts.length; i++) {
    const slots = ffn.slots.slice(cuts[i - 1]!, Math.max(cuts[i - 1]!, cuts[i]!));
    sum = Float32Array.from(down(ffn, slots, up(ffn, slots), sum));
  }
  expectSameBits("out", sum, out);
}

/** One token: the neurons with activation zero are left out of the list. */
function compareWithoutZeros(ffn: Ffn, act: Float32Array, out: Float32Array): void {
  const active = [...ffn.slots.keys()].filter((i) => isActive(act[i]!));
  const slots = active.map((i) => ffn.slots[i]!);
  const fewer = new Float32Array(paddedLength(slots.length));
  fewer.set(active.map((i) => act[i]!));
  expectSameBits("out", down(ffn, slots, fewer), out);
}

/** NaN in the vector reaches every activation; a NaN or huge activation reaches the output and nothing else is disturbed. */
export interface FfnExtremesCase {
  readonly op: "ffn-extremes";
  readonly dtype: RecordDType;
}

export function ffnExtremesTitle(c: FfnExtremesCase): string {
  return `ffn ${c.dtype}: NaN is kept, activations beyond 65504 are exact`;
}

export function runFfnExtremes(bench: Workbench, { dtype }: FfnExtremesCase): void {
  const c: FfnCase = {
    op: "ffn",
    check: "close",
    dtype,
    activation: "relu",
    dModel: 32,
    slotCount: 9,
    n: 9,
    nTokens: 1,
    bias: false,
  };
  const neurons = bench.neurons(dtype, c.dModel, c.slotCount, false);
  const x = { ...bench.vectors(1, c.dModel), first: 0 };
  const scratch = bench.scratch(bench.kernels.scratchBytes(c.dModel, 1));
  const slots = Array.from({ length: c.n }, (_, i) => i);
  const ffn: Ffn = { bench, kernels: bench.kernels, c, neurons, x, slots, scratch };
  const act = Float32Array.from({ length: 16 }, (_, i) => (i < c.n ? (i === 4 ? 3e5 : 0.25 * i) : 0));
  compareDown(c, neurons, slots, act.subarray(0, c.n), down(ffn, slots, act), 0);
  act[4] = Number.NaN;
  for (const value of down(ffn, slots, act).subarray(0, c.dModel))
    expectClose("is NaN", Number(Number.isNaN(value)), 1, 0);
  bench.arena.f32(x.ptr, c.dModel)[7] = Number.NaN;
  for (const value of up(ffn, slots).subarray(0, c.n)) expectClose("is NaN", Number(Number.isNaN(value)), 1, 0);
}
