/**
 * How many bytes everything takes: the one place that the memory plan (before) and the allocation (after) both ask.
 */
import {
  COLUMN_STAGES,
  columnCounts,
  ffnBytes,
  hasResidentGate,
  kvPartBytes,
  neuronBiases,
  neuronCount,
  type PredictorLayerShape,
  unitsByLayer,
  widestFfn,
} from "@flashwick/core";
import {
  type KvPrecision,
  kvCacheBytes,
  kvPageCount,
  kvTableBytes,
  type MemoryPlan,
  type MemoryRequest,
} from "@flashwick/cost-model";
import { cacheBookkeepingBytes, lfuPolicy } from "@flashwick/dram-cache";
import {
  columnBytes,
  columnCount,
  columnsOf,
  MATRIX_NAMES,
  type ModelHeader,
  recordLayout,
} from "@flashwick/flash-format";
import type { ScratchSizes } from "@flashwick/kernels";
import { placedPredictorBytes } from "@flashwick/predictor";
import type { CacheScope, NeuronMode } from "./engine-config.js";
import { type EngineParts, largestArena } from "./engine-parts.js";
import { checkSupport } from "./engine-support.js";
import { chunkRange } from "./layer-stream.js";
import { plannedExperts, slotBytesByLayer } from "./mixture-shape.js";
import { PLACEMENT_SLACK_BYTES, residentSizes } from "./resident-weights.js";
import { leastAreaBytes } from "./staged-rows.js";
import { type WorkspaceShape, workspaceBytes } from "./workspace.js";

/** The widest prefill batch that is planned. */
export const MOST_BATCH_TOKENS = 128;
/** Neurons that the oracle looks at in one go. */
const STAGE_SLOTS = 64;
/** Slots begin on a page, so that direct reads may land in them. */
export const SLOT_ALIGNMENT = 4096;
/** Alignment losses of one layer's small allocations (biases, keys, values, scales), at most. */
const LAYER_SLACK_BYTES = 128;

/** Of what all layers share: a list of all neurons, activations being put in order, and the union of several tokens' sets. */
const SHARED_BYTES_A_NEURON = 12;
/** … of the stage that layers are streamed through, whose biases are aligned … */
const STREAM_SLACK_BYTES = 32;
/** … and of an arena's page tables. */
const TABLE_SLACK_BYTES = 16;

/** What of the platform the sizes depend on, and the gaps that are read over. Kernels are asked for sizes, and none are made. */
type Place = Pick<EngineParts, "maxArenaBytes"> & {
  readonly kernels: ScratchSizes;
  readonly mergeGapBytes: number;
  /** Default: each layer's experts have slots of their own. */
  readonly cacheScope?: CacheScope;
  /** Default: as many as a mixture's routers choose. */
  readonly expertsPerToken?: number | null;
};

/** Shapes are enough to know sizes. */
type PredictorSizes = { readonly layers: readonly PredictorLayerShape[] };

export interface EngineSizes {
  readonly workspace: WorkspaceShape;
  /** Room for the oracle's look at whole layers; 0 in other modes. */
  readonly stageBytes: number;
  readonly stageSlots: number;
  /** Room for bytes between runs that are read over; 0 for none. */
  readonly gapBytes: number;
  /** What each arena needs apart from layers and globals. */
  readonly perArenaBytes: number;
  /** At most so many arenas. */
  readonly arenas: number;
  /** Everything that belongs to a layer and lies in its arena. */
  readonly layerBytes: readonly number[];
  readonly globalBytes: number;
}

/**
 * What the plan must know of a model; `budgetBytes`, `contextTokens` and `kvPrecision` are the user's.
 *
 * @throws {UnsupportedError} as `checkSupport`.
 */
