/**
 * ggml's blocks, taken apart: the one description of their bytes, which the decoder, the reference products and the tests share.
 *
 * Element i of a block has the value  scale · weights[i] − minScale · minima[⌊i/16⌋].  All but the two scales are small integers (a
 * sub-block's own scale is multiplied into `weights`), and each product is exact in f32, so a value is rounded at most once.
 *
 * Layouts: ggml/src/ggml-common.h of llama.cpp. Halves, not pairs: a byte carries elements that are 16 or 32 apart, never neighbours.
 */
import { type BlockDType, decodeFloat16 } from "@flashwick/core";

/** The largest block. */
const MOST_ELEMENTS = 256;

export class Block {
  scale = 0;
  minScale = 0;
  /** |w| ≤ 4096; `[blockElements(dtype)]` of them are used. */
  readonly weights = new Int16Array(MOST_ELEMENTS);
  /** One for each 16 elements; 0 to 63. */
  readonly minima = new Uint8Array(MOST_ELEMENTS / 16);

  /** Takes apart the block at `at`. */
  read(dtype: BlockDType, bytes: Uint8Array, at: number): void {
    this.minScale = 0;
    READERS[dtype](this, bytes, at);
  }

  /** Element i, rounded once. */
  value(i: number): number {
    return Math.fround(this.scale * this.weights[i]! - this.minScale * this.minima[i >> 4]!);
  }
}

/** Elements that share a minimum. */
export function minimumElements(dtype: BlockDType): number {
  return dtype === "q2_k" ? 16 : 32;
}

type Reader = (block: Block, bytes: Uint8Array, at: number) => void;

const READERS: Readonly<Record<BlockDType, Reader>> = {
  q4_0: (block, bytes, at) => {
    block.scale = half(bytes, at);
    for (let i = 0; i < 32; i++) block.weights[i] = nibbleOf32(bytes, at + 2, i) - 8;
  },
  q4_1: (block, bytes, at) => {
    readScaleAndMinimum(block, bytes, at);
    for (let i = 0; i < 32; i++) block.weights[i] = nibbleOf32(bytes, at + 4, i);
  },
  q5_0: (block, bytes, at) => {
    block.scale = half(bytes, at);
    for (let i = 0; i < 32; i++) {
      block.weights[i] = nibbleOf32(bytes, at + 6, i) + 16 * bit(bytes, at + 2, i) - 16;
    }
  },
  q5_1: (block, bytes, at) => {
    readScaleAndMinimum(block, bytes, at);
    for (let i = 0; i < 32; i++) block.weights[i] = nibbleOf32(bytes, at + 8, i) + 16 * bit(bytes, at + 4, i);
  },
  q8_0: (block, bytes, at) => {
    block.scale = half(bytes, at);
    for (let i = 0; i < 32; i++) block.weights[i] = signed(bytes[at + 2 + i]!);
  },
  q2_k: (block, bytes, at) => {
    block.scale = half(bytes, at + 80);
    block.minScale = half(bytes, at + 82);
    for (let i = 0; i < 256; i++) {
      const sub = bytes[at + (i >> 4)]!;
      block.weights[i] = (sub & 15) * twoBits(bytes, at + 16, i);
      block.minima[i >> 4] = sub >> 4;
    }
  },
  q3_k: (block, bytes, at) => {
    block.scale = half(bytes, at + 108);
    for (let i = 0; i < 256; i++) {
      const high = (bytes[at + (i & 31)]! >> (i >> 5)) & 1;
      const q = twoBits(bytes, at + 32, i) + 4 * high - 4;
      block.weights[i] = (scaleOfQ3K(bytes, at + 96, i >> 4) - 32) * q;
    }
  },
  q4_k: (block, bytes, at) => {
    readScalesOf32(block, bytes, at);
    for (let i = 0; i < 256; i++) block.weights[i] = sixBitScale(bytes, at + 4, i >> 5) * nibbleOf64(bytes, at + 16, i);
  },
  q5_k: (block, bytes, at) => {
    readScalesOf32(block, bytes, at);
    for (let i = 0; i < 256; i++) {
      const high = (bytes[at + 16 + (i & 31)]! >> (i >> 5)) & 1;
      block.weights[i] = sixBitScale(bytes, at + 4, i >> 5) * (nibbleOf64(bytes, at + 48, i) + 16 * high);
    }
  },
  q6_k: (block, bytes, at) => {
    block.scale = half(bytes, at + 208);
    for (let i = 0; i < 256; i++) {
      const inHalf = i & 127;
      const low = nibble(bytes[at + 64 * (i >> 7) + (inHalf & 63)]!, inHalf >> 6);
      const upper = (bytes[at + 128 + 32 * (i >> 7) + (i & 31)]! >> (2 * (inHalf >> 5))) & 3;
      block.weights[i] = signed(bytes[at + 192 + (i >> 4)]!) * (low + 16 * upper - 32);
    }
  },
  iq4_nl: (block, bytes, at) => {
    block.scale = half(bytes, at);
    for (let i = 0; i < 32; i++) block.weights[i] = NON_LINEAR[nibbleOf32(bytes, at + 2, i)]!;
  },
  iq4_xs: (block, bytes, at) => {
    block.scale = half(bytes, at);
    const upperBits = u16(bytes, at + 2);
    for (let i = 0; i < 256; i++) {
      const j = i >> 5;
      const scale = nibble(bytes[at + 4 + (j >> 1)]!, j & 1) + 16 * ((upperBits >> (2 * j)) & 3);
      block.weights[i] = (scale - 32) * NON_LINEAR[nibbleOf32(bytes, at + 8 + 16 * j, i & 31)]!;
    }
  },
  mxfp4: (block, bytes, at) => {
    block.scale = 2 ** (bytes[at]! - 128);
    for (let i = 0; i < 32; i++) block.weights[i] = E2M1_TWICE[nibbleOf32(bytes, at + 1, i)]!;
  },
};

