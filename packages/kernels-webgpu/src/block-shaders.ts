/**
 * Rows of ggml's blocks as WGSL: what kernels/src/contract.ts says of them, bit for bit. A row's blocks are read as they lie in the file.
 *
 * `groupVectors` rounds vectors to 15 bits in groups of 32, once for each call of `linear`, into scratch. Of a vector with n groups that is
 * 18·n words, word j of group g at j·n + g, so that neighbouring threads read neighbouring words:
 *
 *   j = 0 … 15  two integers of 16 bits each, elements 2j and 2j + 1
 *   j = 16      the scale s
 *   j = 17      fl(s · Σ q), for types with minima
 *
 * `linear-…`: a workgroup has four rows and up to four vectors, so that weights are read and unpacked once for four vectors. Sixteen threads share
 * a row, each taking every sixteenth group; a thread for each row and vector then adds what they found, ascending.
 *
 * Rounding is not left to chance. What `/` and conversions round to is the implementation's choice in WGSL, so quotients are made of integers, and
 * integers of more than 24 bits become floats in two exact parts. A product may be contracted with the sum that takes it, so its bits pass through an
 * exclusive or with a parameter that is zero, which no compiler knows. Sums and products themselves are rounded to nearest by every device that is
 * known; subnormal results may become zero.
 */
import { type BlockDType, blockBytes, blockElements } from "@flashwick/core";
import type { DeviceBlockDType } from "./device-dtype.js";
import { PRELUDE } from "./prelude.js";

/** Elements of a vector that share a scale. */
const GROUP = 32;
/** Words of a group in scratch. */
const GROUP_WORDS = 18;

/** Rows and vectors that a workgroup of `linear` has. */
export const BLOCK_ROWS = 4;
export const BLOCK_TOKENS = 4;

/** Groups of a vector that a workgroup of `groupVectors` has. */
export const GROUPS_A_WORKGROUP = 2;

/** Bytes of scratch for `nTokens` vectors of `cols` elements. */
export function groupedBytes(cols: number, nTokens: number): number {
  return nTokens * Math.ceil(cols / GROUP) * GROUP_WORDS * 4;
}

/** Halves and words that begin at any multiple of 2. */
const UNALIGNED = /* wgsl */ `
fn byteAt(at: u32) -> u32 { return (mem[at >> 2u] >> (8u * (at & 3u))) & 0xffu; }
fn signedAt(at: u32) -> i32 { return bitcast<i32>(byteAt(at) << 24u) >> 24u; }
fn wordAt(at: u32) -> u32 {
  let low = mem[at >> 2u];
  if ((at & 2u) == 0u) { return low; }
  return (low >> 16u) | (mem[(at >> 2u) + 1u] << 16u);
}
// A half as f32, exactly, whatever the device does with subnormal ones.
fn halfAt(at: u32) -> f32 {
  let half = (mem[at >> 2u] >> (8u * (at & 2u))) & 0xffffu;
  let sign = (half & 0x8000u) << 16u;
  let exponent = half & 0x7c00u;
  if (exponent == 0u) { return bitcast<f32>(sign | bitcast<u32>(f32(half & 0x3ffu) * 0x1p-24)); }
  let bias = select(0x38000000u, 0x70000000u, exponent == 0x7c00u);
  return bitcast<f32>(sign | (((half & 0x7fffu) << 13u) + bias));
}
fn bytesOf(word: u32) -> vec4<i32> {
  return vec4<i32>((vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(0xffu));
}
fn signedBytesOf(word: u32) -> vec4<i32> {
  return bitcast<vec4<i32>>(vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u);
}
`;

/**
 * What a type's bytes say of group g of the row at `row`: 32 integers, the factors of the first and the second 16 of them, and in its block the
 * scales D and N, and the minimum. As kernels/src/reference/block-format.ts.
 */
interface BlockWgsl {
  readonly unpack: string;
  readonly factors: string;
  readonly scale: string;
  /** Null where the type has no minima. */
  readonly minimum: { readonly scale: string; readonly ofGroup: string } | null;
}

const UNPACK_HEAD = "fn unpack(row: u32, g: u32) -> array<vec4<i32>, 8> {\n  var w: array<vec4<i32>, 8>;";
const NO_FACTORS = "fn factors(row: u32, g: u32) -> vec2<i32> { return vec2<i32>(1); }";
const SCALE_FIRST = "fn blockScale(block: u32) -> f32 { return halfAt(block); }";

