/**
 * The ops as WGSL. All operands lie in one buffer of words, the mirror of an arena; a pointer of the arena is a byte offset into it
 * (prelude.ts). Rows of ggml's blocks have shaders of their own (block-shaders.ts).
 *
 * Order of summation. Dot products: a team of threads (a subgroup where the adapter offers them, else a workgroup) takes a row word by word, each thread every
 * n-th word, ascending; then the team's own sum. The order depends on the row's length and place alone. `ffnDown` and the values of attention: ascending, in
 * one accumulator. So a batch equals its vectors one by one, and ranges the whole.
 */

import { SWIGLU_ALPHA, SWIGLU_LIMIT } from "@flashwick/core";
import { ACTIVATION_CODE } from "@flashwick/kernels";
import { BLOCK_SHADERS } from "./block-shaders.js";
import { operandConstants, type ShaderName } from "./operands.js";
import { PRELUDE, TYPES } from "./prelude.js";

/** A sum over the 64 threads of a workgroup, by a tree; every thread gets it. */
const REDUCE = /* wgsl */ `
var<workgroup> partial: array<f32, 64>;
fn reduce(thread: u32, value: f32) -> f32 {
  partial[thread] = value;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half >>= 1u) {
    if (thread < half) { partial[thread] += partial[thread + half]; }
    workgroupBarrier();
  }
  let sum = partial[0];
  workgroupBarrier();
  return sum;
}
`;

/** Who shares a dot product, and how they add up. A workgroup of 64 threads is one team or several, and each team has a row at a time. */
interface Teams {
  /** Before everything else. */
  readonly directives: string;
  readonly functions: string;
  /** What `main` must ask for besides. */
  readonly inputs: string;
  /** Number of the team and of teams, number within the team and its size. */
  readonly team: string;
  readonly teams: string;
  readonly lane: string;
  readonly lanes: string;
  /** Sum of the team's `own`. */
  readonly sum: string;
}

const WORKGROUP: Teams = {
  directives: "",
  functions: REDUCE,
  inputs: "",
  ...{ team: "0u", teams: "1u", lane: "thread", lanes: "64u" },
  sum: "reduce(thread, own)",
};

/** Registers, and no barrier. */
const SUBGROUPS: Teams = {
  directives: "enable subgroups;\nrequires subgroup_id;\n",
  functions: "",
  inputs:
    ", @builtin(subgroup_id) team: u32, @builtin(num_subgroups) teams: u32, @builtin(subgroup_invocation_id) lane: u32, @builtin(subgroup_size) lanes: u32",
  ...{ team: "team", teams: "teams", lane: "lane", lanes: "lanes" },
  sum: "subgroupAdd(own)",
};

/** Σ w[k] · x[k] over the words that are this lane's, where rows are whole words, or over its elements. */
const DOT = /* wgsl */ `
fn dotOfLane(lane: u32, lanes: u32, dtype: u32, row: u32, x: u32, n: u32) -> f32 {
  var sum = 0.0;
  let bytes = elementBytes(dtype);
  if (((row | (n * bytes)) & 3u) != 0u) {
    for (var k = lane; k < n; k += lanes) { sum += element(dtype, row, k) * load(x + 4u * k); }
    return sum;
  }
  let words = (n * bytes) >> 2u;
  let first = row >> 2u;
  switch dtype {
    case F32: { for (var k = lane; k < words; k += lanes) { sum += bitcast<f32>(mem[first + k]) * load(x + 4u * k); } }
    case F16: {
      for (var k = lane; k < words; k += lanes) {
        let pair = unpack2x16float(mem[first + k]);
        sum += pair.x * load(x + 8u * k);
        sum += pair.y * load(x + 8u * k + 4u);
      }
    }
    case BF16: {
      for (var k = lane; k < words; k += lanes) {
        let word = mem[first + k];
        sum += bitcast<f32>(word << 16u) * load(x + 8u * k);
        sum += bitcast<f32>(word & 0xffff0000u) * load(x + 8u * k + 4u);
      }
    }
    case INT8: {
      for (var k = lane; k < words; k += lanes) {
        let four = mem[first + k];
        for (var i = 0u; i < 4u; i++) { sum += f32(bitcast<i32>(four << (24u - 8u * i)) >> 24u) * load(x + 16u * k + 4u * i); }
      }
    }
    default: { return unknownType(dtype); }
  }
  return sum;
}
`;