export function memoryRequest(
  header: ModelHeader,
  predictor: PredictorSizes | null,
  mode: NeuronMode,
  place: Place,
  wish: {
    readonly budgetBytes: number | null;
    readonly contextTokens: number;
    /** Sequences that may be open at once. */
    readonly sequences: number;
    readonly kvPrecision: KvPrecision | "auto";
  },
): MemoryRequest {
  const { geometry, weights } = header;
  checkSupport(header, mode);
  // Single neurons are chosen.
  if (mode !== "dense" && mode !== "pruned") recordLayout(header);
  const resident = residentSizes(header);
  const layers = mode === "predicted" && predictor ? predictor.layers : [];
  const columns = columnsOf(header);
  const widest = Math.max(widestFfn(geometry), ...unitsByLayer(geometry), columns ? geometry.dModel : 0);
  const ffn = ffnSizes(header);
  const residentBytes =
    resident.layerBytes.reduce((sum, bytes) => sum + bytes, 0) +
    resident.globalBytes +
    ffn.checksumBytes +
    resident.rowCrcBytes;
  const predictorBytes = layers.reduce((sum, layer) => sum + placedPredictorBytes(layer), 0);
  const activationBytes = (batchTokens: number) =>
    workspaceBytes(workspaceShape(header, predictor, mode, { ...wish, batchTokens }), place.kernels);
  const everything =
    residentBytes +
    resident.rowTableBytes -
    resident.rowCrcBytes +
    predictorBytes +
    (columns ? columnBytes(geometry, columns) : ffnBytes(geometry, weights)) +
    wish.sequences * kvCacheBytes(geometry, "f32", wish.contextTokens);
  const stream = streamRange(header);
  const shared = stageBytes(header, mode) + gapBytes(place.mergeGapBytes) + STREAM_SLACK_BYTES;
  const arenas = arenaCount(
    header,
    wish.budgetBytes ?? everything,
    activationBytes(MOST_BATCH_TOKENS) + shared + streamBytes(header, stream.mostNeurons),
    place,
  );
  return {
    ...wish,
    geometry,
    weights,
    experts: plannedExperts(header, place.cacheScope ?? "layer", place.expertsPerToken ?? null),
    columns: columns
      ? {
          inputs: geometry.dModel,
          inputSlotBytes: columns.inputs.strideBytes,
          outputSlotBytes: columns.outputs.strideBytes,
        }
      : undefined,
    streamsLayers: weights.layout === "matrices",
    residentBytes,
    // In DRAM a table needs no checksums of its rows.
    rowTableBytes: resident.rowTableBytes - resident.rowCrcBytes,
    predictorBytes,
    namedShareByLayer: mode === "gate-first" ? "even" : namedShares(layers),
    activationBytes: (batchTokens) => arenas * activationBytes(batchTokens),
    slotOverheadBytes: ffn.slotOverheadBytes,
    // Keys and values are counted with their page tables in one arena; every further arena has its own.
    cacheFixedBytes:
      ffn.fixedBytes +
      geometry.layers.length * (LAYER_SLACK_BYTES + ffn.layerSlackBytes) +
      arenas * (slotBlocks(header) * SLOT_ALIGNMENT + TABLE_SLACK_BYTES) +
      (arenas - 1) * wish.sequences * kvTableBytes(wish.contextTokens) +
      SHARED_BYTES_A_NEURON * widest,
    readBufferBytes: arenas * shared,
    stream: { ...stream, bytesEach: arenas * streamBytes(header, 1) },
  };
}

function namedShares(layers: readonly PredictorLayerShape[]): readonly number[] | null {
  return layers.length > 0 ? layers.map(({ namedShare }) => namedShare) : null;
}

