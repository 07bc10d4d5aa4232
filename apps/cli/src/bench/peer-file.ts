/**
 * A model file for llama.cpp: a Falcon of the geometry of a file of ours, f16, weights of noise. What its tokens say means nothing; what it reads and
 * multiplies is what a real one would.
 *
 * Names of tensors and keys: llama.cpp, src/llama-arch.cpp, LLM_ARCH_FALCON.
 */
import { assert, MiB, neuronGrid, type OnProgress, Random, UnsupportedError } from "@flashwick/core";
import { encodeGgufHeader, type GgufTensor, type GgufValue, type ModelHeader } from "@flashwick/flash-format";
import { type FileSink, fileSink } from "@flashwick/flash-format/node";

const ALIGNMENT = 32;
const BLOCK_BYTES = 16 * MiB;
const SEED = 5;

interface PeerTensor extends GgufTensor {
  readonly type: "F16" | "F32";
  /** Norms are ones (weights) and zeros (biases), so that numbers stay numbers. */
  readonly fill: "noise" | "ones" | "zeros";
}

/**
 * Writes the file, whole or not at all.
 *
 * @param header Of a Falcon with one group of heads (7B's form).
 * @throws {UnsupportedError} for other models. {IoError} as `fileSink`.
 * Cost: sequential writing; 16 MiB of memory.
 */
export async function writePeerFile(
  path: string,
  header: ModelHeader,
  { onProgress, signal }: { readonly onProgress?: OnProgress; readonly signal?: AbortSignal },
): Promise<void> {
  const tensors = planTensors(header);
  const { bytes } = encodeGgufHeader({ metadata: metadataOf(header), tensors });
  const dataOffset = align(bytes.length);
  const last = tensors.at(-1)!;
  const total = dataOffset + last.offset + sizeOf(last);
  const sink = await fileSink(path, { force: true });
  try {
    await sink.write(bytes, 0);
    const noise = halvesOfNoise();
    for (const tensor of tensors) {
      signal?.throwIfAborted();
      await fillTensor(sink, tensor, dataOffset, noise);
      onProgress?.({ phase: "peer's file", loaded: dataOffset + tensor.offset, total, unit: "bytes" });
    }
    await sink.commit(total);
  } catch (error) {
    await sink.abandon();
    throw error;
  }
}

function planTensors({ geometry }: ModelHeader): PeerTensor[] {
  const { architecture, dModel, vocabSize } = geometry;
  const { nLayers, dFf } = neuronGrid(geometry);
  const { nKvHeads, headDim } = geometry.layers[0]!.attention;
  if (architecture !== "falcon" || nKvHeads !== 1) {
    throw new UnsupportedError(
      "UNSUPPORTED_FEATURE",
      `bench peers: expected a Falcon with one key and value head, found ${architecture} with ${nKvHeads}; the peer's file can be written only for that form`,
    );
  }
  const tensors: PeerTensor[] = [];
  let offset = 0;
  const add = (name: string, type: PeerTensor["type"], fill: PeerTensor["fill"], ...shape: number[]) => {
    const tensor = { name, type, fill, shape, offset };
    tensors.push(tensor);
    offset = align(offset + sizeOf(tensor));
  };
  const norm = (name: string) => {
    add(`${name}.weight`, "F32", "ones", dModel);
    add(`${name}.bias`, "F32", "zeros", dModel);
  };
  const matrix = (name: string, cols: number, rows: number) => add(`${name}.weight`, "F16", "noise", cols, rows);
  matrix("token_embd", dModel, vocabSize);
  for (let layer = 0; layer < nLayers; layer++) {
    norm(`blk.${layer}.attn_norm`);
    matrix(`blk.${layer}.attn_qkv`, dModel, dModel + 2 * headDim);
    matrix(`blk.${layer}.attn_output`, dModel, dModel);
    matrix(`blk.${layer}.ffn_up`, dModel, dFf);
    matrix(`blk.${layer}.ffn_down`, dFf, dModel);
  }
  norm("output_norm");
  matrix("output", dModel, vocabSize);
  return tensors;
}

