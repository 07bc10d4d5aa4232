/**
 * Models by name: published geometry and sparsity, so that a plan needs no download. Weights that no token multiplies with (an input embedding
 * that is not the head) are tables of which one row is read.
 */
import {
  blockBytes,
  blockElements,
  type DType,
  defaultResidentDType,
  InputError,
  type RecordDType,
  type SparsityStatistics,
} from "@flashwick/core";
import type { MemoryRequest } from "./memory-request.js";
import type { ModelShape } from "./model-shape.js";
import type { EngineSettings } from "./pass-request.js";
import { powerLawLayer, UNION_TOKENS, windowExponent } from "./sparsity.js";

/** A model as its makers, and those who have measured its sparsity, describe it. */
export interface PublishedModel {
  readonly name: string;
  /** Of geometry and of sparsity. */
  readonly source: string;
  readonly nLayers: number;
  readonly dModel: number;
  readonly dFf: number;
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly vocabSize: number;
  readonly contextLength: number;
  /** Rows a neuron has: up and down; a gated FFN has three. */
  readonly matricesPerNeuron: 2 | 3;
  readonly tiedHead: boolean;
  readonly parallelBlock: boolean;
  /** Learned positions, a table. */
  readonly positionRows: number;
  /** Width of the token embedding. */
  readonly embeddingDim: number;
  /** Truly active neurons of a token, a share of `dFf`, and named ones over those. */
  readonly activeShare: number;
  readonly namedPerActive: number;
  /** What a window of so many tokens, the current one included, holds of the FFN; null: not published, s_agg(k) = named · √k. */
  readonly window: { readonly tokens: number; readonly heldShare: number } | null;
  /** Predictor ranks by layer; 0: no predictor, every neuron is named. */
  readonly ranks: readonly number[];
}

const OPT_SOURCE = "Zhang et al., OPT, 2022, table 1";
const PAPER = "LLM in a flash";

/** The first `n − last` layers one rank, the last ones another. */
function ranks(n: number, most: number, sensitive: number, last = 4): number[] {
  return Array.from({ length: n }, (_, layer) => (layer < n - last ? most : sensitive));
}

function opt(
  name: string,
  nLayers: number,
  dModel: number,
  nHeads: number,
  more: Partial<PublishedModel> = {},
): PublishedModel {
  return {
    name,
    source: `${OPT_SOURCE}; sparsity of OPT 6.7B (${PAPER}, 3.1 and table 6: 3.3 % active, three times as many named), assumed for this size`,
    nLayers,
    dModel,
    dFf: 4 * dModel,
    nHeads,
    nKvHeads: nHeads,
    vocabSize: 50272,
    contextLength: 2048,
    matricesPerNeuron: 2,
    tiedHead: true,
    parallelBlock: false,
    positionRows: 2050,
    embeddingDim: dModel,
    activeShare: 0.033,
    // 10 % are named.
    namedPerActive: 0.1 / 0.033,
    // "Past 5 tokens": v1's k = 5, read as the current one and four before; s(6) − s(5) is then 2.5 %, printed as 2.4.
    window: { tokens: 5, heldShare: 0.24 },
    ranks: ranks(nLayers, Math.max(32, dModel / 32), Math.max(64, dModel / 4)),
    ...more,
  };
}