export function engineSizes(
  header: ModelHeader,
  predictor: PredictorSizes | null,
  plan: MemoryPlan,
  mode: NeuronMode,
  place: Place,
): EngineSizes {
  const { geometry } = header;
  const ffn = ffnSizes(header);
  const resident = residentSizes(header);
  const workspace = workspaceShape(header, predictor, mode, plan);
  const kvPages = plan.sequences * kvPageCount(plan.contextTokens);
  const tableBytes = plan.sequences * kvTableBytes(plan.contextTokens);
  const stage = stageBytes(header, mode);
  const gap = gapBytes(place.mergeGapBytes);
  const stream = streamBytes(header, plan.streamNeurons) + STREAM_SLACK_BYTES;
  const slotBytes = slotBytesByLayer(header, place.cacheScope ?? "layer");
  const perArenaBytes =
    workspaceBytes(workspace, place.kernels) +
    tableBytes +
    TABLE_SLACK_BYTES +
    stage +
    gap +
    stream +
    slotBlocks(header) * SLOT_ALIGNMENT;
  const columns = columnsOf(header);
  return {
    workspace,
    stageBytes: stage,
    stageSlots: STAGE_SLOTS,
    gapBytes: gap,
    perArenaBytes,
    arenas: arenaCount(header, plan.dram.budget, perArenaBytes, place),
    layerBytes: resident.layerBytes.map((bytes, layer) => {
      const { attention } = geometry.layers[layer]!;
      const predictorLayer = mode === "predicted" ? predictor?.layers[layer] : undefined;
      return (
        bytes +
        (predictorLayer ? placedPredictorBytes(predictorLayer) : 0) +
        plan.slotsByLayer[layer]! * (slotBytes[layer]! + slotBiasBytes(header)) +
        (columns ? plan.inputSlotsByLayer[layer]! * columns.inputs.strideBytes : 0) +
        ffn.layerSlackBytes +
        kvPages * kvPartBytes(plan.kvPrecision, attention.nKvHeads, attention.headDim) +
        LAYER_SLACK_BYTES
      );
    }),
    globalBytes: resident.globalBytes + (plan.rowTablesResident ? resident.rowTableBytes : 0),
  };
}

/**
 * How many arenas `totalBytes` may come to, at most: a layer is never cut, so each arena but the last may be left with
 * nearly a layer's worth of room. Each holds a layer, or the model is refused.
 */
function arenaCount(header: ModelHeader, totalBytes: number, perArenaBytes: number, place: Place): number {
  const most = largestArena(place);
  if (totalBytes <= most) return 1;
  const { geometry, weights } = header;
  const layer = Math.max(...residentSizes(header).layerBytes) + Math.max(...unitsByLayer(geometry)) * weights.slotBytes;
  const bound = geometry.layers.length + 1;
  const filled = most - perArenaBytes - layer;
  return filled <= 0 ? bound : Math.min(bound, Math.ceil(totalBytes / filled));
}

/** Of slots of one size, each of which begins on a page. */
function slotBlocks({ weights }: ModelHeader): number {
  return weights.layout === "columns" ? 2 : 1;
}

function stageBytes(header: ModelHeader, mode: NeuronMode): number {
  return mode === "oracle" ? STAGE_SLOTS * header.weights.slotBytes + SLOT_ALIGNMENT : 0;
}

/** The policy whose order takes most for each expert: plans do not depend on which is chosen. */
const WIDEST_ORDER = lfuPolicy();

/** What an FFN takes beside its weights. */
interface FfnSizes {
  /** Of all records, or of all groups of bytes that have one beside the file. */
  readonly checksumBytes: number;
  /** Of a slot: biases and bookkeeping. */
  readonly slotOverheadBytes: number;
  /** Bookkeeping of all layers that does not depend on their slots. */
  readonly fixedBytes: number;
  /** Alignment and tails of a layer's matrices. */
  readonly layerSlackBytes: number;
}

/** Of checksums that lie beside the file. */
function besideBytes({ checksums }: ModelHeader): number {
  return [...(checksums?.byTensor.values() ?? [])].reduce((sum, { byteLength }) => sum + byteLength, 0);
}

function ffnSizes(header: ModelHeader): FfnSizes {
  const { geometry, weights } = header;
  if (weights.layout === "experts") return expertSizes(header);
  if (weights.layout === "columns") return columnSizes(header);
  if (weights.layout === "matrices") {
    return {
      checksumBytes: besideBytes(header),
      slotOverheadBytes: 0,
      fixedBytes: 0,
      layerSlackBytes: MATRIX_NAMES.length * PLACEMENT_SLACK_BYTES,
    };
  }
  return {
    checksumBytes: 4 * neuronCount(geometry),
    slotOverheadBytes: slotBiasBytes(header) + cacheBookkeepingBytes(widestFfn(geometry)).slotBytes,
    fixedBytes: geometry.layers.reduce((sum, { ffn }) => sum + cacheBookkeepingBytes(ffn.dFf).fixedBytes, 0),
    layerSlackBytes: 0,
  };
}

