/** A model file as the cost model sees it: bytes by what is done with them, from the header alone. */
import { assert, type DType, type PredictorLayerShape, rowBytes, widestFfn } from "@flashwick/core";
import { type ModelShape, meanExpert, type TypeShare } from "@flashwick/cost-model";
import { layerTensors, type MatrixName, type ModelHeader, type ResidentTensor } from "@flashwick/flash-format";
import { mixtureOf } from "./mixture-shape.js";

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
      dtype: predictor.layers[0]!.w1.dtype,
      bytesByLayer: predictor.layers.map(({ w1, w2 }) => matrixBytes(w1) + matrixBytes(w2)),
    },
  };
}

type LayerWeights = Pick<
  ModelShape,
  "attentionBytes" | "recordBytes" | "matrixBytes" | "strideBytes" | "readsPerNeuron" | "layerTypes" | "streams"
> &
  Partial<Pick<ModelShape, "dFf" | "mixture">>;

/** What a layer computes with, and what of it is read. */
function layerWeights(header: ModelHeader): LayerWeights {
  if (header.experts.length > 0) return mixtureWeights(header);
  return header.matrices.length > 0 ? matrixWeights(header) : recordWeights(header);
}

/** Attention's mean over the layers, and experts in place of neurons. */
function mixtureWeights(header: ModelHeader): LayerWeights {
  const mixture = mixtureOf(header);
  const { length } = header.geometry.layers;
  const attention = Array.from({ length }, (_, layer) => layer).flatMap((layer) =>
    ATTENTION.flatMap((name) => header.tensors.get(`blk.${layer}.${name}.weight`) ?? []),
  );
  const all = attention.reduce((sum, tensor) => sum + sizeOf(tensor), 0);
  const types = [...new Set(attention.map(({ dtype }) => dtype))];
  const shareOf = (dtype: DType): TypeShare => ({
    dtype,
    share: attention.reduce((sum, tensor) => sum + (tensor.dtype === dtype ? sizeOf(tensor) : 0), 0) / all,
  });
  return {
    ...meanExpert(mixture),
    attentionBytes: all / length,
    layerTypes: types.map(shareOf),
    streams: "neurons",
    mixture,
  };
}

const ATTENTION = ["attn_q", "attn_k", "attn_v", "attn_output"];

function recordWeights({ geometry, weights, tensors }: ModelHeader): LayerWeights {
  assert(weights.layout === "bundled" || weights.layout === "split", "records");
  const { dtype, parts, strideBytes } = weights;
  const attention = ATTENTION.map((name) => tensors.get(`blk.0.${name}.weight`));
  const scaleBytes = dtype === "int8" ? 4 : 0;
  return {
    attentionBytes: attention.reduce((sum, tensor) => sum + sizeOf(tensor), 0),
    recordBytes: parts.length * (rowBytes(dtype, geometry.dModel) + scaleBytes),
    strideBytes,
    readsPerNeuron: weights.layout === "split" ? 2 : 1,
    layerTypes: [{ dtype, share: 1 }],
    streams: "neurons",
  };
}

/** Means over the layers, which differ in types. Where a layer is read, so is its attention. */
function matrixWeights(header: ModelHeader): LayerWeights {
  const { geometry, matrices } = header;
  const bytes = { attention: 0, ffn: 0, of: new Map<DType, number>() };
  for (const [name, tensor] of matrices.flatMap((layer) => Object.entries(layer))) {
    bytes[FFN_MATRICES.has(name) ? "ffn" : "attention"] += tensor.sizeBytes;
    bytes.of.set(tensor.dtype, (bytes.of.get(tensor.dtype) ?? 0) + tensor.sizeBytes);
  }
  const all = bytes.attention + bytes.ffn;
  const neurons = matrices.length * widestFfn(geometry);
  return {
    attentionBytes: bytes.attention / matrices.length,
    recordBytes: bytes.ffn / neurons,
    strideBytes: all / neurons,
    matrixBytes: all / layerTensors(header).length,
    readsPerNeuron: 1,
    layerTypes: Array.from(bytes.of, ([dtype, typed]) => ({ dtype, share: typed / all })),
    streams: "layers",
  };
}

const FFN_MATRICES: ReadonlySet<string> = new Set<MatrixName>(["gate", "up", "down"]);

function sizeOf(tensor: ResidentTensor | undefined): number {
  return tensor ? tensor.sizeBytes + (tensor.scales?.sizeBytes ?? 0) : 0;
}

function matrixBytes({ dtype, rows, cols }: PredictorLayerShape["w1"]): number {
  return rows * rowBytes(dtype, cols) + (dtype === "int8" ? 4 * rows : 0);
}
