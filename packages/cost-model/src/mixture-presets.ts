/** Mixtures of experts by name: published geometry, and how often experts come back, so that a plan needs no download. */
import {
  blockBytes,
  blockElements,
  type ConvertDType,
  type DType,
  defaultResidentDType,
  InputError,
  type ResidentDType,
} from "@flashwick/core";
import {
  type ExpertLocality,
  type LocalityCurve,
  localityOf,
  PUBLISHED_GPT_OSS_LOCALITY,
  PUBLISHED_LOCALITY,
} from "./expert-locality.js";
import type { MemoryRequest } from "./memory-request.js";
import { type ExpertsShape, type MixtureLayer, meanExpert, residentFfnBytes } from "./mixture-shape.js";
import type { MemoryWish } from "./model-presets.js";
import type { ModelShape } from "./model-shape.js";

/** A mixture as its makers' config.json describes it. Heads and embedding are apart in all of them. */
export interface PublishedMixture {
  readonly name: string;
  /** Of geometry and of locality. */
  readonly source: string;
  readonly nLayers: number;
  readonly dModel: number;
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  readonly vocabSize: number;
  readonly contextLength: number;
  /** Experts of a layer, how many a token chooses, and neurons of one. */
  readonly experts: { readonly count: number; readonly chosen: number; readonly dFf: number };
  /** Neurons of the expert that every token uses; 0: there is none. */
  readonly sharedDFf: number;
  /** As published: of experts, and of all other matrices. */
  readonly dtype: { readonly experts: DType; readonly resident: DType };
  readonly locality: LocalityCurve;
}

const HALF = { experts: "bf16", resident: "bf16" } as const;
const ASSUMED = `locality: ${PUBLISHED_LOCALITY.source}, assumed for this model`;

const PUBLISHED: readonly PublishedMixture[] = [
  {
    name: "olmoe-1b-7b",
    source: `Muennighoff et al., OLMoE, 2024, and its config.json; ${ASSUMED}`,
    nLayers: 16,
    dModel: 2048,
    nHeads: 16,
    nKvHeads: 16,
    headDim: 128,
    vocabSize: 50304,
    contextLength: 4096,
    experts: { count: 64, chosen: 8, dFf: 1024 },
    sharedDFf: 0,
    dtype: HALF,
    locality: PUBLISHED_LOCALITY,
  },
  {
    name: "qwen1.5-moe-a2.7b",
    source: `Qwen team, Qwen1.5-MoE, 2024, and its config.json; ${ASSUMED}`,
    nLayers: 24,
    dModel: 2048,
    nHeads: 16,
    nKvHeads: 16,
    headDim: 128,
    vocabSize: 151936,
    contextLength: 8192,
    experts: { count: 60, chosen: 4, dFf: 1408 },
    sharedDFf: 5632,
    dtype: HALF,
    locality: PUBLISHED_LOCALITY,
  },
  {
    name: "qwen3-30b-a3b",
    source: `Qwen team, Qwen3, 2025, and its config.json; locality: ${PUBLISHED_LOCALITY.source}, this model with six experts a token`,
    nLayers: 48,
    dModel: 2048,
    nHeads: 32,
    nKvHeads: 4,
    headDim: 128,
    vocabSize: 151936,
    contextLength: 40960,
    experts: { count: 128, chosen: 8, dFf: 768 },
    sharedDFf: 0,
    dtype: HALF,
    locality: PUBLISHED_LOCALITY,
  },
  {
    name: "mixtral-8x7b",
    source: `Jiang et al., Mixtral of Experts, 2024, and its config.json; ${ASSUMED}`,
    nLayers: 32,
    dModel: 4096,
    nHeads: 32,
    nKvHeads: 8,
    headDim: 128,
    vocabSize: 32000,
    contextLength: 32768,
    experts: { count: 8, chosen: 2, dFf: 14336 },
    sharedDFf: 0,
    dtype: HALF,
    locality: PUBLISHED_LOCALITY,
  },
  {
    name: "gpt-oss-20b",
    source: `OpenAI, gpt-oss, 2025, and its config.json; locality: ${PUBLISHED_GPT_OSS_LOCALITY.source}, assumed for this model`,
    nLayers: 24,
    dModel: 2880,
    nHeads: 64,
    nKvHeads: 8,
    headDim: 64,
    vocabSize: 201088,
    contextLength: 131072,
    experts: { count: 32, chosen: 4, dFf: 2880 },
    sharedDFf: 0,
    dtype: { experts: "mxfp4", resident: "bf16" },
    locality: PUBLISHED_GPT_OSS_LOCALITY,
  },
];

/** Names of the published mixtures that {@link mixturePreset} knows. */
export const MIXTURE_PRESETS: readonly string[] = PUBLISHED.map(({ name }) => name);

/** All that a plan needs of a mixture, without a file. */
export interface MixturePreset {
  readonly published: PublishedMixture;
  readonly shape: ModelShape;
  readonly locality: ExpertLocality;
  /** What goes into DRAM, near enough to plan by: as that of a `ModelPreset`. */
  readonly memoryRequest: (wish: MemoryWish) => MemoryRequest;
}