const BLOCKS: Readonly<Record<DeviceBlockDType, BlockWgsl>> = {
  q4_0: {
    unpack: `${UNPACK_HEAD}
  for (var i = 0u; i < 4u; i++) {
    let word = wordAt(row + 18u * g + 2u + 4u * i);
    w[i] = bytesOf(word & 0x0f0f0f0fu) - 8;
    w[4u + i] = bytesOf((word >> 4u) & 0x0f0f0f0fu) - 8;
  }
  return w;
}`,
    factors: NO_FACTORS,
    scale: SCALE_FIRST,
    minimum: null,
  },
  q8_0: {
    unpack: `${UNPACK_HEAD}
  for (var i = 0u; i < 8u; i++) { w[i] = signedBytesOf(wordAt(row + 34u * g + 2u + 4u * i)); }
  return w;
}`,
    factors: NO_FACTORS,
    scale: SCALE_FIRST,
    minimum: null,
  },
  q4_k: {
    // Groups 2i and 2i + 1 are the low and the high halves of the same 32 bytes.
    unpack: `${UNPACK_HEAD}
  let bytes = row + 144u * (g >> 3u) + 16u + 32u * ((g & 7u) >> 1u);
  let shift = 4u * (g & 1u);
  for (var i = 0u; i < 8u; i++) { w[i] = bytesOf((wordAt(bytes + 4u * i) >> shift) & 0x0f0f0f0fu); }
  return w;
}`,
    factors: `fn factors(row: u32, g: u32) -> vec2<i32> {
  let packed = row + 144u * (g >> 3u) + 4u;
  let j = g & 7u;
  if (j < 4u) { return vec2<i32>(i32(byteAt(packed + j) & 63u)); }
  return vec2<i32>(i32((byteAt(packed + j + 4u) & 15u) | ((byteAt(packed + j - 4u) >> 6u) << 4u)));
}`,
    scale: SCALE_FIRST,
    minimum: {
      scale: "fn minimumScale(block: u32) -> f32 { return halfAt(block + 2u); }",
      ofGroup: `fn minimum(row: u32, g: u32) -> f32 {
  let packed = row + 144u * (g >> 3u) + 4u;
  let j = g & 7u;
  if (j < 4u) { return f32(byteAt(packed + j + 4u) & 63u); }
  return f32((byteAt(packed + j + 4u) >> 4u) | ((byteAt(packed + j) >> 6u) << 4u));
}`,
    },
  },
  q6_k: {
    unpack: `${UNPACK_HEAD}
  let block = row + 210u * (g >> 3u);
  let half = (g & 7u) >> 2u; let quarter = g & 3u;
  let low = block + 64u * half + 32u * (quarter & 1u);
  let high = block + 128u + 32u * half;
  for (var i = 0u; i < 8u; i++) {
    let nibbles = (wordAt(low + 4u * i) >> (4u * (quarter >> 1u))) & 0x0f0f0f0fu;
    let pairs = (wordAt(high + 4u * i) >> (2u * quarter)) & 0x03030303u;
    w[i] = bytesOf(nibbles | (pairs << 4u)) - 32;
  }
  return w;
}`,
    factors: `fn factors(row: u32, g: u32) -> vec2<i32> {
  let scales = row + 210u * (g >> 3u) + 192u + 2u * (g & 7u);
  return vec2<i32>(signedAt(scales), signedAt(scales + 1u));
}`,
    scale: "fn blockScale(block: u32) -> f32 { return halfAt(block + 208u); }",
    minimum: null,
  },
};

/** The functions of a type, and its sizes. */
function blockFunctions(dtype: DeviceBlockDType): string {
  const { unpack, factors, scale, minimum } = BLOCKS[dtype];
  const constants = `
const BLOCK_BYTES = ${blockBytes(dtype)}u;
const GROUPS_A_BLOCK = ${groupsABlock(dtype)}u;
fn blockOf(row: u32, g: u32) -> u32 { return row + (g / GROUPS_A_BLOCK) * BLOCK_BYTES; }
fn rowAt(index: u32, cols: u32) -> u32 { return u(opData) + index * ((cols >> 5u) / GROUPS_A_BLOCK) * BLOCK_BYTES; }
`;
  return [UNALIGNED, constants, unpack, factors, scale, minimum?.scale, minimum?.ofGroup].filter(Boolean).join("\n");
}

function groupsABlock(dtype: BlockDType): number {
  return blockElements(dtype) / GROUP;
}