/** Columns have a checksum a record, no biases beside them, and a cache for each kind. */
function columnSizes({ geometry }: ModelHeader): FfnSizes {
  const units = geometry.layers.flatMap((layer) => {
    const counts = columnCounts(geometry.dModel, layer);
    return COLUMN_STAGES.map((stage) => counts[stage]);
  });
  const fixedBytes = (count: number) => cacheBookkeepingBytes(count, { policy: WIDEST_ORDER }).fixedBytes;
  return {
    checksumBytes: 4 * columnCount(geometry),
    slotOverheadBytes: cacheBookkeepingBytes(Math.max(...units)).slotBytes,
    fixedBytes: units.reduce((sum, count) => sum + fixedBytes(count), 0),
    layerSlackBytes: 0,
  };
}

/** Experts have a checksum a record, or each of their matrices one beside the file, and bookkeeping as neurons have. */
function expertSizes(header: ModelHeader): FfnSizes {
  const units = unitsByLayer(header.geometry);
  const ours = header.experts.reduce((sum, layer) => sum + (layer?.recordChecks ? 4 * layer.count : 0), 0);
  const fixedBytes = (count: number) => cacheBookkeepingBytes(count, { policy: WIDEST_ORDER }).fixedBytes;
  return {
    checksumBytes: ours + besideBytes(header),
    slotOverheadBytes: cacheBookkeepingBytes(Math.max(...units)).slotBytes,
    fixedBytes: units.reduce((sum, count) => sum + (count === 0 ? 0 : fixedBytes(count)), 0),
    layerSlackBytes: 0,
  };
}

/** How many neurons' bytes a chunk of a stream may have; where weights lie in matrices, enough for what LayerMatrices needs. */
function streamRange({ geometry, weights, matrices }: ModelHeader): ReturnType<typeof chunkRange> {
  // Experts go through their slots, however many a step uses.
  if (weights.layout === "experts") return { leastNeurons: 0, mostNeurons: 0 };
  if (weights.layout === "columns") {
    return chunkRange(Math.min(geometry.dModel, widestFfn(geometry)), weights.inputs.strideBytes);
  }
  const { leastNeurons, mostNeurons } = chunkRange(widestFfn(geometry), weights.slotBytes);
  const least = Math.max(leastNeurons, ...matrices.map((of) => Math.ceil(leastAreaBytes(of) / weights.slotBytes)));
  return { leastNeurons: least, mostNeurons: Math.max(least, mostNeurons) };
}

/** Bytes of a neuron's biases beside its slot; where FFNs lie in matrices, those of the layer serve. */
function slotBiasBytes(header: ModelHeader): number {
  const { geometry, weights } = header;
  if (weights.layout !== "bundled" && weights.layout !== "split") return 0;
  return 4 * neuronBiases(geometry, hasResidentGate(header));
}

/** Both areas that layers are streamed through, for chunks of so many neurons, with their biases; by columns, areas of either kind of record. */
function streamBytes(header: ModelHeader, neurons: number): number {
  const columns = columnsOf(header);
  if (columns) return 2 * neurons * (columns.inputs.strideBytes + columns.outputs.strideBytes);
  return 2 * neurons * (header.weights.slotBytes + slotBiasBytes(header));
}

function gapBytes(bytes: number): number {
  return bytes === 0 ? 0 : Math.ceil(bytes / SLOT_ALIGNMENT) * SLOT_ALIGNMENT + SLOT_ALIGNMENT;
}

function workspaceShape(
  header: ModelHeader,
  predictor: PredictorSizes | null,
  mode: NeuronMode,
  { batchTokens, contextTokens }: Pick<MemoryPlan, "batchTokens" | "contextTokens">,
): WorkspaceShape {
  const ranks = mode === "predicted" && predictor ? predictor.layers.map(({ rank }) => rank) : [0];
  return {
    geometry: header.geometry,
    batchTokens,
    contextTokens,
    maxRank: Math.max(...ranks),
    matrices: header.weights.layout === "matrices" || header.weights.layout === "experts",
    columns: header.weights.layout === "columns",
    residentGate: hasResidentGate(header),
    rowBytes: residentSizes(header).rowBytes,
  };
}