/**
 * A mixture by name, in one record an expert.
 *
 * @param dtype What experts are stored as, all else being of the type that goes beside it; null: as published.
 * @throws {InputError} `INPUT_INVALID` listing the names.
 */
export function mixturePreset(name: string, dtype: ConvertDType | null = null): MixturePreset {
  const published = PUBLISHED.find((candidate) => candidate.name === name);
  if (published) {
    const shape = shapeOf(published, dtype);
    const locality = { ...localityOf(shape.mixture!, published.locality), source: published.source };
    return { published, shape, locality, memoryRequest: (wish) => requestOf(published, shape, wish) };
  }
  throw new InputError(
    "INPUT_INVALID",
    `unknown mixture ${JSON.stringify(name)}, expected one of ${MIXTURE_PRESETS.join(", ")}`,
    { details: { field: "model", found: name } },
  );
}

/** Bytes of weights of a type: with their blocks' scales, and in int8 with one of each row. */
function bytesOfRows(dtype: DType, rows: number, cols: number): number {
  return (rows * cols * blockBytes(dtype)) / blockElements(dtype) + (dtype === "int8" ? 4 * rows : 0);
}

/** Gate, up and down of a gated FFN. */
function ffnBytes(dtype: DType, dModel: number, dFf: number): number {
  return 2 * bytesOfRows(dtype, dFf, dModel) + bytesOfRows(dtype, dModel, dFf);
}

/** Experts begin at multiples of this, so that direct reads land in their slots. */
const EXPERT_ALIGNMENT_BYTES = 4096;

function expertsOf({ dModel, experts }: PublishedMixture, dtype: DType): ExpertsShape {
  const bytes = ffnBytes(dtype, dModel, experts.dFf);
  const recordBytes = Math.ceil(bytes / EXPERT_ALIGNMENT_BYTES) * EXPERT_ALIGNMENT_BYTES;
  return {
    ...experts,
    weights: [{ dtype, bytes }],
    pieceBytes: [recordBytes],
    slotBytes: recordBytes,
    router: { dtype: "f32", bytes: bytesOfRows("f32", experts.count, dModel) },
  };
}

function shapeOf(model: PublishedMixture, dtype: ConvertDType | null): ModelShape {
  const { name, nLayers, dModel, nHeads, nKvHeads, headDim, vocabSize, sharedDFf } = model;
  const resident: ResidentDType | DType = dtype === null ? model.dtype.resident : defaultResidentDType(dtype);
  const expertType = dtype ?? model.dtype.experts;
  const layer: MixtureLayer = {
    experts: expertsOf(model, expertType),
    resident: sharedDFf === 0 ? [] : [{ dtype: resident, bytes: ffnBytes(resident, dModel, sharedDFf) }],
  };
  const mixture = { layers: new Array<MixtureLayer>(nLayers).fill(layer) };
  const [queryRows, kvRows] = [nHeads * headDim, nKvHeads * headDim];
  const head = bytesOfRows(resident, vocabSize, dModel);
  return {
    name,
    nLayers,
    dModel,
    nKvHeads,
    headDim,
    dtype: expertType,
    attentionTypes: [{ dtype: resident, share: 1 }],
    ffnTypes: [],
    headDtype: resident,
    rowStream: null,
    attentionBytes: bytesOfRows(resident, queryRows + 2 * kvRows, dModel) + bytesOfRows(resident, dModel, queryRows),
    headBytes: head,
    rowTableBytes: head,
    ...meanExpert(mixture),
    parallelBlock: false,
    predictor: null,
    mixture,
  };
}

/** Of a slot: its place in the cache's lists, estimated. */
const SLOT_OVERHEAD_BYTES = 48;

function requestOf(
  { vocabSize, nHeads, sharedDFf }: PublishedMixture,
  shape: ModelShape,
  wish: MemoryWish,
): MemoryRequest {
  const { nLayers, dModel, headDim, mixture } = shape;
  const [{ experts }] = mixture!.layers as [MixtureLayer & { readonly experts: ExpertsShape }];
  const { count, chosen, dFf, slotBytes } = experts;
  const widths = 6 * dModel + 2 * nHeads * headDim + 2 * Math.max(dFf, sharedDFf) + count;
  return {
    ...wish,
    geometry: { layers: new Array(nLayers).fill({ attention: shape, ffn: { dFf } }) },
    weights: { slotBytes },
    experts: {
      countByLayer: new Array<number>(nLayers).fill(count),
      chosenByLayer: new Array<number>(nLayers).fill(chosen),
      slotBytesByLayer: new Array<number>(nLayers).fill(slotBytes),
    },
    // Checksums of all experts.
    residentBytes: nLayers * shape.attentionBytes + residentFfnBytes(mixture!) + shape.headBytes + 4 * nLayers * count,
    rowTableBytes: shape.rowTableBytes,
    predictorBytes: 0,
    namedShareByLayer: null,
    activationBytes: (batchTokens) => 4 * batchTokens * widths + 4 * vocabSize,
    slotOverheadBytes: SLOT_OVERHEAD_BYTES,
    cacheFixedBytes: nLayers * 4 * count,
    readBufferBytes: 0,
  };
}