/** erf within 1.5e-7: Abramowitz and Stegun 7.1.26. */
const GELU = /* wgsl */ `
fn gelu(x: f32) -> f32 {
  let z = abs(x) * 0.70710678118654752;
  let t = 1.0 / (1.0 + 0.3275911 * z);
  let poly = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  let tail = select(poly * exp(-z * z), 0.0, z > 9.0);
  return select(0.5 * x * tail, x - 0.5 * x * tail, x > 0.0);
}
`;

/**
 * f of the codes in kernels/src/activation-code.ts, and f(gate) · g(up). What max and comparisons make of NaN is the implementation's choice: a NaN must be seen, so it is
 * taken by its bits.
 */
const ACTIVATIONS = /* wgsl */ `
const SWIGLU_CLAMPED = ${ACTIVATION_CODE["swiglu-clamped"]}u;
const SWIGLU_LIMIT = f32(${SWIGLU_LIMIT});
const SWIGLU_ALPHA = f32(${SWIGLU_ALPHA});
fn isNan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
fn relu(x: f32) -> f32 { return select(max(x, 0.0), x, isNan(x)); }
fn sigmoid(z: f32) -> f32 {
  let e = exp(-min(abs(z), 88.0));
  return select(1.0, e, z < 0.0) / (1.0 + e);
}
fn activate(kind: u32, threshold: f32, x: f32) -> f32 {
  if (isNan(x)) { return x; }
  switch kind {
    case 0u: { return max(x, 0.0); }
    case 1u: { let positive = max(x, 0.0); return positive * positive; }
    case 2u: { return select(0.0, x, x > threshold); }
    case 3u: { return x * sigmoid(x); }
    case 4u: { return gelu(x); }
    case SWIGLU_CLAMPED: { let clamped = min(x, SWIGLU_LIMIT); return clamped * sigmoid(SWIGLU_ALPHA * clamped); }
    default: { return x * sigmoid(1.5957691216057308 * x + 0.0713548162726009 * x * x * x); }
  }
}
fn factorOf(kind: u32, upRelu: u32, up: f32) -> f32 {
  if (kind == SWIGLU_CLAMPED && !isNan(up)) { return clamp(up, -SWIGLU_LIMIT, SWIGLU_LIMIT) + 1.0; }
  return select(up, relu(up), upRelu == 1u);
}
fn activateGated(kind: u32, threshold: f32, upRelu: u32, gate: f32, up: f32) -> f32 {
  return activate(kind, threshold, gate) * factorOf(kind, upRelu, up);
}
`;

