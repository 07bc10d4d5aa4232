/** A model file as the cost model sees it: bytes by what is done with them, from the header alone. */
import { assert, hasResidentGate, type PredictorLayerShape, rowBytes, widestFfn } from "@flashwick/core";
import { type ModelShape, meanExpert, type TypeShare } from "@flashwick/cost-model";
import { columnsOf, gateName, type MatrixName, type ModelHeader, type ResidentTensor } from "@flashwick/flash-format";
import { predictorBytes, predictorMatrixBytes } from "@flashwick/predictor";
import { mixtureOf } from "./mixture-shape.js";
import { matrixRows } from "./staged-rows.js";

/** A model file, and its predictor, as the cost model sees them: its layers all like the first, and as wide as the widest. */
export function shapeOf(
  header: ModelHeader,
  predictor: { readonly layers: readonly PredictorLayerShape[] } | null,
): ModelShape {
  const { geometry: g, weights } = header;
  const { attention, parallel } = g.layers[0]!;
  const tensor = (name: string) => sizeOf(header.tensors.get(name));
  const head = g.head.tied ? "token_embd.weight" : "output.weight";
  return {
    name: `${g.architecture} ${g.layers.length} x ${g.dModel}`,
    nLayers: g.layers.length,
    dModel: g.dModel,
    dFf: widestFfn(g),
    nKvHeads: attention.nKvHeads,
    headDim: attention.headDim,
    dtype: weights.dtype,
    ...layerWeights(header),
    headBytes: tensor(head) + tensor("project_out.weight"),
    headDtype: header.tensors.get(head)!.dtype,
    rowTableBytes: tensor("position_embd.weight") + (g.head.tied ? 0 : tensor("token_embd.weight")),
    parallelBlock: parallel,
    predictor: predictor && {
      typesByLayer: predictor.layers.map(predictorTypes),
      bytesByLayer: predictor.layers.map(predictorBytes),
    },
  };
}

type LayerWeights = Pick<
  ModelShape,
  "attentionBytes" | "attentionTypes" | "recordBytes" | "ffnTypes" | "strideBytes" | "readsPerNeuron" | "rowStream"
> &
  Partial<Pick<ModelShape, "dFf" | "mixture" | "gate">>;

/** What a layer computes with, and what of it is read. */
function layerWeights(header: ModelHeader): LayerWeights {
  if (header.experts.length > 0) return mixtureWeights(header);
  if (header.columns.length > 0) return columnWeights(header);
  return header.matrices.length > 0 ? matrixWeights(header) : recordWeights(header);
}

/** Attention's mean over the layers, and experts in place of neurons. */
function mixtureWeights(header: ModelHeader): LayerWeights {
  const mixture = mixtureOf(header);
  const { length } = header.geometry.layers;
  const attention = Array.from({ length }, (_, layer) => layer).flatMap((layer) =>
    ATTENTION.flatMap((name) => header.tensors.get(`blk.${layer}.${name}.weight`) ?? []),
  );
  return {
    ...meanExpert(mixture),
    attentionBytes: bytesOf(attention) / length,
    attentionTypes: typeShares(attention),
    ffnTypes: [],
    rowStream: null,
    mixture,
  };
}

const ATTENTION = ["attn_q", "attn_k", "attn_v", "attn_output"];

function recordWeights(header: ModelHeader): LayerWeights {
  const { geometry, weights, tensors } = header;
  assert(weights.layout === "bundled" || weights.layout === "split", "records");
  const { dtype, parts, strideBytes } = weights;
  const attention = ATTENTION.map((name) => tensors.get(`blk.0.${name}.weight`)!);
  const scaleBytes = dtype === "int8" ? 4 : 0;
  return {
    attentionBytes: bytesOf(attention),
    attentionTypes: typeShares(attention),
    recordBytes: parts.length * (rowBytes(dtype, geometry.dModel) + scaleBytes),
    strideBytes,
    readsPerNeuron: weights.layout === "split" ? 2 : 1,
    ffnTypes: [{ dtype, share: 1 }],
    rowStream: null,
    ...residentGate(header),
  };
}

/** A neuron's share of its layer's records of both kinds: what a dense pass reads and computes for it. */
function columnWeights(header: ModelHeader): LayerWeights {
  const { geometry, weights, tensors } = header;
  const columns = columnsOf(header)!;
  const attention = ATTENTION.map((name) => tensors.get(`blk.0.${name}.weight`)!);
  const scaleBytes = weights.dtype === "int8" ? 4 : 0;
  const { dModel } = geometry;
  const vectors = columns.inputs.parts.length * dModel * (rowBytes(columns.dtype, columns.inputs.width) + scaleBytes);
  return {
    attentionBytes: bytesOf(attention),
    attentionTypes: typeShares(attention),
    recordBytes: vectors / columns.inputs.width + rowBytes(columns.dtype, dModel) + scaleBytes,
    strideBytes: weights.slotBytes,
    readsPerNeuron: 1,
    ffnTypes: [{ dtype: columns.dtype, share: 1 }],
    rowStream: null,
  };
}

/** Of the first layer, as all else. */
function residentGate(header: ModelHeader): Pick<ModelShape, "gate"> {
  if (!hasResidentGate(header)) return {};
  const tensor = header.tensors.get(gateName(0))!;
  return { gate: { dtype: tensor.dtype, bytes: sizeOf(tensor) } };
}

/** Means over the layers, which differ in types. Where a layer is read, so is its attention. */
function matrixWeights(header: ModelHeader): LayerWeights {
  const { geometry, matrices, weights } = header;
  const named = matrices.flatMap((layer) => Object.entries(layer));
  const matricesOf = (isFfn: boolean) =>
    named.filter(([name]) => FFN_MATRICES.has(name) === isFfn).map(([, tensor]) => tensor);
  const [attention, ffn] = [matricesOf(false), matricesOf(true)];
  const all = bytesOf(attention) + bytesOf(ffn);
  const neurons = matrices.length * widestFfn(geometry);
  return {
    attentionBytes: bytesOf(attention) / matrices.length,
    attentionTypes: typeShares(attention),
    recordBytes: bytesOf(ffn) / neurons,
    ffnTypes: typeShares(ffn),
    strideBytes: all / neurons,
    readsPerNeuron: 1,
    rowStream: {
      bytesPerNeuron: weights.slotBytes,
      isChecked: header.checksums !== undefined,
      layers: matrices.map((of, layer) => ({
        neurons: geometry.layers[layer]!.ffn.dFf,
        matrices: matrixRows(of),
      })),
    },
  };
}

/** By bytes. */
function typeShares(tensors: readonly ResidentTensor[]): TypeShare[] {
  const all = bytesOf(tensors);
  const types = [...new Set(tensors.map(({ dtype }) => dtype))];
  return types.map((dtype) => ({ dtype, share: bytesOf(tensors.filter((tensor) => tensor.dtype === dtype)) / all }));
}

function bytesOf(tensors: readonly ResidentTensor[]): number {
  return tensors.reduce((sum, tensor) => sum + sizeOf(tensor), 0);
}

const FFN_MATRICES: ReadonlySet<string> = new Set<MatrixName>(["gate", "up", "down"]);

function sizeOf(tensor: ResidentTensor | undefined): number {
  return tensor ? tensor.sizeBytes + (tensor.scales?.sizeBytes ?? 0) : 0;
}

/** W1 and W2 may differ. */
function predictorTypes(layer: PredictorLayerShape): TypeShare[] {
  const all = predictorBytes(layer);
  return [layer.w1, layer.w2].map((matrix) => ({ dtype: matrix.dtype, share: predictorMatrixBytes(matrix) / all }));
}