const PUBLISHED: readonly PublishedModel[] = [
  opt("opt-125m", 12, 768, 12),
  opt("opt-350m", 24, 1024, 16, { embeddingDim: 512 }),
  opt("opt-1.3b", 24, 2048, 32),
  opt("opt-2.7b", 32, 2560, 32),
  opt("opt-6.7b", 32, 4096, 32, {
    source: `${OPT_SOURCE}; ${PAPER}, 3.1 and table 6: 3.3 % active, predictors name 10 % and a window of five tokens holds 24 %`,
    ranks: ranks(32, 128, 1024),
  }),
  opt("opt-13b", 40, 5120, 40),
  opt("opt-30b", 48, 7168, 56),
  opt("opt-66b", 64, 9216, 72),
  {
    name: "falcon-7b",
    source: `Almazrouei et al., The Falcon series, 2023; relufied, ${PAPER}: 95 % sparse, three times as many named as active`,
    nLayers: 32,
    dModel: 4544,
    dFf: 18176,
    nHeads: 71,
    nKvHeads: 1,
    vocabSize: 65024,
    contextLength: 2048,
    matricesPerNeuron: 2,
    tiedHead: true,
    parallelBlock: true,
    positionRows: 0,
    embeddingDim: 4544,
    activeShare: 0.05,
    namedPerActive: 3,
    // s(6) − s(5) is then 3.1 %, as printed.
    window: { tokens: 5, heldShare: 0.33 },
    ranks: ranks(32, 256, 1152),
  },
  {
    name: "falcon-40b",
    source: "Almazrouei et al., The Falcon series, 2023; sparsity of the relufied Falcon 7B, assumed for this size",
    nLayers: 60,
    dModel: 8192,
    dFf: 32768,
    nHeads: 128,
    nKvHeads: 8,
    vocabSize: 65024,
    contextLength: 2048,
    matricesPerNeuron: 2,
    tiedHead: true,
    parallelBlock: true,
    positionRows: 0,
    embeddingDim: 8192,
    activeShare: 0.05,
    namedPerActive: 3,
    window: { tokens: 5, heldShare: 0.33 },
    ranks: ranks(60, 256, 1152),
  },
  {
    name: "persimmon-8b",
    source: `Adept, Releasing Persimmon-8B, 2023; ${PAPER}: three times as many named as active; it publishes no active share in figures, 6 % is what its table 5 run loads and holds`,
    nLayers: 36,
    dModel: 4096,
    dFf: 16384,
    nHeads: 64,
    nKvHeads: 64,
    vocabSize: 262144,
    contextLength: 16384,
    matricesPerNeuron: 2,
    tiedHead: false,
    parallelBlock: false,
    positionRows: 0,
    embeddingDim: 4096,
    activeShare: 0.06,
    namedPerActive: 3,
    window: null,
    ranks: ranks(36, 256, 1152),
  },
  {
    name: "phi-2",
    source: `Microsoft, Phi-2, 2023; relufied, ${PAPER}: twice as many named as active, ranks in eight groups of four layers, none in the last; its active share is only drawn, 10 % is assumed as of the other relufied models`,
    nLayers: 32,
    dModel: 2560,
    dFf: 10240,
    nHeads: 32,
    nKvHeads: 32,
    vocabSize: 51200,
    contextLength: 2048,
    matricesPerNeuron: 2,
    tiedHead: false,
    parallelBlock: true,
    positionRows: 0,
    embeddingDim: 2560,
    activeShare: 0.1,
    namedPerActive: 2,
    window: null,
    ranks: [160, 160, 480, 800, 800, 480, 160, 0].flatMap((rank) => [rank, rank, rank, rank]),
  },
  {
    name: "llama-2-7b",
    source: `Touvron et al., Llama 2, 2023; FATReLU (ProSparse, Song et al., 2024: 89 to 90 % sparse), ${PAPER}: twice as many named`,
    nLayers: 32,
    dModel: 4096,
    dFf: 11008,
    nHeads: 32,
    nKvHeads: 32,
    vocabSize: 32000,
    contextLength: 4096,
    matricesPerNeuron: 3,
    tiedHead: false,
    parallelBlock: false,
    positionRows: 0,
    embeddingDim: 4096,
    activeShare: 0.1,
    namedPerActive: 2,
    window: null,
    ranks: Array.from({ length: 32 }, (_, layer) => (layer >= 14 && layer < 18 ? 1024 : 256)),
  },
];

/** Names of the published models that {@link modelPreset} knows. */
export const MODEL_PRESETS: readonly string[] = PUBLISHED.map(({ name }) => name);

/** What the user wishes of a run's memory. */
export type MemoryWish = Pick<MemoryRequest, "budgetBytes" | "contextTokens" | "kvPrecision">;

/** All that a plan needs of a model, without a file. */
export interface ModelPreset {
  readonly published: PublishedModel;
  readonly shape: ModelShape;
  readonly sparsity: SparsityStatistics;
  /**
   * What goes into DRAM, near enough to plan by: norms are left out, activations and bookkeeping are estimates, together some parts in a
   * thousand. What an engine allocates for a file is planned from its header.
   */
  readonly memoryRequest: (mode: EngineSettings["mode"], wish: MemoryWish) => MemoryRequest;
}

/**
 * A model by name, its weights stored as `dtype`.
 *
 * @throws {InputError} `INPUT_INVALID` listing the names.
 */
export function modelPreset(name: string, dtype: RecordDType): ModelPreset {
  const published = PUBLISHED.find((candidate) => candidate.name === name);
  if (published) {
    const shape = shapeOf(published, dtype);
    const sparsity = sparsityOf(published);
    const memoryRequest: ModelPreset["memoryRequest"] = (mode, wish) =>
      requestOf(published, shape, mode === "predicted" ? sparsity : null, wish);
    return { published, shape, sparsity, memoryRequest };
  }
  throw new InputError(
    "INPUT_INVALID",
    `unknown model preset ${JSON.stringify(name)}, expected one of ${MODEL_PRESETS.join(", ")}`,
    { details: { field: "model", found: name } },
  );
}