/** A workgroup `rowsAGroup` rows of a token. */
const LINEAR = (rowsAGroup: number, { inputs, team, teams, lane, lanes, sum }: Teams) => /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32${inputs}) {
  let first = u(opRowBegin) + ${rowsAGroup}u * (group.x + group.y * 32768u);
  let rows = u(opRows); let cols = u(opCols); let dtype = u(opDtype); let end = u(opRowEnd);
  let x = u(opX) + 4u * group.z * pad(cols);
  let out = u(opOut) + 4u * group.z * pad(rows);
  for (var step = 0u; step < ${rowsAGroup}u; step += ${teams}) {
    let row = first + step + ${team};
    var own = 0.0;
    if (row < end) { own = dotOfLane(${lane}, ${lanes}, dtype, u(opData) + row * cols * elementBytes(dtype), x, cols); }
    var total = ${sum};
    if (row < end && ${lane} == 0u) {
      if (dtype == INT8) { total *= load(u(opScales) + 4u * row); }
      if (u(opBias) != 0u) { total += load(u(opBias) + 4u * row); }
      store(out + 4u * row, total);
    }
  }
  if (end == rows && group.x + group.y == 0u && rows + thread < pad(rows)) { store(out + 4u * (rows + thread), 0.0); }
}
`;

/**
 * A workgroup `rowsAGroup` neurons of a token.
 */
const FFN_UP = (rowsAGroup: number, { inputs, team, teams, lane, lanes, sum }: Teams) => /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32${inputs}) {
  let first = u(opBegin) + ${rowsAGroup}u * (group.x + group.y * 32768u);
  let n = u(opN); let dModel = u(opDModel); let dtype = u(opDtype); let end = u(opEnd);
  let x = u(opX) + 4u * group.z * pad(dModel);
  let act = u(opAct) + 4u * group.z * pad(n);
  for (var step = 0u; step < ${rowsAGroup}u; step += ${teams}) {
    let i = first + step + ${team};
    var slot = 0u;
    var own = 0.0;
    if (i < end) {
      slot = mem[(u(opSlots) >> 2u) + i];
      own = dotOfLane(${lane}, ${lanes}, dtype, u(opUp) + slot * u(opStride), x, dModel);
    }
    var total = ${sum};
    let scales = u(opScales) + slot * u(opStride);
    if (i < end && ${lane} == 0u) {
      if (dtype == INT8) { total *= load(scales); }
      if (u(opBias) != 0u) { total += load(u(opBias) + 4u * slot); }
    }
    if (u(opIsGated) == 0u) {
      if (i < end && ${lane} == 0u) { store(act + 4u * i, activate(u(opKind), fu(opThreshold), total)); }
      continue;
    }
    own = 0.0;
    let isGiven = u(opIsGated) == 2u;
    if (i < end && !isGiven) { own = dotOfLane(${lane}, ${lanes}, dtype, u(opGate) + slot * u(opStride), x, dModel); }
    var gate = ${sum};
    if (i < end && ${lane} == 0u) {
      if (isGiven) { gate = load(act + 4u * i); }
      else if (dtype == INT8) { gate *= load(scales - 4u); }
      if (u(opGateBias) != 0u) { gate += load(u(opGateBias) + 4u * slot); }
      store(act + 4u * i, activateGated(u(opKind), fu(opThreshold), u(opUpRelu), gate, total));
    }
  }
  if (end == n && group.x + group.y == 0u && n + thread < pad(n)) { store(act + 4u * (n + thread), 0.0); }
}
`;

/** A thread a column and token. */
const FFN_DOWN = /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let j = u(opColBegin) + group.x * 64u + thread;
  if (j >= u(opColEnd)) { return; }
  let n = u(opN); let dModel = u(opDModel); let dtype = u(opDtype);
  if (j >= dModel) { return; }
  let act = u(opAct) + 4u * group.z * pad(n);
  let out = u(opOut) + 4u * (group.z * pad(dModel) + j);
  var sum = load(out);
  for (var i = 0u; i < n; i++) {
    var factor = load(act + 4u * i);
    if (factor == 0.0) { continue; }
    let record = mem[(u(opSlots) >> 2u) + i] * u(opStride);
    if (dtype == INT8) { factor *= load(u(opScales) + record); }
    sum += factor * element(dtype, u(opDown) + record, j);
  }
  store(out, sum);
}
`;

/** A workgroup a token. */
const LAYER_NORM = /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let n = u(opN);
  let row = 4u * group.x * pad(n);
  let x = u(opX) + row;
  var sum = 0.0;
  for (var i = thread; i < n; i += 64u) { sum += load(x + 4u * i); }
  let mean = reduce(thread, sum) / f32(n);
  var squares = 0.0;
  for (var i = thread; i < n; i += 64u) { let d = load(x + 4u * i) - mean; squares += d * d; }
  let factor = 1.0 / sqrt(reduce(thread, squares) / f32(n) + fu(opEpsilon));
  for (var i = thread; i < pad(n); i += 64u) {
    if (i >= n) { store(u(opOut) + row + 4u * i, 0.0); continue; }
    var value = (load(x + 4u * i) - mean) * factor;
    if (u(opWeight) != 0u) { value *= load(u(opWeight) + 4u * i); }
    if (u(opBias) != 0u) { value += load(u(opBias) + 4u * i); }
    store(u(opOut) + row + 4u * i, value);
  }
}
`;

