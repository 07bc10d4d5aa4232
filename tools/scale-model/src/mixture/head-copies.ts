/**
 * Where the dimensions of the source's heads stand in the wider heads of the target. Pure.
 *
 * A head turns pairs (i, i + width/2) by angles that depend on i / width alone: pair p of a head of 32 is pair p·r of one r times as wide. The other
 * dimensions are read by no score: the weights of the norm are 0 there. They hold the dimensions of the source's other heads, so that
 * a head's mean square is that of all heads of the source: OLMoE norms all heads at once, Qwen3 each by itself, and either norm is the source's.
 */
import { type Copies, mapped } from "../expansion.js";
import type { MixtureScale } from "./mixture-size.js";

/** Of a dimension of a target head: which of the source head it is, or -1. */
export function sourceDimension({ source, target, headWidthCopies: r }: MixtureScale, dimension: number): number {
  const [half, sourceHalf] = [target.headDim / 2, source.headDim / 2];
  const pair = dimension % half;
  if (pair % r !== 0) return -1;
  return pair / r + (dimension < half ? 0 : sourceHalf);
}

/** The source head that head `head` of `heads` is a copy of: neighbours are, as grouped queries ask for. */
export function sourceHead({ source }: MixtureScale, head: number, heads: number): number {
  return Math.floor((head * source.nHeads) / heads);
}

/** Rows of queries or keys: each head of the target holds all heads of the source, its own where scores read. */
export function filledHeads(scale: MixtureScale, heads: number): Copies {
  const { headDim } = scale.target;
  const orders = Array.from({ length: scale.source.nHeads }, (_, head) => filledHead(scale, head));
  return mapped(heads * headDim, (row) => orders[sourceHead(scale, Math.floor(row / headDim), heads)]![row % headDim]!);
}

function filledHead(scale: MixtureScale, head: number): number[] {
  const { headDim, nHeads } = scale.source;
  const own = Array.from({ length: scale.target.headDim }, (_, i) => sourceDimension(scale, i));
  const others = Array.from({ length: headDim * nHeads }, (_, i) => i).filter((i) => Math.floor(i / headDim) !== head);
  return own.map((dimension) => (dimension < 0 ? others.shift()! : head * headDim + dimension));
}

/** Rows of queries or keys where nothing norms them: zeros where scores read nothing, and the norm's weight in the factors. */
export function sparseHeads(scale: MixtureScale, heads: number, factorOf: (sourceRow: number) => number): Copies {
  const { headDim } = scale.target;
  const rowOf = (row: number) => {
    const dimension = sourceDimension(scale, row % headDim);
    return dimension < 0 ? -1 : sourceHead(scale, Math.floor(row / headDim), heads) * scale.source.headDim + dimension;
  };
  const { indices, factors } = mapped(heads * headDim, (row) => Math.max(0, rowOf(row)));
  return { indices, factors: factors.map((_, row) => (rowOf(row) < 0 ? 0 : factorOf(rowOf(row)))) };
}

/** Weights of a norm of `heads` heads: the source's where scores read, else 0. */
export function headNorm(scale: MixtureScale, heads: number, factor: number): Copies {
  return sparseHeads(scale, heads, () => factor);
}

/** Rows of values, or columns of attention's output: each dimension of the source's head `headWidthCopies` times. */
export function valueHeads(scale: MixtureScale, heads: number): Copies {
  const { target, source } = scale;
  return mapped(heads * target.headDim, (row) => {
    const head = sourceHead(scale, Math.floor(row / target.headDim), heads);
    return head * source.headDim + (row % source.headDim);
  });
}