/** A workgroup two groups of a token, a thread an element. */
const GROUP_VECTORS = /* wgsl */ `
// Bits of the quotient of two magnitudes to nearest, ties to even, by long division; zero if it, or a number, is below the normal ones.
fn quotient(a: u32, b: u32) -> u32 {
  if (a < 0x00800000u || b < 0x00800000u) { return 0u; }
  var exponent = i32(a >> 23u) - i32(b >> 23u) + 126;
  var rest = (a & 0x7fffffu) | 0x800000u;
  let divisor = (b & 0x7fffffu) | 0x800000u;
  if (rest < divisor) { rest <<= 1u; exponent -= 1; }
  if (exponent < 0) { return 0u; }
  var digits = 0u;
  for (var i = 0u; i < 25u; i++) {
    digits <<= 1u;
    if (rest >= divisor) { rest -= divisor; digits |= 1u; }
    rest <<= 1u;
  }
  let kept = digits >> 1u;
  let up = (digits & 1u) & select(kept & 1u, 1u, rest != 0u);
  return (u32(exponent) << 23u) + kept + up;
}
const MOST = 0x467ffc00u; // 16383
var<workgroup> magnitudes: array<u32, 64>;
var<workgroup> integers: array<i32, 64>;
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let cols = u(opCols); let groups = cols >> 5u;
  let k = 64u * group.x + thread;
  var word = 0u;
  if (k < cols) { word = mem[(u(opX) >> 2u) + group.y * pad(cols) + k]; }
  magnitudes[thread] = word & 0x7fffffffu;
  workgroupBarrier();
  // Magnitudes are ordered as their bits are, infinity above all numbers and NaN above that.
  let first = thread & 32u;
  var largest = 0u;
  for (var i = 0u; i < 32u; i++) { largest = max(largest, magnitudes[first + i]); }
  var scale = largest;
  var integer = 0;
  if (largest < 0x7f800000u) {
    scale = quotient(largest, MOST);
    integer = min(i32(round(bitcast<f32>(quotient(word & 0x7fffffffu, scale)))), 16383);
  }
  integers[thread] = select(integer, -integer, (word >> 31u) == 1u);
  workgroupBarrier();
  if (k >= cols) { return; }
  let lane = thread & 31u;
  let at = (u(opScratch) >> 2u) + group.y * ${GROUP_WORDS}u * groups + (k >> 5u) + lane * groups;
  if (lane < 16u) {
    let pair = first + 2u * lane;
    mem[at] = (bitcast<u32>(integers[pair]) & 0xffffu) | (bitcast<u32>(integers[pair + 1u]) << 16u);
  } else if (lane == 16u) {
    mem[at] = scale;
  } else if (lane == 17u) {
    var sum = 0;
    for (var i = 0u; i < 32u; i++) { sum += integers[first + i]; }
    mem[at] = bitcast<u32>(bitcast<f32>(scale) * f32(sum));
  }
}
`;