/** A workgroup a token. */
const RMS_NORM = /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let n = u(opN);
  let row = 4u * group.x * pad(n);
  let x = u(opX) + row;
  var squares = 0.0;
  for (var i = thread; i < n; i += 64u) { let value = load(x + 4u * i); squares += value * value; }
  let factor = 1.0 / sqrt(reduce(thread, squares) / f32(n) + fu(opEpsilon));
  for (var i = thread; i < pad(n); i += 64u) {
    if (i >= n) { store(u(opOut) + row + 4u * i, 0.0); continue; }
    var value = load(x + 4u * i) * factor;
    if (u(opWeight) != 0u) { value *= load(u(opWeight) + 4u * i); }
    store(u(opOut) + row + 4u * i, value);
  }
}
`;

/** A workgroup a head and token; each thread writes what it alone reads. */
const NORM_HEADS = /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let n = u(opHeadDim);
  let x = u(opX) + 4u * (group.y * pad(u(opNHeads) * n) + group.x * n);
  var mean = 0.0;
  if (u(opIsRms) == 0u) {
    var sum = 0.0;
    for (var i = thread; i < n; i += 64u) { sum += load(x + 4u * i); }
    mean = reduce(thread, sum) / f32(n);
  }
  var squares = 0.0;
  for (var i = thread; i < n; i += 64u) { let d = load(x + 4u * i) - mean; squares += d * d; }
  let factor = 1.0 / sqrt(reduce(thread, squares) / f32(n) + fu(opEpsilon));
  for (var i = thread; i < n; i += 64u) {
    var value = (load(x + 4u * i) - mean) * factor;
    if (u(opWeight) != 0u) { value *= load(u(opWeight) + 4u * i); }
    if (u(opBias) != 0u) { value += load(u(opBias) + 4u * i); }
    store(x + 4u * i, value);
  }
}
`;

/** A thread an element. */
const GATE = /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let i = id.x + id.y * 65536u;
  if (i >= u(opCount)) { return; }
  store(u(opAct) + 4u * i, activateGated(u(opKind), fu(opThreshold), u(opUpRelu), load(u(opGate) + 4u * i), load(u(opUp) + 4u * i)));
}
`;

/** A thread an element. `op`: 0 add, 1 relu, 2 zero, 3 scale, 4 addScaled. relu keeps NaN, as max of two floats need not: by its bits. */
const ELEMENTWISE = /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let i = id.x + id.y * 65536u;
  if (i >= u(opCount)) { return; }
  let at = u(opOut) + 4u * i;
  switch u(opOp) {
    case 0u: { store(at, load(at) + load(u(opX) + 4u * i)); }
    case 1u: {
      let word = mem[at >> 2u];
      let isNan = (word & 0x7fffffffu) > 0x7f800000u;
      if ((word >> 31u) == 1u && !isNan) { mem[at >> 2u] = 0u; }
    }
    case 2u: { mem[at >> 2u] = 0u; }
    case 3u: { store(at, load(at) * fu(opFactor)); }
    default: { store(at, load(at) + rounded(load(u(opX) + 4u * i) * fu(opFactor), u(opZero))); }
  }
}
`;

/** A thread an element of a row, of its padding, too; bits are copied. */
const COPY_ROWS = /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let stride = pad(u(opCols));
  if (id.x >= stride) { return; }
  let row = mem[(u(opRows) >> 2u) + id.y];
  mem[(u(opOut) >> 2u) + id.y * stride + id.x] = mem[(u(opX) >> 2u) + row * stride + id.x];
}
`;

/** A thread an element of a row; no two have the same target, since rows are distinct. */
const ADD_ROWS_SCALED = /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let stride = pad(u(opCols));
  if (id.x >= u(opCols)) { return; }
  let at = u(opOut) + 4u * (mem[(u(opRows) >> 2u) + id.y] * stride + id.x);
  let product = load(u(opX) + 4u * (id.y * stride + id.x)) * load(u(opFactors) + 4u * id.y);
  store(at, load(at) + rounded(product, u(opZero)));
}
`;

