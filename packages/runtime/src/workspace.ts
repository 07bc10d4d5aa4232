/**
 * The activation buffers of one arena, and tables of positions: everything a batch of tokens needs between the embedding and the logits.
 *
 * Invariant: `workspaceBytes` is exactly what `allocateWorkspace` takes, so the memory plan is what is allocated.
 */
import { type ModelGeometry, paddedLength } from "@flashwick/core";
import type { Arena, Ptr, ScratchSizes } from "@flashwick/kernels";

/** What the sizes depend on. */
export interface WorkspaceShape {
  readonly geometry: ModelGeometry;
  readonly batchTokens: number;
  readonly contextTokens: number;
  /** Largest predictor rank; 0 without predictor. */
  readonly maxRank: number;
  /** Bytes of one row of the widest table that is read by row. */
  readonly rowBytes: number;
}

/** Buffers, f32 unless said otherwise; `[batch, pad(n)]`. */
export interface Workspace {
  /** Residual stream `[batch, dModel]`. */
  readonly hidden: Ptr;
  /** Normed input of attention, and of the FFN where it is the same or comes later `[batch, dModel]`. */
  readonly normed: Ptr;
  /**
   * Input of the FFN `[batch, dModel]`: `normed`, but for parallel blocks with two norms; in the post-norm form of OPT-350M `hidden` itself, which is
   * not changed before the FFN's output is added.
   */
  readonly ffnInput: Ptr;
  readonly query: Ptr;
  readonly key: Ptr;
  readonly value: Ptr;
  /** Output of attention heads, then of an output projection `[batch, dModel]`. */
  readonly mixed: Ptr;
  /** Output of a block before it is added `[batch, dModel]`. */
  readonly blockOut: Ptr;
  /** Embedding before project_in, or hidden after project_out `[batch, embeddingDim]`. */
  readonly embedding: Ptr;
  /** Activations of a wave of neurons `[batch, dFf]`. */
  readonly act: Ptr;
  /** Predictor: hidden `[batch, rank]` and scores `[dFf]`. */
  readonly predictorHidden: Ptr;
  readonly predictorScores: Ptr;
  /** u32 `[dFf]` each. */
  readonly named: Ptr;
  readonly slots: Ptr;
  readonly logits: Ptr;
  /** Rotary positions: cosines and sines `[contextTokens, headDim / 2]`. */
  readonly rotaryCos: Ptr;
  readonly rotarySin: Ptr;
  /** ALiBi: `[nHeads]`. */
  readonly alibiSlopes: Ptr;
  /** Raw rows of tables that stay on flash `[batch, rowBytes]`. */
  readonly rows: Ptr;
  readonly scratch: Ptr;
}

/** Tokens whose logits are computed in one pass over the head. */
export function logitsBatch(batchTokens: number): number {
  return Math.min(batchTokens, 8);
}

/** Bytes of each buffer, in allocation order. */
function bufferSizes(shape: WorkspaceShape, kernels: ScratchSizes): Record<keyof Workspace, number> {
  const { geometry: g, batchTokens: batch } = shape;
  const vectors = (n: number, count = batch) => 4 * count * paddedLength(n);
  const rotaryBytes = g.positions === "rotary" ? 2 * shape.contextTokens * g.headDim : 0;
  const widest = Math.max(g.dModel, g.embeddingDim, g.nHeads * g.headDim, shape.maxRank);
  return {
    hidden: vectors(g.dModel),
    normed: vectors(g.dModel),
    ffnInput: hasOwnFfnInput(g) ? vectors(g.dModel) : 0,
    query: vectors(g.nHeads * g.headDim),
    key: vectors(g.nKvHeads * g.headDim),
    value: vectors(g.nKvHeads * g.headDim),
    mixed: vectors(Math.max(g.dModel, g.nHeads * g.headDim)),
    blockOut: vectors(g.dModel),
    embedding: g.embeddingDim === g.dModel ? 0 : vectors(g.embeddingDim),
    act: vectors(g.dFf),
    predictorHidden: shape.maxRank === 0 ? 0 : vectors(shape.maxRank, 1),
    predictorScores: shape.maxRank === 0 ? 0 : vectors(g.dFf, 1),
    named: vectors(g.dFf, 1),
    slots: vectors(g.dFf, 1),
    rotaryCos: rotaryBytes,
    rotarySin: rotaryBytes,
    alibiSlopes: g.positions === "alibi" ? 4 * g.nHeads : 0,
    logits: vectors(g.vocabSize, logitsBatch(batch)),
    rows: batch * shape.rowBytes,
    scratch: Math.max(kernels.scratchBytes(widest, batch), kernels.attentionScratchBytes(shape.contextTokens)),
  };
}

/** Attention and FFN read two norms of one input, so neither can take the other's place. */
function hasOwnFfnInput({ parallelBlock, ffnNorm }: ModelGeometry): boolean {
  return parallelBlock && ffnNorm;
}

const align = (bytes: number) => (bytes + 15) & ~15;

export function workspaceBytes(shape: WorkspaceShape, kernels: ScratchSizes): number {
  return Object.values(bufferSizes(shape, kernels)).reduce((sum, bytes) => sum + align(bytes), 0);
}

export function allocateWorkspace(arena: Arena, shape: WorkspaceShape, kernels: ScratchSizes): Workspace {
  const sizes = bufferSizes(shape, kernels);
  const pointers = Object.entries(sizes).map(([name, bytes]) => [name, arena.allocate(align(bytes))]);
  const workspace = Object.fromEntries(pointers) as Record<keyof Workspace, Ptr>;
  const { geometry } = shape;
  if (hasOwnFfnInput(geometry)) return workspace;
  return { ...workspace, ffnInput: geometry.normBefore ? workspace.normed : workspace.hidden };
}
