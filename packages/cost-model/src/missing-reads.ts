/** From missing neurons to reads: how many, how long, and what they bring that nobody wanted. Expectations, no lists. */
import type { ModelShape } from "./model-shape.js";

export interface MissingReads {
  /** Reads of one token and layer. */
  readonly count: number;
  /** Of one read, on average. */
  readonly sizeBytes: number;
  /** All bytes, gaps included. */
  readonly bytes: number;
  /** Pieces of memory beyond one a read. */
  readonly extraPieces: number;
}

/**
 * The reads for `missing` of a layer's neurons, wherever in the layer they lie, when gaps of up to `maxGapBytes` are read over.
 *
 * With p the share that is missing and q the probability that a missing neuron's next neighbour is missing as well, a run goes on
 * after it with probability q, or after a gap of g with (1 − q)(1 − p)^(g−1) p.
 *
 * @param clumping   How much longer runs are than chance has them, 1 / (1 − p); null: no longer, q = p.
 */
export function missingReads(
  shape: ModelShape,
  missing: number,
  maxGapBytes: number,
  clumping: number | null,
): MissingReads {
  if (missing <= 0) return { count: 0, sizeBytes: shape.strideBytes, bytes: 0, extraPieces: 0 };
  const p = Math.min(1, missing / shape.dFf);
  const q = 1 - (1 - p) / Math.max(1, clumping ?? 1);
  const gap = Math.floor(maxGapBytes / shape.strideBytes);
  // P(gap <= G) and E[gap; gap <= G], G a whole number of neurons, of a geometric distribution.
  const within = 1 - (1 - p) ** gap;
  const gapNeurons = p > 0 ? ((1 - q) * (1 - (1 + gap * p) * (1 - p) ** gap)) / p : 0;
  const ends = Math.max((1 - q) * (1 - within), 1 / missing);
  const runs = Math.min(missing, Math.max(Math.min(1, missing), missing * ends));
  const neurons = missing * (1 + gapNeurons);
  const { readsPerNeuron, strideBytes } = shape;
  const bytes = neurons * strideBytes * readsPerNeuron;
  const count = runs * readsPerNeuron;
  // A gap that is read over is one piece however long, and so is what follows it.
  const gaps = missing * (1 - q) * within;
  return { count, sizeBytes: bytes / count, bytes, extraPieces: (missing - runs + gaps) * readsPerNeuron };
}

/** The reads for `missing` neurons where each record, or each part of it, is a read of its own. */
export function singleReads({ strideBytes, readsPerNeuron }: ModelShape, missing: number): MissingReads {
  const count = missing * readsPerNeuron;
  return { count, sizeBytes: strideBytes, bytes: count * strideBytes, extraPieces: 0 };
}

/**
 * Neurons of a layer that a dense pass reads: all but those that took a free slot on an earlier pass and stay. In a finite window none stays, since
 * no token names it. Of a layer that streams as a whole nothing stays.
 */
export function streamedNeurons(
  { dFf, rowStream }: Pick<ModelShape, "dFf" | "rowStream">,
  slots: number,
  windowTokens: number,
): number {
  if (slots >= dFf) return 0;
  if (rowStream) return dFf;
  return Number.isFinite(windowTokens) ? dFf : dFf - slots;
}
