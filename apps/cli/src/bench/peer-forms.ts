/**
 * What llama.cpp expects in a file of the geometries that `bench peers` compares: tensors in the order of use, and metadata.
 *
 * Names of tensors and keys: llama.cpp, src/llama-arch.cpp, LLM_ARCH_FALCON and LLM_ARCH_LLAMA.
 */
import { type ModelGeometry, neuronGrid, UnsupportedError } from "@flashwick/core";
import type { GgufValue, ModelHeader } from "@flashwick/flash-format";

/** A tensor to be filled. Norms are ones (weights) and zeros (biases), so that numbers stay numbers. */
export interface PeerTensor {
  readonly name: string;
  readonly type: "F16" | "F32";
  readonly fill: "noise" | "ones" | "zeros";
  /** Fastest dimension first, as GGUF has it. */
  readonly shape: readonly number[];
}

/** Families that have a form. */
export const PEER_FAMILIES = ["falcon", "llama"] as const;
export type PeerFamily = (typeof PEER_FAMILIES)[number];

/**
 * The tensors of a model of the same geometry, matrices in f16.
 *
 * @throws {UnsupportedError} if the model is not of this family, or is a Falcon with more than one head of keys and values (40B's form).
 */
export function peerTensors(family: PeerFamily, { geometry }: Pick<ModelHeader, "geometry">): PeerTensor[] {
  requireForm(family, geometry);
  const { dModel, vocabSize, layers, head } = geometry;
  const layerOf = family === "falcon" ? falconLayer : llamaLayer;
  return [
    matrix("token_embd", dModel, vocabSize),
    ...layers.flatMap((layer, index) => layerOf(layer, dModel, `blk.${index}.`)),
    ...norm(family, "output_norm", dModel),
    ...(family === "llama" && head.tied ? [] : [matrix("output", dModel, vocabSize)]),
  ];
}

/**
 * The keys that llama.cpp asks for, and a byte-level vocabulary.
 *
 * @throws {UnsupportedError} if the file has no tokenizer: the peer is asked in words.
 */
export function peerMetadata(
  family: PeerFamily,
  { geometry, tokenizerJson }: Pick<ModelHeader, "geometry" | "tokenizerJson">,
): Map<string, GgufValue> {
  if (tokenizerJson === null) {
    throw new UnsupportedError(
      "UNSUPPORTED_FEATURE",
      "bench peers: expected a model file with a tokenizer, found one without; convert a folder that has tokenizer.json",
    );
  }
  const { nLayers, dModel, dFf } = neuronGrid(geometry);
  const { nHeads, nKvHeads, headDim, rotary } = geometry.layers[0]!.attention;
  const { epsilon } = geometry.finalNorm!;
  const end = u32(geometry.eosTokenId ?? 0);
  const { tokens, merges } = readVocabulary(tokenizerJson, geometry.vocabSize);
  return new Map<string, GgufValue>([
    ["general.architecture", text(family)],
    ["general.name", text(`noise in the form of ${family}`)],
    ["general.file_type", u32(1)],
    [`${family}.context_length`, u32(geometry.contextLength)],
    [`${family}.embedding_length`, u32(dModel)],
    [`${family}.feed_forward_length`, u32(dFf)],
    [`${family}.block_count`, u32(nLayers)],
    [`${family}.attention.head_count`, u32(nHeads)],
    [`${family}.attention.head_count_kv`, u32(nKvHeads)],
    [`${family}.attention.layer_norm_${family === "llama" ? "rms_" : ""}epsilon`, { type: "f32", value: epsilon }],
    ...(family === "llama" ? ([["llama.rope.dimension_count", u32(rotary?.dims ?? headDim)]] as const) : []),
    ["tokenizer.ggml.model", text("gpt2")],
    ["tokenizer.ggml.pre", text("falcon")],
    ["tokenizer.ggml.tokens", { type: "array", of: "string", value: tokens }],
    ["tokenizer.ggml.token_type", { type: "array", of: "i32", value: new Int32Array(tokens.length).fill(1) }],
    ["tokenizer.ggml.merges", { type: "array", of: "string", value: merges }],
    ["tokenizer.ggml.eos_token_id", end],
    ["tokenizer.ggml.bos_token_id", end],
  ]);
}

type Layer = ModelGeometry["layers"][number];

/** Falcon 7B: queries, keys and values in one matrix, attention and FFN behind one norm. */
function falconLayer({ attention, ffn }: Layer, dModel: number, prefix: string): PeerTensor[] {
  return [
    ...norm("falcon", `${prefix}attn_norm`, dModel),
    matrix(`${prefix}attn_qkv`, dModel, dModel + 2 * attention.headDim),
    matrix(`${prefix}attn_output`, dModel, dModel),
    matrix(`${prefix}ffn_up`, dModel, ffn.dFf),
    matrix(`${prefix}ffn_down`, ffn.dFf, dModel),
  ];
}

function llamaLayer({ attention, ffn }: Layer, dModel: number, prefix: string): PeerTensor[] {
  const { nHeads, nKvHeads, headDim } = attention;
  return [
    ...norm("llama", `${prefix}attn_norm`, dModel),
    matrix(`${prefix}attn_q`, dModel, nHeads * headDim),
    matrix(`${prefix}attn_k`, dModel, nKvHeads * headDim),
    matrix(`${prefix}attn_v`, dModel, nKvHeads * headDim),
    matrix(`${prefix}attn_output`, nHeads * headDim, dModel),
    ...norm("llama", `${prefix}ffn_norm`, dModel),
    matrix(`${prefix}ffn_gate`, dModel, ffn.dFf),
    matrix(`${prefix}ffn_up`, dModel, ffn.dFf),
    matrix(`${prefix}ffn_down`, ffn.dFf, dModel),
  ];
}

/** Falcon's norms have a bias, Llama's have none. */
function norm(family: PeerFamily, name: string, dModel: number): PeerTensor[] {
  const weight: PeerTensor = { name: `${name}.weight`, type: "F32", fill: "ones", shape: [dModel] };
  if (family === "llama") return [weight];
  return [weight, { name: `${name}.bias`, type: "F32", fill: "zeros", shape: [dModel] }];
}

function matrix(name: string, cols: number, rows: number): PeerTensor {
  return { name: `${name}.weight`, type: "F16", fill: "noise", shape: [cols, rows] };
}

function requireForm(family: PeerFamily, geometry: ModelGeometry): void {
  const { nKvHeads } = geometry.layers[0]!.attention;
  const fits = geometry.architecture === family && (family !== "falcon" || nKvHeads === 1);
  if (fits) return;
  const expected = family === "falcon" ? "a Falcon with one key and value head" : "a Llama";
  throw new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `bench peers ${family}: expected ${expected}, found ${geometry.architecture} with ${nKvHeads}; the peer's file can be written only for that form`,
  );
}

const u32 = (value: number): GgufValue => ({ type: "u32", value });
const text = (value: string): GgufValue => ({ type: "string", value });

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