/** A thread an element of the row, of its padding, too. */
const GATHER_ROW = /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let cols = u(opCols); let dtype = u(opDtype);
  if (id.x >= pad(cols)) { return; }
  if (id.x >= cols) { store(u(opOut) + 4u * id.x, 0.0); return; }
  var value = element(dtype, u(opData) + u(opRow) * cols * elementBytes(dtype), id.x);
  if (dtype == INT8) { value *= load(u(opScales) + 4u * u(opRow)); }
  store(u(opOut) + 4u * id.x, value);
}
`;

/**
 * A thread a key or a value of a head and token; y is 1 for
 * values. Neighbouring rows may share a word, so words are changed atomically.
 */
const STORE_KV = /* wgsl */ `${TYPES}
struct Parameters { v: array<vec4<u32>, 5> }
@group(0) @binding(0) var<storage, read_write> mem: array<atomic<u32>>;
@group(0) @binding(1) var<uniform> parameters: Parameters;
fn u(i: u32) -> u32 { return parameters.v[i >> 2u][i & 3u]; }
fn load(ptr: u32) -> f32 { return bitcast<f32>(atomicLoad(&mem[ptr >> 2u])); }
fn put(at: u32, bits: u32, mask: u32) {
  let shift = 8u * (at & 3u);
  atomicAnd(&mem[at >> 2u], ~(mask << shift));
  atomicOr(&mem[at >> 2u], (bits & mask) << shift);
}
// Binary16 to nearest, ties to even: what pack2x16float rounds to is the implementation's choice.
fn half(value: f32) -> u32 {
  let word = bitcast<u32>(clamp(value, -65504.0, 65504.0));
  let sign = (word >> 16u) & 0x8000u;
  let magnitude = word & 0x7fffffffu;
  if (magnitude >= 0x38800000u) {
    let rounded = magnitude + 0x0fffu + ((magnitude >> 13u) & 1u);
    return sign | ((rounded - 0x38000000u) >> 13u);
  }
  // Subnormal halves: the significand is shifted out by as much as the exponent lacks.
  let exponent = magnitude >> 23u;
  if (exponent < 102u) { return sign; }
  let significand = (magnitude & 0x7fffffu) | 0x800000u;
  let shift = 126u - exponent;
  let kept = significand >> shift;
  let rest = significand & ((1u << shift) - 1u);
  let middle = 1u << (shift - 1u);
  return sign | (kept + select(0u, 1u, rest > middle || (rest == middle && (kept & 1u) == 1u)));
}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let heads = u(opNKvHeads); let headDim = u(opHeadDim);
  if (id.x >= heads * u(opNTokens)) { return; }
  let head = id.x % heads; let t = id.x / heads;
  let source = u(opK + id.y) + 4u * (t * ((heads * headDim + 15u) & ~15u) + head * headDim);
  let position = u(opPosition) + t;
  let part = atomicLoad(&mem[(u(opPages) >> 2u) + (position >> 4u)]) + u(opOffset);
  let rows = 16u * heads;
  let row = id.y * rows + 16u * head + (position & 15u);
  switch u(opDtype) {
    case F32: { for (var d = 0u; d < headDim; d++) { atomicStore(&mem[(part >> 2u) + row * headDim + d], bitcast<u32>(load(source + 4u * d))); } }
    case F16: { for (var d = 0u; d < headDim; d++) { put(part + 2u * (row * headDim + d), half(load(source + 4u * d)), 0xffffu); } }
    case INT8: {
      var most = 0.0;
      for (var d = 0u; d < headDim; d++) { most = max(most, abs(load(source + 4u * d))); }
      let scale = most / 127.0;
      atomicStore(&mem[((part + 2u * rows * headDim) >> 2u) + row], bitcast<u32>(scale));
      for (var d = 0u; d < headDim; d++) {
        let q = select(i32(round(clamp(load(source + 4u * d) / scale, -127.0, 127.0))), 0, scale == 0.0);
        put(part + row * headDim + d, bitcast<u32>(q), 0xffu);
      }
    }
    default: {}
  }
}
`;

/** A thread a pair. */
const ROTATE = /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let half = u(opDims) / 2u;
  let perToken = u(opNHeads) * half;
  if (id.x >= perToken * u(opNTokens)) { return; }
  let t = id.x / perToken; let rest = id.x % perToken;
  let head = rest / half; let d = rest % half;
  let angle = 4u * ((u(opPosition) + t) * half + d);
  let c = load(u(opCos) + angle); let s = load(u(opSin) + angle);
  let step = select(1u, 2u, u(opNeighbours) == 1u);
  let first = u(opX) + 4u * (t * pad(u(opNHeads) * u(opHeadDim)) + head * u(opHeadDim) + step * d);
  let second = first + select(4u * half, 4u, u(opNeighbours) == 1u);
  let a = load(first); let b = load(second);
  let ac = a * c; let bs = b * s; let bc = b * c; let as_ = a * s;
  store(first, ac - bs);
  store(second, bc + as_);
}
`;