/** Of one weight, with its share of a block's scale. */
function weightBytes(dtype: DType): number {
  return blockBytes(dtype) / blockElements(dtype);
}

/** Predictors are stored in the model's type, as the paper's are; beside four bits in int8. */
function shapeOf(model: PublishedModel, dtype: RecordDType): ModelShape {
  const { dModel, dFf, nHeads, nKvHeads, vocabSize, embeddingDim } = model;
  const resident = defaultResidentDType(dtype);
  const bytes = weightBytes(resident);
  const predictor = dtype === "q4" ? "int8" : dtype;
  const headDim = dModel / nHeads;
  const recordBytes = model.matricesPerNeuron * (dModel * weightBytes(dtype) + (dtype === "int8" ? SCALE_BYTES : 0));
  const projections = embeddingDim === dModel ? 0 : 2 * embeddingDim * dModel;
  return {
    name: model.name,
    nLayers: model.nLayers,
    dModel,
    dFf,
    nKvHeads,
    headDim,
    dtype,
    attentionTypes: [{ dtype: resident, share: 1 }],
    ffnTypes: [{ dtype, share: 1 }],
    headDtype: resident,
    rowStream: null,
    attentionBytes: dModel * (2 * dModel + 2 * nKvHeads * headDim) * bytes,
    headBytes: (vocabSize * embeddingDim + projections) * bytes,
    rowTableBytes: (model.positionRows * dModel + (model.tiedHead ? 0 : vocabSize * embeddingDim)) * bytes,
    recordBytes,
    strideBytes: Math.ceil(recordBytes / STRIDE_UNIT_BYTES) * STRIDE_UNIT_BYTES,
    readsPerNeuron: 1,
    parallelBlock: model.parallelBlock,
    predictor: {
      typesByLayer: model.ranks.map(() => [{ dtype: predictor, share: 1 }]),
      bytesByLayer: model.ranks.map((rank) => rank * (dModel + dFf) * weightBytes(predictor)),
    },
  };
}

/** Of a row, f32: its scale. */
const SCALE_BYTES = 4;
/** Records begin at multiples of this, as model files have them (of 4096 where that touches fewer pages, which is left out here). */
const STRIDE_UNIT_BYTES = 512;

/** s_agg(k) = named · k^exponent, through the published window where there is one; layers without predictor name everything. */
function sparsityOf({ activeShare, namedPerActive, source, window, ranks }: PublishedModel): SparsityStatistics {
  const named = activeShare * namedPerActive;
  const exponent = window ? windowExponent(named, window.tokens, window.heldShare) : WINDOW_EXPONENT;
  const sparse = powerLawLayer(named, exponent, activeShare);
  const everything = powerLawLayer(1, 0, activeShare);
  return {
    source,
    unionTokens: UNION_TOKENS,
    layers: ranks.map((rank) => (rank === 0 ? everything : sparse)),
    clumping: null,
    namedQuantiles: null,
  };
}

/** Between what is published: OPT 6.7B, 10 % named, 24 % in five tokens: 0.54; Falcon 7B, 15 and 33 %: 0.49. */
const WINDOW_EXPONENT = 0.5;

/** @param sparsity Null for dense runs. */
function requestOf(
  { vocabSize }: PublishedModel,
  shape: ModelShape,
  sparsity: SparsityStatistics | null,
  wish: MemoryWish,
): MemoryRequest {
  const { nLayers, dFf, dModel } = shape;
  return {
    ...wish,
    geometry: { layers: new Array(nLayers).fill({ attention: shape, ffn: shape }) },
    weights: { slotBytes: shape.strideBytes },
    // Up biases, or checksums, of all neurons.
    residentBytes: nLayers * shape.attentionBytes + shape.headBytes + 4 * nLayers * dFf,
    rowTableBytes: shape.rowTableBytes,
    predictorBytes: sparsity ? shape.predictor!.bytesByLayer.reduce((sum, bytes) => sum + bytes, 0) : 0,
    namedShareByLayer: sparsity ? sparsity.layers.map(({ unionShare }) => unionShare[0]!) : null,
    activationBytes: (batchTokens) => 4 * batchTokens * (8 * dModel + 2 * dFf) + 4 * vocabSize,
    slotOverheadBytes: 48,
    cacheFixedBytes: nLayers * 4 * dFf,
    readBufferBytes: 0,
  };
}
