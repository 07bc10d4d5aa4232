/** A mixture of a few thousand weights: two layers of experts that differ in number and width, and a dense one between them. */
import { type DType, type LayerGeometry, type ModelGeometry, memorySource } from "@flashwick/core";
import { gptOssFamily } from "./convert/families/gpt-oss.js";
import { expertMatrices } from "./expert-record.js";
import { memorySink } from "./memory-sink.js";
import type { ModelFile } from "./model-file.js";
import type { ModelSpec, ModelWriter } from "./model-writer.js";
import { openModelFile } from "./read-model.js";
import { tinyRows, tinySourceCrc, tinySpec } from "./tiny-model.fixture.js";
import { createModelWriter } from "./write-model.js";

/** gpt-oss has every part that a mixture may have, but a shared expert. */
const gptOss = gptOssFamily.readGeometry(
  {
    ...{ num_hidden_layers: 1, hidden_size: 32, intermediate_size: 64, num_attention_heads: 2, vocab_size: 11 },
    ...{ num_key_value_heads: 1, head_dim: 16, max_position_embeddings: 6, num_local_experts: 3 },
    ...{ num_experts_per_tok: 2, sliding_window: 4, tie_word_embeddings: true },
  },
  "config.json",
);
const [wide] = gptOss.layers as [LayerGeometry];
const { experts, ...dense } = wide;
const narrow: LayerGeometry = {
  ...wide,
  ffn: { ...wide.ffn, dFf: 32 },
  experts: { ...experts!, count: 5, chosen: 5, shared: { dFf: 32, gated: true } },
};

export const TINY_MIXTURE: ModelGeometry = { ...gptOss, layers: [wide, dense, narrow] };

export function mixtureSpec(changes: Partial<ModelSpec> = {}): ModelSpec {
  return tinySpec({ geometry: TINY_MIXTURE, ...changes });
}

/** The rows of a matrix of an expert. */
export function tinyExpertRows(layer: number, expert: number, role: string, rows: number, cols: number): Float32Array {
  return tinyRows(`blk.${layer}.${role}.${expert}`, 0, rows, cols);
}

/** Writes every part that is not complete yet, at most 5 rows a call. */
export async function writeMixtureParts(writer: ModelWriter, { geometry }: ModelSpec): Promise<void> {
  for (const { name, rows, cols } of writer.residentTensors) {
    if (writer.isComplete(name)) continue;
    await writer.writeRows(name, tinyRows(name, 0, rows, cols));
    await writer.complete(name, tinySourceCrc(name));
  }
  for (const [index, layer] of geometry.layers.entries()) {
    const name = `blk.${index}.ffn`;
    if (!layer.experts || writer.isComplete(name)) continue;
    for (let expert = 0; expert < layer.experts.count; expert++) {
      for (const { role, rows, cols } of expertMatrices(layer, geometry.dModel)) {
        const values = tinyExpertRows(index, expert, role, rows, cols);
        for (let at = 0; at < values.length; at += 5 * cols) {
          await writer.writeExpertRows(index, values.subarray(at, at + 5 * cols));
        }
      }
    }
    await writer.complete(name, tinySourceCrc(name));
  }
}

export async function mixtureBytes(spec: ModelSpec = mixtureSpec()): Promise<Uint8Array> {
  const sink = memorySink();
  const writer = await createModelWriter(sink, spec);
  await writeMixtureParts(writer, spec);
  await writer.finish();
  return sink.committed!;
}

export async function openMixture(spec: ModelSpec = mixtureSpec()): Promise<{ file: ModelFile; bytes: Uint8Array }> {
  const bytes = await mixtureBytes(spec);
  return { file: await openModelFile(memorySource(bytes, "mixture.gguf")), bytes };
}

/** The stored bytes of a matrix of an expert. */
export function expertBytesOf({ header }: ModelFile, bytes: Uint8Array, layer: number, expert: number, index: number) {
  const { offset, strideBytes, sizeBytes, dtype } = header.experts[layer]!.matrices[index]!;
  const at = offset + expert * strideBytes;
  return { dtype: dtype as DType, stored: bytes.subarray(at, at + sizeBytes) };
}
