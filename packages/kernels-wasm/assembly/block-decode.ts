/** One row of blocks as f32. Values are rounded at most once, where a minimum is taken off: all products are exact. */
import {
  IQ4_NL as IQ4_NL_CODE, IQ4_XS as IQ4_XS_CODE, MXFP4 as MXFP4_CODE, Q2_K as Q2_K_CODE, Q3_K as Q3_K_CODE,
  Q4_0 as Q4_0_CODE, Q4_1 as Q4_1_CODE, Q4_K as Q4_K_CODE, Q5_0 as Q5_0_CODE, Q5_1 as Q5_1_CODE,
  Q5_K as Q5_K_CODE, Q6_K as Q6_K_CODE, Q8_0 as Q8_0_CODE,
} from "../../kernels/src/dtype-constants";
import { IQ4_XS, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K } from "./blocks-of-256";
import { IQ4_NL, MXFP4, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 } from "./blocks-of-32";
import { HALF_FACTOR, Half, load1 } from "./element";

/** Decodes row `row` of the matrix at `data`. */
export function decodeBlocks(dtype: i32, out: usize, data: usize, cols: usize, row: usize): void {
  if (dtype == Q4_0_CODE) decodeOf32<Q4_0>(out, data, cols, row);
  else if (dtype == Q4_1_CODE) decodeOf32<Q4_1>(out, data, cols, row);
  else if (dtype == Q5_0_CODE) decodeOf32<Q5_0>(out, data, cols, row);
  else if (dtype == Q5_1_CODE) decodeOf32<Q5_1>(out, data, cols, row);
  else if (dtype == Q8_0_CODE) decodeOf32<Q8_0>(out, data, cols, row);
  else if (dtype == IQ4_NL_CODE) decodeOf32<IQ4_NL>(out, data, cols, row);
  else if (dtype == MXFP4_CODE) decodeOf32<MXFP4>(out, data, cols, row);
  else if (dtype == Q2_K_CODE) decodeOf256<Q2_K>(out, data, cols, row, dtype);
  else if (dtype == Q3_K_CODE) decodeOf256<Q3_K>(out, data, cols, row, dtype);
  else if (dtype == Q4_K_CODE) decodeOf256<Q4_K>(out, data, cols, row, dtype);
  else if (dtype == Q5_K_CODE) decodeOf256<Q5_K>(out, data, cols, row, dtype);
  else if (dtype == Q6_K_CODE) decodeOf256<Q6_K>(out, data, cols, row, dtype);
  else if (dtype == IQ4_XS_CODE) decodeOf256<IQ4_XS>(out, data, cols, row, dtype);
  else unreachable();
}

function decodeOf32<T>(out: usize, data: usize, cols: usize, row: usize): void {
  const f = changetype<T>(0);
  let p = data + row * (cols / 32) * f.blockBytes();
  for (const end = out + 4 * cols; out < end; out += 128) {
    const scale = f32x4.extract_lane(f.scales(p, p, p, p), 0);
    const below: f32 = f.hasMinima() ? -f32x4.extract_lane(f.minima(p, p, p, p), 0) : 0;
    storeBytes(out, f.bytes(p, 0, f.a(), f.b()), f.natural(), f.offset(), 1, scale, below);
    storeBytes(out + 64, f.bytes(p, 1, f.a(), f.b()), f.natural(), f.offset(), 1, scale, below);
    p += f.blockBytes();
  }
}

function decodeOf256<T>(out: usize, data: usize, cols: usize, row: usize, dtype: i32): void {
  const f = changetype<T>(0);
  let p = data + row * (cols / 256) * f.blockBytes();
  for (const end = out + 4 * cols; out < end; out += 1024) {
    let j = 0;
    for (let stretch: usize = 0; stretch < f.stretches(); stretch++) {
      decodeSubBlock<T>(out, p, dtype, j++, stretch, 0);
      if (f.stretches() < 8) decodeSubBlock<T>(out, p, dtype, j++, stretch, 1);
      if (f.stretches() < 4) {
        decodeSubBlock<T>(out, p, dtype, j++, stretch, 2);
        decodeSubBlock<T>(out, p, dtype, j++, stretch, 3);
      }
    }
    p += f.blockBytes();
  }
}

