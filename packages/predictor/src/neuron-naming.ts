/**
 * Naming neurons: which of a layer's FFN neurons the next token will need.
 *
 * score = W2 · relu(W1 · x); a neuron is named when its score exceeds the threshold      LLM in a flash, 3.1 and Fig. 3b
 *
 * The paper puts a sigmoid behind the score; it is monotonic, so the threshold lives on the logit and the sigmoid is never
 * computed. All arithmetic is the kernels', so a batch names what its vectors name one by one, bit for bit.
 */
import { paddedLength } from "@flashwick/core";
import type { HostKernels, Kernels, Ptr, ScratchSizes } from "@flashwick/kernels";
import type { PlacedPredictor } from "./placed-predictor.js";

/** Buffers of one call; nothing in them outlives it but the scores. */
export interface NamingScratch {
  /** f32 `[nTokens, pad(rank)]`. */
  readonly hidden: Ptr;
  /** f32 `[nTokens, pad(dFf)]`; holds the scores afterwards. */
  readonly scores: Ptr;
  /** `kernels.scratchBytes(max(rank, dModel), nTokens)` bytes. */
  readonly kernel: Ptr;
}

/** Bytes of each buffer of a {@link NamingScratch}, multiples of 16. */
export function namingScratchBytes(
  sizes: ScratchSizes,
  shape: Pick<PlacedPredictor, "rank" | "dModel" | "dFf">,
  nTokens = 1,
): { readonly [name in keyof NamingScratch]: number } {
  return {
    hidden: 4 * nTokens * paddedLength(shape.rank),
    scores: 4 * nTokens * paddedLength(shape.dFf),
    kernel: (sizes.scratchBytes(Math.max(shape.rank, shape.dModel), nTokens) + 15) & ~15,
  };
}

/**
 * Scores every neuron for a batch of tokens, into `scratch.scores`.
 *
 * @param x f32 `[nTokens, pad(dModel)]`: the FFN's input (OPT: normed output of attention; Falcon: the layer's normed input).
 * Cost: reads the predictor's weights; `2 · rank · (dModel + dFf)` FLOP a token.
 */
export function scoreNeurons(
  kernels: Kernels,
  predictor: PlacedPredictor,
  x: Ptr,
  nTokens: number,
  scratch: NamingScratch,
): void {
  kernels.linear(scratch.hidden, x, predictor.w1, 0, nTokens, scratch.kernel);
  kernels.relu(scratch.hidden, nTokens * paddedLength(predictor.rank));
  kernels.linear(scratch.scores, scratch.hidden, predictor.w2, 0, nTokens, scratch.kernel);
}

/**
 * Names the neurons of one token.
 *
 * @param x         f32 `[pad(dModel)]`, as for {@link scoreNeurons}.
 * @param out       u32 `[dFf]`; receives the named neurons, ascending.
 * @param threshold Overrides the predictor's own. -Infinity names every neuron: scores are finite.
 * @returns How many are named; a promise of it from a device.
 */
export function nameNeurons(
  kernels: HostKernels,
  predictor: PlacedPredictor,
  x: Ptr,
  scratch: NamingScratch,
  out: Ptr,
  threshold?: number,
): number;
export function nameNeurons(
  kernels: Kernels,
  predictor: PlacedPredictor,
  x: Ptr,
  scratch: NamingScratch,
  out: Ptr,
  threshold?: number,
): number | Promise<number>;
export function nameNeurons(
  kernels: Kernels,
  predictor: PlacedPredictor,
  x: Ptr,
  scratch: NamingScratch,
  out: Ptr,
  threshold = predictor.threshold,
): number | Promise<number> {
  scoreNeurons(kernels, predictor, x, 1, scratch);
  return kernels.selectAbove(out, scratch.scores, predictor.dFf, threshold);
}

/**
 * Names the neurons of each token of a batch; token t gets exactly what {@link nameNeurons} gives it alone.
 *
 * @param x      f32 `[nTokens, pad(dModel)]`.
 * @param out    u32 `[nTokens, dFf]`; row t begins with the neurons of token t, ascending.
 * @param counts Receives how many each token has; `[nTokens]`.
 */
export function nameNeuronsOfBatch(
  kernels: HostKernels,
  predictor: PlacedPredictor,
  x: Ptr,
  nTokens: number,
  scratch: NamingScratch,
  out: Ptr,
  counts: Uint32Array,
  threshold = predictor.threshold,
): void {
  scoreNeurons(kernels, predictor, x, nTokens, scratch);
  const rowBytes = 4 * paddedLength(predictor.dFf);
  for (let t = 0; t < nTokens; t++) {
    const scores = scratch.scores + t * rowBytes;
    counts[t] = kernels.selectAbove(out + 4 * t * predictor.dFf, scores, predictor.dFf, threshold);
  }
}
