/**
 * How many bytes everything takes: the one place that the memory plan (before) and the allocation (after) both ask.
 */
import { type Predictor, paddedLength } from "@flashwick/core";
import { type KvPrecision, kvCacheBytes, type MemoryPlan, type MemoryRequest } from "@flashwick/cost-model";
import { cacheBookkeepingBytes } from "@flashwick/dram-cache";
import type { ModelHeader } from "@flashwick/flash-format";
import { Arena, type KernelFactory } from "@flashwick/kernels";
import { placedPredictorBytes } from "@flashwick/predictor";
import type { NeuronMode } from "./engine.js";
import { residentSizes } from "./resident-weights.js";
import { type WorkspaceShape, workspaceBytes } from "./workspace.js";

/** Neurons that the oracle looks at in one go. */
const STAGE_SLOTS = 64;
/** Slots begin on a page, so that direct reads may land in them. */
export const SLOT_ALIGNMENT = 4096;
/** Alignment losses of one layer's small allocations (biases, keys, values, scales), at most. */
const LAYER_SLACK_BYTES = 128;

export interface EngineSizes {
  readonly workspace: WorkspaceShape;
  readonly workspaceBytes: number;
  /** Room for the oracle's look at whole layers; 0 in other modes. */
  readonly stageBytes: number;
  readonly stageSlots: number;
  /** Everything that belongs to a layer and lies in its arena. */
  readonly layerBytes: readonly number[];
  readonly globalBytes: number;
  /** Bytes to load from the file at start. */
  readonly residentFileBytes: number;
  /** One activation vector of dModel, padded. */
  readonly vectorBytes: number;
  readonly logitsStrideBytes: number;
}

/** What the plan must know of a model; `budgetBytes`, `contextTokens` and `kvPrecision` are the user's. */
export function memoryRequest(
  header: ModelHeader,
  predictor: Predictor | null,
  mode: NeuronMode,
  kernels: KernelFactory,
  wish: {
    readonly budgetBytes: number | null;
    readonly contextTokens: number;
    readonly kvPrecision: KvPrecision | "auto";
  },
): MemoryRequest {
  const { geometry, weights } = header;
  const resident = residentSizes(header);
  const probe = kernels(new Arena(0));
  const layers = mode === "predicted" && predictor ? predictor.layers : [];
  const { fixedBytes, slotBytes } = cacheBookkeepingBytes(geometry.dFf);
  return {
    ...wish,
    geometry,
    weights,
    residentBytes:
      resident.layerBytes.reduce((sum, bytes) => sum + bytes, 0) +
      resident.globalBytes +
      4 * geometry.dFf * geometry.nLayers,
    rowTableBytes: resident.rowTableBytes,
    predictorBytes: layers.reduce((sum, layer) => sum + placedPredictorBytes(layer), 0),
    namedShareByLayer: layers.length > 0 ? layers.map(({ namedShare }) => namedShare) : null,
    activationBytes: (batchTokens) =>
      workspaceBytes(workspaceShape(header, predictor, mode, batchTokens, wish.contextTokens), probe),
    slotOverheadBytes: (geometry.biases ? 4 : 0) + slotBytes,
    cacheFixedBytes: geometry.nLayers * (fixedBytes + LAYER_SLACK_BYTES) + SLOT_ALIGNMENT + 4 * geometry.dFf,
    readBufferBytes: stageBytes(header, mode),
  };
}

export function engineSizes(
  header: ModelHeader,
  predictor: Predictor | null,
  plan: MemoryPlan,
  mode: NeuronMode,
  kernels: KernelFactory,
): EngineSizes {
  const { geometry, weights } = header;
  const resident = residentSizes(header);
  const workspace = workspaceShape(header, predictor, mode, plan.batchTokens, plan.contextTokens);
  const kvBytes = kvCacheBytes(geometry, plan.kvPrecision, plan.contextTokens) / geometry.nLayers;
  return {
    workspace,
    workspaceBytes: workspaceBytes(workspace, kernels(new Arena(0))),
    stageBytes: stageBytes(header, mode),
    stageSlots: STAGE_SLOTS,
    layerBytes: resident.layerBytes.map((bytes, layer) => {
      const predictorLayer = mode === "predicted" ? predictor?.layers[layer] : undefined;
      return (
        bytes +
        (predictorLayer ? placedPredictorBytes(predictorLayer) : 0) +
        plan.slotsByLayer[layer]! * (weights.slotBytes + (geometry.biases ? 4 : 0)) +
        kvBytes +
        LAYER_SLACK_BYTES
      );
    }),
    globalBytes: resident.globalBytes + (plan.rowTablesResident ? resident.rowTableBytes : 0),
    residentFileBytes: plan.dram.resident - 4 * geometry.dFf * geometry.nLayers,
    vectorBytes: 4 * paddedLength(geometry.dModel),
    logitsStrideBytes: 4 * paddedLength(geometry.vocabSize),
  };
}

function stageBytes(header: ModelHeader, mode: NeuronMode): number {
  return mode === "oracle" ? STAGE_SLOTS * header.weights.slotBytes + SLOT_ALIGNMENT : 0;
}

function workspaceShape(
  header: ModelHeader,
  predictor: Predictor | null,
  mode: NeuronMode,
  batchTokens: number,
  contextTokens: number,
): WorkspaceShape {
  const ranks = mode === "predicted" && predictor ? predictor.layers.map(({ rank }) => rank) : [0];
  return {
    geometry: header.geometry,
    batchTokens,
    contextTokens,
    maxRank: Math.max(...ranks),
    rowBytes: residentSizes(header).rowBytes,
  };
}