/** Sub-block j of the block at p, with its halves' scales. */
@inline
function decodeSubBlock<T>(out: usize, p: usize, dtype: i32, j: i32, stretch: usize, t: i32): void {
  const f = changetype<T>(0);
  const high = f.high(stretch, t);
  const scale = blockScale(p, dtype), minScale = blockMinScale(p, dtype);
  const each = f.shared() == 16 ? 2 : 1;
  const first = subScale(p, dtype, each * j), second = subScale(p, dtype, each * j + each - 1);
  const below = minScale * <f32>subMinimum(p, dtype, each * j);
  const below1 = minScale * <f32>subMinimum(p, dtype, each * j + each - 1);
  storeBytes(out + 128 * j, f.bytes(p, stretch, t, 0, high, f.a(), f.b()), false, f.offset(), first, scale, below);
  storeBytes(out + 128 * j + 64, f.bytes(p, stretch, t, 1, high, f.a(), f.b()), false, f.offset(), second, scale, below1);
}

/** Sixteen elements; the bytes wait at the end of where these go. */
function storeBytes(out: usize, bytes: v128, signed: bool, offset: i32, sub: i32, scale: f32, below: f32): void {
  v128.store(out, bytes, 48);
  for (let i: usize = 0; i < 16; i++) {
    const byte = signed ? <i32>load<i8>(out + 48 + i) : <i32>load<u8>(out + 48 + i);
    store<f32>(out + 4 * i, scale * <f32>(sub * (byte - offset)) - below);
  }
}

function half(p: usize): f32 {
  return load1<Half>(p) * HALF_FACTOR;
}

function blockScale(p: usize, dtype: i32): f32 {
  return half(p + (dtype == Q2_K_CODE ? 80 : dtype == Q3_K_CODE ? 108 : dtype == Q6_K_CODE ? 208 : 0));
}

function blockMinScale(p: usize, dtype: i32): f32 {
  if (dtype == Q2_K_CODE) return half(p + 82);
  return dtype == Q4_K_CODE || dtype == Q5_K_CODE ? half(p + 2) : 0;
}

/** Scale j of a block: a small integer. */
function subScale(p: usize, dtype: i32, j: usize): i32 {
  if (dtype == Q2_K_CODE) return <i32>load<u8>(p + j) & 15;
  if (dtype == Q6_K_CODE) return <i32>load<i8>(p + 192 + j);
  if (dtype == Q3_K_CODE) {
    const low = (<i32>load<u8>(p + 96 + (j & 7)) >> (<i32>(j >> 3) * 4)) & 15;
    return (low | (((<i32>load<u8>(p + 104 + (j & 3)) >> (<i32>(j >> 2) * 2)) & 3) << 4)) - 32;
  }
  if (dtype == IQ4_XS_CODE) {
    const low = (<i32>load<u8>(p + 4 + (j >> 1)) >> (<i32>(j & 1) * 4)) & 15;
    return (low | (((<i32>load<u16>(p + 2) >> (<i32>j * 2)) & 3) << 4)) - 32;
  }
  if (j < 4) return <i32>load<u8>(p + 4 + j) & 63;
  return (<i32>load<u8>(p + 8 + j) & 15) | ((<i32>load<u8>(p + j) >> 6) << 4);
}

/** Minimum j of a block. */
function subMinimum(p: usize, dtype: i32, j: usize): i32 {
  if (dtype == Q2_K_CODE) return <i32>load<u8>(p + j) >> 4;
  if (dtype != Q4_K_CODE && dtype != Q5_K_CODE) return 0;
  if (j < 4) return <i32>load<u8>(p + 8 + j) & 63;
  return (<i32>load<u8>(p + 8 + j) >> 4) | ((<i32>load<u8>(p + 4 + j) >> 6) << 4);
}
