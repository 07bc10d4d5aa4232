/**
 * Writing the scaled model, streaming.
 *
 * Invariants: memory holds one tensor of the source and a block of {@link BLOCK_BYTES} of the target; the bytes depend on
 * source, size, dtype, layout and seed alone; the fingerprint on source, size and seed, so that one predictor serves all
 * dtypes and layouts.
 */
import { MiB, type OnProgress, type RecordDType } from "@flashwick/core";
import { crc32c, type ModelHeader, type ModelSpec, type ModelWriter } from "@flashwick/flash-format";
import { type Expansion, expandRows } from "./expansion.js";
import type { GeometryScale } from "./geometry-scale.js";
import { neuronOrder } from "./neuron-order.js";
import type { SourceModel } from "./source-model.js";
import { planNeurons, planTensor } from "./tensor-expansion.js";

/** f32 bytes of target rows handed to the writer at once. */
const BLOCK_BYTES = 4 * MiB;

export interface ScaledForm {
  readonly dtype: RecordDType;
  readonly layout: "bundled" | "split";
  /** Of the order of neurons. */
  readonly seed: number;
}

/** What the writer of the scaled model is to be made for. */
export function scaledSpec(source: SourceModel, scale: GeometryScale, { dtype, layout }: ScaledForm): ModelSpec {
  const { tokenizerJson, metadata } = source.header;
  const tokenizerKind = tokenizerJson === null ? null : "tokenizer.json";
  const { target, targetGeometry: geometry } = scale;
  const name = `${metadata.get("general.name")} scaled to ${target.nLayers} layers of ${target.dModel}`;
  return { geometry, dtype, layout, strideBytes: "auto", tokenizerJson, tokenizerKind, name };
}

/**
 * Writes all tensors and finishes the file. What the writer has already is not made again.
 *
 * @throws What the writer throws; it is abandoned then.
 * Cost: about 2 ns a weight, and as many bytes as the file has.
 */
export async function writeScaledModel(
  writer: ModelWriter,
  source: SourceModel,
  scale: GeometryScale,
  seed: number,
  onProgress?: OnProgress,
): Promise<ModelHeader> {
  const { target } = scale;
  const order = (layer: number) => neuronOrder(scale.source.dFf, scale.neuronCopies, seed, layer);
  let loaded = 0;
  const total = writer.residentTensors.length + target.nLayers;
  const advance = (detail: string) => onProgress?.({ phase: "scale", loaded: ++loaded, total, unit: "steps", detail });
  try {
    for (const { name } of writer.residentTensors) {
      if (!writer.isComplete(name)) await writeTensor(writer, name, source, scale, order);
      advance(name);
    }
    for (let layer = 0; layer < target.nLayers; layer++) {
      const name = `blk.${layer}.ffn`;
      if (!writer.isComplete(name)) await writeNeurons(writer, layer, source, scale, order(layer));
      advance(name);
    }
    return await writer.finish();
  } catch (error) {
    // The first failure is the one to report.
    await writer.abandon().catch(() => {});
    throw error;
  }
}

async function writeTensor(
  writer: ModelWriter,
  name: string,
  source: SourceModel,
  scale: GeometryScale,
  order: (layer: number) => Uint32Array,
): Promise<void> {
  const plan = planTensor(name, scale, order);
  const small = await source.readTensor(plan.source);
  const smallCols = source.header.tensors.get(plan.source)!.cols;
  for (const { first, count } of blocks(plan.expansion)) {
    const rows = new Float32Array(count * plan.expansion.columns.length);
    expandRows(small, smallCols, plan.expansion, first, rows);
    await writer.writeRows(name, rows);
  }
  await writer.complete(name, sourceChecksum(small, plan.expansion));
}

async function writeNeurons(
  writer: ModelWriter,
  layer: number,
  source: SourceModel,
  scale: GeometryScale,
  order: Uint32Array,
): Promise<void> {
  const { gate, up, down } = planNeurons(scale, layer, order);
  const small = await source.readNeurons(scale.layers[layer]!.sourceLayer);
  const { dModel } = scale.source;
  for (const { first, count } of blocks(up)) {
    const rowsOf = (values: Float32Array, expansion: Expansion) => {
      const rows = new Float32Array(count * expansion.columns.length);
      expandRows(values, dModel, expansion, first, rows);
      return rows;
    };
    const gateRows = gate && rowsOf(small.gate!, gate);
    await writer.writeNeurons(layer, first, {
      gate: gateRows,
      up: rowsOf(small.up, up),
      down: rowsOf(small.down, down),
    });
  }
  const gates = gate ? sourceChecksum(small.gate!, gate) : 0;
  await writer.complete(`blk.${layer}.ffn`, sourceChecksum(small.down, down, sourceChecksum(small.up, up, gates)));
}

function* blocks({ rows, columns }: Expansion): Generator<{ first: number; count: number }> {
  const most = Math.max(1, Math.floor(BLOCK_BYTES / (4 * columns.length)));
  for (let first = 0; first < rows.length; first += most) yield { first, count: Math.min(most, rows.length - first) };
}

/** Of the source's values and of what is made of them: as telling as the checksum of the result, and far cheaper. */
function sourceChecksum(
  small: Float32Array,
  { rows, rowFactors, columns, columnFactors }: Expansion,
  seed = 0,
): number {
  let crc = seed;
  for (const { buffer, byteOffset, byteLength } of [small, rows, rowFactors, columns, columnFactors]) {
    crc = crc32c(new Uint8Array(buffer, byteOffset, byteLength), crc);
  }
  return crc;
}