/**
 * A workgroup a head and token. Row numbers count a part's keys and then its values, as its scales do.
 */
const ATTENTION = /* wgsl */ `
const WIDEST = 256u;
var<workgroup> weights: array<f32, 64>;
var<workgroup> query: array<f32, WIDEST>;
fn bf16(x: f32) -> f32 {
  let word = bitcast<u32>(x);
  return bitcast<f32>((word + 0x7fffu + ((word >> 16u) & 1u)) & 0xffff0000u);
}
// This layer's part of the page of position j.
fn part(j: u32) -> u32 { return mem[(u(opPages) >> 2u) + (j >> 4u)] + u(opOffset); }
fn row(kvHead: u32, j: u32) -> u32 { return 16u * kvHead + (j & 15u); }
// Of int8, whose elements are bytes.
fn rowScale(part: u32, row: u32) -> f32 { return load(part + 32u * u(opNKvHeads) * u(opHeadDim) + 4u * row); }
fn score(head: u32, kvHead: u32, j: u32) -> f32 {
  let headDim = u(opHeadDim); let dtype = u(opDtype);
  let page = part(j); let keyRow = row(kvHead, j);
  let key = page + keyRow * headDim * elementBytes(dtype);
  var sum = 0.0;
  for (var d = 0u; d < headDim; d++) { sum += query[d] * element(dtype, key, d); }
  if (dtype == INT8) { sum *= rowScale(page, keyRow); }
  if (u(opSlopes) != 0u) { sum += bf16(load(u(opSlopes) + 4u * head) * bf16(f32(j))); }
  return sum * fu(opScale);
}
var<workgroup> largest: array<f32, 64>;
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let head = u(opHeadBegin) + group.x; let t = group.y;
  let headDim = u(opHeadDim); let nHeads = u(opNHeads); let dtype = u(opDtype);
  let kvHead = (head * u(opNKvHeads)) / nHeads;
  let nKeys = u(opPosition) + t + 1u;
  let firstKey = select(0u, nKeys - u(opWindow), u(opWindow) != 0u && nKeys > u(opWindow));
  let vector = 4u * (t * pad(nHeads * headDim) + head * headDim);
  for (var d = thread; d < headDim; d += 64u) { query[d] = load(u(opQ) + vector + 4u * d); }
  workgroupBarrier();
  var most = -3.4e38;
  for (var j = firstKey + thread; j < nKeys; j += 64u) { most = max(most, score(head, kvHead, j)); }
  largest[thread] = most;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half >>= 1u) {
    if (thread < half) { largest[thread] = max(largest[thread], largest[thread + half]); }
    workgroupBarrier();
  }
  var top = largest[0];
  if (u(opSinks) != 0u) { top = max(top, load(u(opSinks) + 4u * head)); }
  var sum = 0.0;
  var mixed: array<f32, 4>;
  for (var begin = firstKey; begin < nKeys; begin += 64u) {
    workgroupBarrier();
    let j = begin + thread;
    weights[thread] = 0.0;
    if (j < nKeys) { weights[thread] = exp(score(head, kvHead, j) - top); }
    workgroupBarrier();
    let count = min(64u, nKeys - begin);
    for (var i = 0u; i < count; i++) {
      let page = part(begin + i); let valueRow = 16u * u(opNKvHeads) + row(kvHead, begin + i);
      var weight = weights[i];
      sum += weight;
      if (dtype == INT8) { weight *= rowScale(page, valueRow); }
      let value = page + valueRow * headDim * elementBytes(dtype);
      for (var block = 0u; block < 4u; block++) {
        let d = thread + 64u * block;
        if (d < headDim) { mixed[block] += weight * element(dtype, value, d); }
      }
    }
  }
  if (u(opSinks) != 0u) { sum += exp(load(u(opSinks) + 4u * head) - top); }
  for (var block = 0u; block < 4u; block++) {
    let d = thread + 64u * block;
    if (d < headDim) { store(u(opOut) + vector + 4u * d, mixed[block] / sum); }
  }
  let width = nHeads * headDim;
  if (head == nHeads - 1u && width + thread < pad(width)) { store(u(opOut) + 4u * (t * pad(width) + width + thread), 0.0); }
}
`;

