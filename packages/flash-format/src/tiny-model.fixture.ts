/** A model of a few hundred weights, made up from a formula: what the tests of this package write and read. */
import {
  type ByteSink,
  blockBytes,
  blockElements,
  type DType,
  decodeBfloat16,
  decodeFloat16,
  type ModelGeometry,
  memorySource,
} from "@flashwick/core";
import { decodeRow } from "@flashwick/kernels/reference";
import { optFamily } from "./convert/families/opt.js";
import { crc32c } from "./crc32c.js";
import type { GgufTensor, GgufValue } from "./gguf.js";
import { type DecodedGgufHeader, decodeGgufHeader } from "./gguf-decoder.js";
import { encodeGgufHeader } from "./gguf-encoder.js";
import { memorySink } from "./memory-sink.js";
import type { ModelFile, ModelHeader } from "./model-file.js";
import type { ModelSpec, ModelWriter, ModelWriterOptions } from "./model-writer.js";
import { openModelFile } from "./read-model.js";
import { createModelWriter } from "./write-model.js";

const TINY_CONFIG = {
  ...{ num_hidden_layers: 2, hidden_size: 20, ffn_dim: 7, num_attention_heads: 4 },
  ...{ vocab_size: 11, max_position_embeddings: 6 },
};

/** A small OPT. @param change Of its config.json. */
export function tinyGeometry(change: Record<string, unknown> = {}): ModelGeometry {
  return optFamily.readGeometry({ ...TINY_CONFIG, ...change }, "config.json");
}

export const TINY_GEOMETRY: ModelGeometry = tinyGeometry();
export const TINY_NEURONS = TINY_CONFIG.ffn_dim;
export const TINY_LAYERS = TINY_CONFIG.num_hidden_layers;

export function tinySpec(changes: Partial<ModelSpec> = {}): ModelSpec {
  return {
    geometry: TINY_GEOMETRY,
    dtype: "f16",
    layout: "bundled",
    strideBytes: "auto",
    tokenizerJson: '{"model":{"type":"BPE"}}',
    tokenizerKind: "tokenizer.json",
    name: "tiny",
    ...changes,
  };
}

/** The weight at a place: multiples of 1/64 within ±2, exact in every float dtype. */
export function tinyWeight(name: string, row: number, col: number): number {
  let seed = 0;
  for (const character of name) seed = (seed * 31 + character.charCodeAt(0)) & 0xffff;
  return (((seed + row * 37 + col * 101) % 255) - 127) / 64;
}

export function tinyRows(name: string, firstRow: number, rows: number, cols: number): Float32Array {
  return Float32Array.from({ length: rows * cols }, (_, i) =>
    tinyWeight(name, firstRow + Math.floor(i / cols), i % cols),
  );
}

/** Stands for the checksum of a checkpoint's bytes. */
export function tinySourceCrc(name: string): number {
  return crc32c(new TextEncoder().encode(name));
}

/** Writes every part that is not complete yet, at most `rowsPerCall` rows a call. */
export async function writeTinyParts(writer: ModelWriter, spec: ModelSpec, rowsPerCall = 4): Promise<void> {
  for (const { name, rows, cols } of writer.residentTensors) {
    if (writer.isComplete(name)) continue;
    for (let row = 0; row < rows; row += rowsPerCall) {
      await writer.writeRows(name, tinyRows(name, row, Math.min(rowsPerCall, rows - row), cols));
    }
    await writer.complete(name, tinySourceCrc(name));
  }
  const { dModel, layers } = spec.geometry;
  for (const [layer, { ffn }] of layers.entries()) {
    const { dFf } = ffn;
    const name = `blk.${layer}.ffn`;
    if (writer.isComplete(name)) continue;
    for (let neuron = 0; neuron < dFf; neuron += rowsPerCall) {
      const count = Math.min(rowsPerCall, dFf - neuron);
      const up = tinyRows(`${name}_up`, neuron, count, dModel);
      const down = tinyRows(`${name}_down`, neuron, count, dModel);
      const gate = ffn.gated ? tinyRows(`${name}_gate`, neuron, count, dModel) : null;
      await writer.writeNeurons(layer, neuron, { gate, up, down });
    }
    await writer.complete(name, tinySourceCrc(name));
  }
}

export async function writeTinyModel(
  sink: ByteSink,
  spec: ModelSpec = tinySpec(),
  options: ModelWriterOptions = {},
  rowsPerCall = 4,
): Promise<ModelHeader> {
  const writer = await createModelWriter(sink, spec, options);
  await writeTinyParts(writer, spec, rowsPerCall);
  return writer.finish();
}

export async function tinyModelBytes(spec: ModelSpec = tinySpec(), rowsPerCall = 4): Promise<Uint8Array> {
  const sink = memorySink();
  await writeTinyModel(sink, spec, {}, rowsPerCall);
  return sink.committed!;
}

export async function openTinyModel(spec: ModelSpec = tinySpec()): Promise<{ file: ModelFile; bytes: Uint8Array }> {
  const bytes = await tinyModelBytes(spec);
  return { file: await openModelFile(memorySource(bytes, "tiny.gguf")), bytes };
}

/** Stored elements as numbers; int8 without its scale. `q4` is a part of a record. */
export function decodeElements(dtype: DType, bytes: Uint8Array): Float32Array {
  const copy = bytes.slice().buffer;
  switch (dtype) {
    case "f32":
      return new Float32Array(copy);
    case "f16":
      return Float32Array.from(new Uint16Array(copy), decodeFloat16);
    case "bf16":
      return Float32Array.from(new Uint16Array(copy), decodeBfloat16);
    case "int8":
      return Float32Array.from(new Int8Array(copy));
    default: {
      const out = new Float32Array((bytes.length / blockBytes(dtype)) * blockElements(dtype));
      decodeRow(dtype, bytes, 0, out.length, out);
      return out;
    }
  }
}

export interface EditableHeader {
  readonly metadata: Map<string, GgufValue>;
  readonly tensors: GgufTensor[];
}

/** The file with its header edited and sealed again: damage that no checksum shows. The data stays where it is. */
export function withEditedHeader(file: Uint8Array, edit: (header: EditableHeader) => void): Uint8Array {
  const decoded: DecodedGgufHeader = decodeGgufHeader(file, "edited");
  const header = { metadata: new Map(decoded.metadata), tensors: [...decoded.tensors] };
  edit(header);
  const key = "flashwick.header.crc32c";
  const sealable = header.metadata.get(key)?.type === "u32";
  if (sealable) header.metadata.set(key, { type: "u32", value: 0 });
  const { bytes, valueOffsets } = encodeGgufHeader(header);
  if (sealable) new DataView(bytes.buffer).setUint32(valueOffsets.get(key)!, crc32c(bytes), true);
  const result = file.slice();
  result.fill(0, 0, decoded.headerBytes);
  result.set(bytes);
  return result;
}