const LINEAR = (hasMinima: boolean) => /* wgsl */ `
const ROWS = ${BLOCK_ROWS}u;
const TOKENS = ${BLOCK_TOKENS}u;
const LANES = 64u / ROWS;
// Groups between two barriers: whole blocks.
const TILE = 64u;
const TERMS = ROWS * TOKENS * TILE;
var<workgroup> products: array<f32, TERMS>;
${hasMinima ? "var<workgroup> below: array<f32, TERMS>;" : ""}
fn term(row: u32, token: u32) -> u32 { return (ROWS * token + row) * TILE; }
fn nearest(integer: i32) -> f32 { return f32(integer >> 12u) * 4096.0 + f32(integer & 0xfff); }
fn pair(word: u32) -> vec2<i32> { return vec2<i32>(bitcast<i32>(word << 16u) >> 16u, bitcast<i32>(word) >> 16u); }
// Four products of group words that begin at \`at\`.
fn four(w: vec4<i32>, at: u32, groups: u32) -> i32 {
  let q = vec4<i32>(pair(mem[at]), pair(mem[at + groups]));
  return dot(w, q);
}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
  let first = u(opRowBegin) + ROWS * (group.x + group.y * 32768u);
  let rows = u(opRows); let cols = u(opCols); let end = u(opRowEnd);
  let groups = cols >> 5u;
  let firstToken = TOKENS * group.z;
  let tokens = min(TOKENS, u(opNTokens) - firstToken);
  let vectors = (u(opScratch) >> 2u) + firstToken * ${GROUP_WORDS}u * groups;
  let lane = thread % LANES; let r = thread / LANES;
  // This thread's when terms are added.
  let sumRow = first + thread % ROWS; let sumToken = thread / ROWS;
  let adds = sumToken < tokens && sumRow < end;
  let terms = term(thread % ROWS, sumToken);
  var sum = 0.0;
  for (var begin = 0u; begin < groups; begin += TILE) {
    let count = min(TILE, groups - begin);
    if (first + r < end) {
      let row = rowAt(first + r, cols);
      for (var i = lane; i < count; i += LANES) {
        let w = unpack(row, begin + i);
        let factor = factors(row, begin + i);
        ${hasMinima ? "let least = minimum(row, begin + i);" : ""}
        for (var t = 0u; t < tokens; t++) {
          let at = vectors + t * ${GROUP_WORDS}u * groups + begin + i;
          let step = 2u * groups;
          let low = four(w[0], at, groups) + four(w[1], at + step, groups)
            + four(w[2], at + 2u * step, groups) + four(w[3], at + 3u * step, groups);
          let high = four(w[4], at + 4u * step, groups) + four(w[5], at + 5u * step, groups)
            + four(w[6], at + 6u * step, groups) + four(w[7], at + 7u * step, groups);
          let scale = bitcast<f32>(mem[at + 8u * step]);
          products[term(r, t) + i] = scale * nearest(factor.x * low + factor.y * high);
          ${hasMinima ? "below[term(r, t) + i] = least * bitcast<f32>(mem[at + 8u * step + groups]);" : ""}
        }
      }
    }
    workgroupBarrier();
    if (adds) {
      for (var i = 0u; i < count; i += GROUPS_A_BLOCK) {
        let block = blockOf(rowAt(sumRow, cols), begin + i);
        var a = 0.0;
        for (var j = i; j < i + GROUPS_A_BLOCK; j++) { a += products[terms + j]; }
        ${hasMinima ? ADD_WITH_MINIMA : "sum += rounded(blockScale(block) * a, u(opZero));"}
      }
    }
    workgroupBarrier();
  }
  if (adds) {
    if (u(opBias) != 0u) { sum += load(u(opBias) + 4u * sumRow); }
    let out = u(opOut) + 4u * (firstToken + sumToken) * pad(rows);
    store(out + 4u * sumRow, sum);
  }
  if (end == rows && group.x + group.y == 0u && rows + thread < pad(rows)) {
    for (var t = 0u; t < tokens; t++) { store(u(opOut) + 4u * ((firstToken + t) * pad(rows) + rows + thread), 0.0); }
  }
}
`;

const ADD_WITH_MINIMA = `var b = 0.0;
        for (var j = i; j < i + GROUPS_A_BLOCK; j++) { b += below[terms + j]; }
        sum += rounded(blockScale(block) * a, u(opZero)) - rounded(minimumScale(block) * b, u(opZero));`;

/** A thread an element: D · w and N · m are exact. */
const GATHER_ROW = (hasMinima: boolean) => /* wgsl */ `
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let cols = u(opCols);
  if (id.x >= cols) { return; }
  let row = rowAt(u(opRow), cols);
  let g = id.x >> 5u; let i = id.x & 31u;
  let factor = factors(row, g);
  var w = unpack(row, g);
  let block = blockOf(row, g);
  let integer = w[i >> 2u][i & 3u] * select(factor.x, factor.y, i >= 16u);
  var value = blockScale(block) * f32(integer);
  ${hasMinima ? "value -= minimumScale(block) * minimum(row, g);" : ""}
  store(u(opOut) + 4u * id.x, value);
}
`;

function linearOf(dtype: DeviceBlockDType): string {
  return PRELUDE + blockFunctions(dtype) + LINEAR(BLOCKS[dtype].minimum !== null);
}

function gatherRowOf(dtype: DeviceBlockDType): string {
  return PRELUDE + blockFunctions(dtype) + GATHER_ROW(BLOCKS[dtype].minimum !== null);
}

/** WGSL of the ops on blocks. */
export const BLOCK_SHADERS = {
  groupVectors: PRELUDE + GROUP_VECTORS,
  "linear-q4_0": linearOf("q4_0"),
  "linear-q8_0": linearOf("q8_0"),
  "linear-q4_k": linearOf("q4_k"),
  "linear-q6_k": linearOf("q6_k"),
  "gatherRow-q4_0": gatherRowOf("q4_0"),
  "gatherRow-q8_0": gatherRowOf("q8_0"),
  "gatherRow-q4_k": gatherRowOf("q4_k"),
  "gatherRow-q6_k": gatherRowOf("q6_k"),
} as const;
