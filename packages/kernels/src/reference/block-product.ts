/**
 * The products of rows of blocks with a batch of vectors, as contract.ts defines them: every backend gives these bits.
 */
import { type BlockDType, blockBytes, blockElements, paddedLength } from "@flashwick/core";
import type { Ptr } from "../arena.js";
import type { ArenaViews } from "./arena-views.js";
import { Block, minimumElements } from "./block-format.js";
import { quantise } from "./quantised-vector.js";

/** Elements of a vector that share a scale. */
const GROUP = 32;
/** |q| of a vector beside blocks: 32 products with |w| ≤ 4096 stay below 2^31. */
export const VECTOR_MOST = 16383;
/** The same where vectors have eight bits. */
export const BYTE_VECTOR_MOST = 127;

/** A vector as integers, with a scale for each group. */
interface GroupedVector {
  readonly q: Int16Array;
  readonly scales: Float32Array;
}

/**
 * @param x    f32 `[nTokens, pad(cols)]`; cols a multiple of 32.
 * @param most {@link VECTOR_MOST} or {@link BYTE_VECTOR_MOST}.
 */
export function groupVectors(views: ArenaViews, x: Ptr, cols: number, nTokens: number, most: number): GroupedVector[] {
  return Array.from({ length: nTokens }, (_, t) => {
    const begin = x / 4 + t * paddedLength(cols);
    const q = new Int16Array(cols);
    const scales = new Float32Array(cols / GROUP);
    for (let k = 0; k < cols; k += GROUP) {
      const group = views.f32.subarray(begin + k, begin + k + GROUP);
      scales[k / GROUP] = quantise(q.subarray(k, k + GROUP), group, most);
    }
    return { q, scales };
  });
}

/** sums[t] = row · x[t], of the row of blocks at `bytes[at]`. */
export function blockProducts(
  sums: Float32Array,
  dtype: BlockDType,
  bytes: Uint8Array,
  at: number,
  vectors: readonly GroupedVector[],
): void {
  const block = new Block();
  const elements = blockElements(dtype);
  const cols = vectors[0]?.q.length ?? 0;
  sums.fill(0);
  for (let k = 0; k < cols; k += elements) {
    block.read(dtype, bytes, at + (k / elements) * blockBytes(dtype));
    for (const [t, x] of vectors.entries()) {
      const product = Math.fround(block.scale * weightSum(block, x, k, elements));
      const below = Math.fround(block.minScale * minimumSum(block, x, k, elements, minimumElements(dtype)));
      sums[t] = sums[t]! + Math.fround(product - below);
    }
  }
}

/** A = Σ_g s_g · Σ_i w_i · q_i over the groups of a block, ascending; the inner sum is exact. */
function weightSum(block: Block, { q, scales }: GroupedVector, k: number, elements: number): number {
  let sum = 0;
  for (let begin = 0; begin < elements; begin += GROUP) {
    let integer = 0;
    for (let i = begin; i < begin + GROUP; i++) integer += block.weights[i]! * q[k + i]!;
    sum = Math.fround(sum + Math.fround(scales[(k + begin) / GROUP]! * Math.fround(integer)));
  }
  return sum;
}

/** B = Σ_j m_j · fl(s · Σ_i q_i) over the minima of a block, ascending, each with the elements that share it. */
function minimumSum(block: Block, { q, scales }: GroupedVector, k: number, elements: number, shared: number): number {
  let sum = 0;
  for (let begin = 0; begin < elements; begin += shared) {
    let integer = 0;
    for (let i = begin; i < begin + shared; i++) integer += q[k + i]!;
    const part = Math.fround(scales[Math.floor((k + begin) / GROUP)]! * integer);
    sum = Math.fround(sum + Math.fround(block.minima[begin >> 4]! * part));
  }
  return sum;
}
