/** What every shader begins with: the mirror as an array of words, the parameters of a dispatch, elements by type. */
import { dtypeCode } from "@flashwick/kernels";

/** Words of parameters that a dispatch has. */
export const PARAMETERS = 20;

/** Types by name. An unknown one never gets here (device-dtype.ts); if it did, its weights would be NaN. */
export const TYPES = /* wgsl */ `
const F32 = ${dtypeCode("f32")}u;
const F16 = ${dtypeCode("f16")}u;
const BF16 = ${dtypeCode("bf16")}u;
const INT8 = ${dtypeCode("int8")}u;
`;

export const PRELUDE = /* wgsl */ `${TYPES}
struct Parameters { v: array<vec4<u32>, 5> }
@group(0) @binding(0) var<storage, read_write> mem: array<u32>;
@group(0) @binding(1) var<uniform> parameters: Parameters;
fn u(i: u32) -> u32 { return parameters.v[i >> 2u][i & 3u]; }
fn fu(i: u32) -> f32 { return bitcast<f32>(u(i)); }
fn load(ptr: u32) -> f32 { return bitcast<f32>(mem[ptr >> 2u]); }
fn store(ptr: u32, value: f32) { mem[ptr >> 2u] = bitcast<u32>(value); }
// A product that no compiler contracts with the sum that takes it: \`zero\` is a parameter, and its value unknown.
fn rounded(product: f32, zero: u32) -> f32 { return bitcast<f32>(bitcast<u32>(product) ^ zero); }
fn pad(n: u32) -> u32 { return (n + 15u) & ~15u; }
fn unknownType(dtype: u32) -> f32 { return bitcast<f32>(0x7fc00000u | dtype); }
fn element(dtype: u32, base: u32, index: u32) -> f32 {
  switch dtype {
    case F32: { return load(base + 4u * index); }
    case F16: { let at = base + 2u * index; let pair = unpack2x16float(mem[at >> 2u]); return select(pair.x, pair.y, (at & 2u) != 0u); }
    case BF16: { let at = base + 2u * index; let word = mem[at >> 2u]; return bitcast<f32>(select(word << 16u, word & 0xffff0000u, (at & 2u) != 0u)); }
    case INT8: { let at = base + index; return f32(bitcast<i32>(mem[at >> 2u] << (24u - 8u * (at & 3u))) >> 24u); }
    default: { return unknownType(dtype); }
  }
}
fn elementBytes(dtype: u32) -> u32 { return select(select(4u, 2u, dtype == F16 || dtype == BF16), 1u, dtype == INT8); }
`;
