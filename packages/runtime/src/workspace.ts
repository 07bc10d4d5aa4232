/**
 * The activation buffers of one arena, and tables of positions: everything a batch of tokens needs between the embedding and the logits.
 *
 * Invariant: `workspaceBytes` is exactly what `allocateWorkspace` takes, so the memory plan is what is allocated.
 */
import { isGated, kvWidth, type ModelGeometry, paddedLength, queryWidth, widestFfn } from "@flashwick/core";
import type { Arena, Kernels, Ptr, ScratchSizes } from "@flashwick/kernels";
import { planRotaryTables } from "./position-tables.js";

/** What the sizes depend on. */
export interface WorkspaceShape {
  readonly geometry: ModelGeometry;
  readonly batchTokens: number;
  readonly contextTokens: number;
  /** Largest predictor rank; 0 without predictor. */
  readonly maxRank: number;
  /** Weights lie in matrices, those of experts too. */
  readonly matrices: boolean;
  /** The FFN is read by columns, whose units are inputs as well as neurons. */
  readonly columns: boolean;
  /** Records have no gates, which lie in matrices. */
  readonly residentGate: boolean;
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
  /** Embedding before project_in, or hidden after project_out `[batch, embedding.dim]`. */
  readonly embedding: Ptr;
  /** Activations of a wave of neurons `[batch, dFf]`. */
  readonly act: Ptr;
  /** Mixtures of experts: a router's logits `[batch, experts]`, or those of a shared expert's gate. */
  readonly routerLogits: Ptr;
  /** The rows that visit an expert, u32 `[batch]`, and their weights `[batch]`; their vectors `[batch, dModel]`, and outputs of all visits of a layer `[batch · chosen, dModel]`. */
  readonly visitRows: Ptr;
  readonly visitWeights: Ptr;
  readonly visitInput: Ptr;
  readonly visitOutput: Ptr;
  /** Where weights, or gates alone, lie in matrices, and by columns: products of the gate, or ones in an FFN without a gate `[batch, dFf]`. */
  readonly gate: Ptr;
  /** Predictor: hidden `[batch, rank]` and scores `[dFf]`. */
  readonly predictorHidden: Ptr;
  readonly predictorScores: Ptr;
  /** u32 `[dFf]` each, or by columns as many as there are units of either kind. */
  readonly named: Ptr;
  readonly slots: Ptr;
  readonly logits: Ptr;
  /** Rotary positions: cosines and sines `[contextTokens, dims / 2]` of each rotation, as `planRotaryTables` lays them out. */
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
  const attentions = [...new Set(g.layers)].map(({ attention }) => attention);
  const dQuery = Math.max(...attentions.map(queryWidth));
  const dKv = Math.max(...attentions.map(kvWidth));
  const dFf = widestFfn(g);
  const units = shape.columns ? Math.max(dFf, g.dModel) : dFf;
  const rotaryBytes = planRotaryTables(g, shape.contextTokens).sizeBytes;
  const alibiHeads = Math.max(...attentions.map(({ alibi, nHeads }) => (alibi ? nHeads : 0)));
  const widest = Math.max(g.dModel, g.embedding.dim, dQuery, shape.maxRank, shape.matrices ? dFf : 0);
  return {
    hidden: vectors(g.dModel),
    normed: vectors(g.dModel),
    ffnInput: hasOwnFfnInput(g) ? vectors(g.dModel) : 0,
    query: vectors(dQuery),
    key: vectors(dKv),
    value: vectors(dKv),
    mixed: vectors(Math.max(g.dModel, dQuery)),
    blockOut: vectors(g.dModel),
    embedding: g.embedding.dim === g.dModel ? 0 : vectors(g.embedding.dim),
    act: vectors(dFf),
    ...mixtureSizes(g, batch),
    gate: shape.matrices || shape.columns || shape.residentGate ? vectors(dFf) : 0,
    predictorHidden: shape.maxRank === 0 ? 0 : vectors(shape.maxRank, 1),
    predictorScores: shape.maxRank === 0 ? 0 : vectors(dFf, 1),
    named: vectors(units, 1),
    slots: vectors(units, 1),
    rotaryCos: rotaryBytes,
    rotarySin: rotaryBytes,
    alibiSlopes: 4 * alibiHeads,
    logits: vectors(g.vocabSize, logitsBatch(batch)),
    rows: batch * shape.rowBytes,
    scratch: Math.max(ffnScratchBytes(shape, widest, kernels), kernels.attentionScratchBytes(shape.contextTokens)),
  };
}

/** What mixtures of experts need beside what an FFN does. */
function mixtureSizes(
  { dModel, layers }: ModelGeometry,
  batch: number,
): Record<"routerLogits" | "visitRows" | "visitWeights" | "visitInput" | "visitOutput", number> {
  const mixtures = [...new Set(layers)].flatMap(({ experts }) => experts ?? []);
  const count = Math.max(0, ...mixtures.map((experts) => experts.count));
  const chosen = Math.max(0, ...mixtures.map((experts) => experts.chosen));
  const vectors = (rows: number, n: number) => 4 * rows * paddedLength(n);
  return {
    routerLogits: count === 0 ? 0 : vectors(batch, count),
    visitRows: count === 0 ? 0 : vectors(1, batch),
    visitWeights: count === 0 ? 0 : vectors(1, batch),
    visitInput: count === 0 ? 0 : vectors(batch, dModel),
    visitOutput: vectors(batch * chosen, dModel),
  };
}

function ffnScratchBytes(
  { geometry, batchTokens, matrices, columns }: WorkspaceShape,
  widest: number,
  kernels: ScratchSizes,
) {
  const isGatedRecord = isGated(geometry) && !matrices && !columns;
  return isGatedRecord ? kernels.gatedScratchBytes(widest, batchTokens) : kernels.scratchBytes(widest, batchTokens);
}

/** Attention and FFN read two norms of one input, so neither can take the other's place. All layers have one form. */
function hasOwnFfnInput({ layers }: ModelGeometry): boolean {
  const { parallel, norms } = layers[0]!;
  return parallel && norms.beforeFfn !== null;
}

/** Whether what the FFN reads was normed: by its own norm, or in a parallel block by attention's. */
function isFfnInputNormed({ layers }: ModelGeometry): boolean {
  const { parallel, norms } = layers[0]!;
  return (norms.beforeFfn ?? (parallel ? norms.beforeAttention : null)) !== null;
}

const align = (bytes: number) => (bytes + 15) & ~15;

export function workspaceBytes(shape: WorkspaceShape, kernels: ScratchSizes): number {
  return Object.values(bufferSizes(shape, kernels)).reduce((sum, bytes) => sum + align(bytes), 0);
}

export function allocateWorkspace(
  arena: Arena,
  shape: WorkspaceShape,
  kernels: ScratchSizes & Pick<Kernels, "put">,
): Workspace {
  const sizes = bufferSizes(shape, kernels);
  const pointers = Object.entries(sizes).map(([name, bytes]) => [name, arena.allocate(align(bytes))]);
  const workspace = Object.fromEntries(pointers) as Record<keyof Workspace, Ptr>;
  const { geometry } = shape;
  if (shape.matrices && !isGated(geometry)) {
    arena.f32(workspace.gate, sizes.gate / 4).fill(1);
    kernels.put(workspace.gate, sizes.gate);
  }
  if (hasOwnFfnInput(geometry)) return workspace;
  return { ...workspace, ffnInput: isFfnInputNormed(geometry) ? workspace.normed : workspace.hidden };
}