/** Of IQ4_NL and IQ4_XS. */
const NON_LINEAR = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
/** Twice the values of E2M1, hence 128 and not 127 in MXFP4's exponent. */
const E2M1_TWICE = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

function u16(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8);
}

function half(bytes: Uint8Array, at: number): number {
  return decodeFloat16(u16(bytes, at));
}

function signed(byte: number): number {
  return (byte << 24) >> 24;
}

/** The low (0) or the high (1) one. */
function nibble(byte: number, which: number): number {
  return (byte >> (4 * which)) & 15;
}

/** Bit i of the little-endian number at `at`. */
function bit(bytes: Uint8Array, at: number, i: number): number {
  return (bytes[at + (i >> 3)]! >> (i & 7)) & 1;
}

/** Sixteen bytes for 32 elements. */
function nibbleOf32(bytes: Uint8Array, at: number, i: number): number {
  return nibble(bytes[at + (i & 15)]!, i >> 4);
}

/** Of Q4_K and Q5_K: 32 bytes for each 64 elements. */
function nibbleOf64(bytes: Uint8Array, at: number, i: number): number {
  return nibble(bytes[at + 32 * (i >> 6) + (i & 31)]!, (i >> 5) & 1);
}

/** Of Q2_K and Q3_K: 32 bytes for each 128 elements. */
function twoBits(bytes: Uint8Array, at: number, i: number): number {
  return (bytes[at + 32 * (i >> 7) + (i & 31)]! >> (2 * ((i >> 5) & 3))) & 3;
}

/** Of Q4_1 and Q5_1, whose minimum is added. */
function readScaleAndMinimum(block: Block, bytes: Uint8Array, at: number): void {
  block.scale = half(bytes, at);
  block.minScale = -half(bytes, at + 2);
  block.minima.fill(1, 0, 2);
}

/** Of Q4_K and Q5_K: two halves, then eight scales and minima of 6 bits in 12 bytes. */
function readScalesOf32(block: Block, bytes: Uint8Array, at: number): void {
  block.scale = half(bytes, at);
  block.minScale = half(bytes, at + 2);
  for (let i = 0; i < 16; i++) block.minima[i] = sixBitMinimum(bytes, at + 4, i >> 1);
}

function sixBitScale(bytes: Uint8Array, at: number, j: number): number {
  if (j < 4) return bytes[at + j]! & 63;
  return (bytes[at + j + 4]! & 15) | ((bytes[at + j - 4]! >> 6) << 4);
}

function sixBitMinimum(bytes: Uint8Array, at: number, j: number): number {
  if (j < 4) return bytes[at + j + 4]! & 63;
  return (bytes[at + j + 4]! >> 4) | ((bytes[at + j]! >> 6) << 4);
}

/** Sixteen scales of 6 bits in 12 bytes. */
function scaleOfQ3K(bytes: Uint8Array, at: number, j: number): number {
  const low = nibble(bytes[at + (j & 7)]!, j >> 3);
  return low | (((bytes[at + 8 + (j & 3)]! >> (2 * (j >> 2))) & 3) << 4);
}