/**
 * A thread a word of answers: bit i says that score i is above. Compared as integers of the same order, since what
 * comparisons make of NaN and infinities is the implementation's choice.
 */
const SELECT_ABOVE = /* wgsl */ `
fn order(word: u32) -> u32 {
  let bits = select(word, 0u, word == 0x80000000u);
  return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn isNan(word: u32) -> bool { return (word & 0x7fffffffu) > 0x7f800000u; }
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let first = 32u * id.x;
  if (first >= u(opN)) { return; }
  var answer = 0u;
  for (var i = 0u; i < min(32u, u(opN) - first); i++) {
    let score = mem[(u(opScores) >> 2u) + first + i];
    if (!isNan(score) && !isNan(u(opThreshold)) && order(score) > order(u(opThreshold))) { answer |= 1u << i; }
  }
  mem[(u(opOut) >> 2u) + id.x] = answer;
}
`;

/** Widest head that `attention` takes. */
export const WIDEST_HEAD = 256;

/** Threads of a workgroup. */
export const WORKGROUP_THREADS = 64;

/**
 * WGSL of every op.
 *
 * @param rowsAGroup Rows of `linear`, neurons of `ffnUp`, that a workgroup has.
 * @param subgroups  Whether the device has them, and the language their numbers.
 */
export function shaders(rowsAGroup: number, subgroups: boolean): Readonly<Record<ShaderName, string>> {
  const teams = subgroups ? SUBGROUPS : WORKGROUP;
  const prelude = teams.directives + PRELUDE + teams.functions + DOT;
  return withOperands({
    linear: prelude + LINEAR(rowsAGroup, teams),
    ffnUp: prelude + GELU + ACTIVATIONS + FFN_UP(rowsAGroup, teams),
    ffnDown: PRELUDE + FFN_DOWN,
    layerNorm: PRELUDE + REDUCE + LAYER_NORM,
    rmsNorm: PRELUDE + REDUCE + RMS_NORM,
    normHeads: PRELUDE + REDUCE + NORM_HEADS,
    gate: PRELUDE + GELU + ACTIVATIONS + GATE,
    elementwise: PRELUDE + ELEMENTWISE,
    copyRows: PRELUDE + COPY_ROWS,
    addRowsScaled: PRELUDE + ADD_ROWS_SCALED,
    gatherRow: PRELUDE + GATHER_ROW,
    storeKv: STORE_KV,
    rotate: PRELUDE + ROTATE,
    attention: PRELUDE + ATTENTION,
    selectAbove: PRELUDE + SELECT_ABOVE,
    ...BLOCK_SHADERS,
  });
}

/** The same, each with the names of its operands: behind the rest, since directives come first. */
function withOperands(bodies: Readonly<Record<ShaderName, string>>): Readonly<Record<ShaderName, string>> {
  const named = Object.entries(bodies).map(([name, body]) => [name, body + operandConstants(name as ShaderName)]);
  return Object.fromEntries(named) as Record<ShaderName, string>;
}