function metadataOf({ geometry, tokenizerJson }: ModelHeader): Map<string, GgufValue> {
  assert(tokenizerJson !== null, "the file has a tokenizer");
  const { contextLength, vocabSize, eosTokenId } = geometry;
  const { nLayers, dModel, dFf } = neuronGrid(geometry);
  const { nHeads, nKvHeads } = geometry.layers[0]!.attention;
  const u32 = (value: number): GgufValue => ({ type: "u32", value });
  const text = (value: string): GgufValue => ({ type: "string", value });
  const { tokens, merges } = readVocabulary(tokenizerJson, vocabSize);
  return new Map<string, GgufValue>([
    ["general.architecture", text("falcon")],
    ["general.name", text("noise in the form of Falcon")],
    ["general.file_type", u32(1)],
    ["falcon.context_length", u32(contextLength)],
    ["falcon.embedding_length", u32(dModel)],
    ["falcon.feed_forward_length", u32(dFf)],
    ["falcon.block_count", u32(nLayers)],
    ["falcon.attention.head_count", u32(nHeads)],
    ["falcon.attention.head_count_kv", u32(nKvHeads)],
    ["falcon.attention.layer_norm_epsilon", { type: "f32", value: 1e-5 }],
    ["tokenizer.ggml.model", text("gpt2")],
    ["tokenizer.ggml.pre", text("falcon")],
    ["tokenizer.ggml.tokens", { type: "array", of: "string", value: tokens }],
    ["tokenizer.ggml.token_type", { type: "array", of: "i32", value: new Int32Array(tokens.length).fill(1) }],
    ["tokenizer.ggml.merges", { type: "array", of: "string", value: merges }],
    ["tokenizer.ggml.eos_token_id", u32(eosTokenId ?? 0)],
    ["tokenizer.ggml.bos_token_id", u32(eosTokenId ?? 0)],
  ]);
}

/** Pieces by id, and merges as `a b`, of a byte-level BPE tokenizer.json. */
function readVocabulary(json: string, vocabSize: number) {
  const { model, added_tokens: added } = JSON.parse(json) as {
    readonly model: {
      readonly vocab: Record<string, number>;
      readonly merges: readonly (string | readonly string[])[];
    };
    readonly added_tokens?: readonly { readonly id: number; readonly content: string }[];
  };
  const tokens = Array.from({ length: vocabSize }, (_, id) => `<unused${id}>`);
  for (const [piece, id] of Object.entries(model.vocab)) tokens[id] = piece;
  for (const { id, content } of added ?? []) tokens[id] = content;
  return { tokens, merges: model.merges.map((merge) => (typeof merge === "string" ? merge : merge.join(" "))) };
}

async function fillTensor(sink: FileSink, tensor: PeerTensor, dataOffset: number, noise: Uint8Array): Promise<void> {
  const size = sizeOf(tensor);
  const block =
    tensor.fill === "noise"
      ? noise
      : new Uint8Array(new Float32Array(size / 4).fill(tensor.fill === "ones" ? 1 : 0).buffer);
  for (let at = 0; at < size; at += block.length) {
    await sink.write(block.subarray(0, Math.min(block.length, size - at)), dataOffset + tensor.offset + at);
  }
}

/** Binary16 of magnitudes from 2^-10 to 2^-6, both signs: nothing overflows, and no device can compress it away. */
function halvesOfNoise(): Uint8Array {
  const random = new Random(SEED);
  const halves = new Uint16Array(BLOCK_BYTES / 2);
  for (let i = 0; i < halves.length; i++) {
    const word = random.next();
    halves[i] = ((word >>> 31) << 15) | ((5 + ((word >>> 20) & 3)) << 10) | (word & 0x3ff);
  }
  return new Uint8Array(halves.buffer);
}

function sizeOf({ shape, type }: Pick<PeerTensor, "shape" | "type">): number {
  return shape.reduce((product, n) => product * n, type === "F16" ? 2 : 4);
}

function align(offset: number): number {
  return Math.ceil(offset / ALIGNMENT) * ALIGNMENT;
}
