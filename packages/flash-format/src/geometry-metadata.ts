/**
 * A geometry as metadata, and back. Keys are llama.cpp's (`<arch>.block_count`, …) where it has them, `flashwick.*` where
 * not. Invariant: what {@link decodeGeometry} returns is positive, bounded and consistent in itself.
 */
import type { Activation, Architecture, ModelGeometry, PositionEncoding } from "@flashwick/core";
import type { GgufValue } from "./gguf.js";
import type { GgufMetadata } from "./gguf-metadata.js";

/** Limits of a believable model; the largest OPT has 64 layers of 9216, d_ff 36864, and 50272 tokens. */
const MAX_LAYERS = 4096;
const MAX_WIDTH = 2 ** 20;
const MAX_VOCAB = 2 ** 24;
const MAX_CONTEXT = 2 ** 24;
const MAX_TOKEN_ID = 2 ** 32 - 1;

const ARCHITECTURES: readonly Architecture[] = ["opt", "falcon"];
const POSITIONS: readonly PositionEncoding[] = ["learned", "rotary", "alibi"];
const ACTIVATIONS: readonly Activation[] = ["relu", "gelu"];

/** The metadata of a geometry, in file order, without `general.architecture`. */
export function encodeGeometry(g: ModelGeometry): Map<string, GgufValue> {
  const arch = g.architecture;
  const u32 = (value: number): GgufValue => ({ type: "u32", value });
  const bool = (value: boolean): GgufValue => ({ type: "bool", value });
  const metadata = new Map<string, GgufValue>([
    [`${arch}.block_count`, u32(g.nLayers)],
    [`${arch}.context_length`, u32(g.contextLength)],
    [`${arch}.embedding_length`, u32(g.dModel)],
    [`${arch}.feed_forward_length`, u32(g.dFf)],
    [`${arch}.attention.head_count`, u32(g.nHeads)],
    [`${arch}.attention.head_count_kv`, u32(g.nKvHeads)],
    [`${arch}.attention.key_length`, u32(g.headDim)],
    [`${arch}.attention.value_length`, u32(g.headDim)],
    [`${arch}.attention.layer_norm_epsilon`, { type: "f32", value: g.normEpsilon }],
    [`${arch}.vocab_size`, u32(g.vocabSize)],
    ["flashwick.token_embedding_length", u32(g.embeddingDim)],
    ["flashwick.activation", { type: "string", value: g.activation }],
    ["flashwick.norm_before", bool(g.normBefore)],
    ["flashwick.final_norm", bool(g.finalNorm)],
    ["flashwick.norm_affine", bool(g.normAffine)],
    ["flashwick.biases", bool(g.biases)],
    ["flashwick.tied_head", bool(g.tiedHead)],
    ["flashwick.position_offset", u32(g.positionOffset)],
  ]);
  // What OPT does not have is only said where it is had, so that files of OPT stay what they were.
  if (g.positions !== "learned") metadata.set("flashwick.positions", { type: "string", value: g.positions });
  if (g.ropeTheta !== null) metadata.set(`${arch}.rope.freq_base`, { type: "f32", value: g.ropeTheta });
  if (g.parallelBlock) metadata.set("flashwick.parallel_block", bool(true));
  if (!g.ffnNorm) metadata.set("flashwick.ffn_norm", bool(false));
  if (g.bosTokenId !== null) metadata.set("tokenizer.ggml.bos_token_id", u32(g.bosTokenId));
  if (g.eosTokenId !== null) metadata.set("tokenizer.ggml.eos_token_id", u32(g.eosTokenId));
  return metadata;
}

/** @throws {FormatError} `FORMAT_MISSING`, `FORMAT_INVALID` naming the key. */
export function decodeGeometry(metadata: GgufMetadata): ModelGeometry {
  const arch = metadata.oneOf("general.architecture", ARCHITECTURES);
  const positions = metadata.has("flashwick.positions")
    ? metadata.oneOf("flashwick.positions", POSITIONS)
    : ("learned" as const);
  const width = (key: string) => metadata.integer(key, 1, MAX_WIDTH);
  const geometry: ModelGeometry = {
    architecture: arch,
    nLayers: metadata.integer(`${arch}.block_count`, 1, MAX_LAYERS),
    dModel: width(`${arch}.embedding_length`),
    dFf: width(`${arch}.feed_forward_length`),
    nHeads: width(`${arch}.attention.head_count`),
    nKvHeads: width(`${arch}.attention.head_count_kv`),
    headDim: width(`${arch}.attention.key_length`),
    vocabSize: metadata.integer(`${arch}.vocab_size`, 1, MAX_VOCAB),
    contextLength: metadata.integer(`${arch}.context_length`, 1, MAX_CONTEXT),
    embeddingDim: width("flashwick.token_embedding_length"),
    activation: metadata.oneOf("flashwick.activation", ACTIVATIONS),
    normBefore: metadata.bool("flashwick.norm_before"),
    finalNorm: metadata.bool("flashwick.final_norm"),
    normAffine: metadata.bool("flashwick.norm_affine"),
    normEpsilon: shortestDecimal(metadata.f32(`${arch}.attention.layer_norm_epsilon`)),
    biases: metadata.bool("flashwick.biases"),
    tiedHead: metadata.bool("flashwick.tied_head"),
    positions,
    ropeTheta: positions === "rotary" ? metadata.f32(`${arch}.rope.freq_base`) : null,
    parallelBlock: metadata.has("flashwick.parallel_block") && metadata.bool("flashwick.parallel_block"),
    ffnNorm: !metadata.has("flashwick.ffn_norm") || metadata.bool("flashwick.ffn_norm"),
    positionOffset: metadata.integer("flashwick.position_offset", 0, MAX_WIDTH),
    bosTokenId: metadata.optionalInteger("tokenizer.ggml.bos_token_id", 0, MAX_TOKEN_ID),
    eosTokenId: metadata.optionalInteger("tokenizer.ggml.eos_token_id", 0, MAX_TOKEN_ID),
  };
  checkConsistent(geometry, metadata);
  return geometry;
}

function checkConsistent(g: ModelGeometry, metadata: GgufMetadata): void {
  const arch = g.architecture;
  if (g.nHeads * g.headDim !== g.dModel) {
    const expected = `heads times their width (${g.nHeads} x ${g.headDim}) to be embedding_length, ${g.dModel}`;
    throw metadata.invalid(`${arch}.attention.head_count`, expected, `${g.nHeads * g.headDim}`);
  }
  if (g.nHeads % g.nKvHeads !== 0) {
    throw metadata.invalid(`${arch}.attention.head_count_kv`, `a divisor of ${g.nHeads}`, `${g.nKvHeads}`);
  }
  if (g.positions === "rotary" && g.headDim % 2 !== 0) {
    throw metadata.invalid(
      `${arch}.attention.key_length`,
      "an even width, since rotary positions turn pairs",
      `${g.headDim}`,
    );
  }
  if (g.ropeTheta !== null && !(g.ropeTheta > 0 && g.ropeTheta < Number.POSITIVE_INFINITY)) {
    throw metadata.invalid(`${arch}.rope.freq_base`, "a positive number", `${g.ropeTheta}`);
  }
  if (!g.parallelBlock && !g.ffnNorm) {
    throw metadata.invalid("flashwick.ffn_norm", "true where the FFN comes after attention", "false");
  }
  if (!(g.normEpsilon > 0 && g.normEpsilon < 1)) {
    throw metadata.invalid(`${arch}.attention.layer_norm_epsilon`, "a number between 0 and 1", `${g.normEpsilon}`);
  }
}

/** The shortest decimal that is this f32, so that 1e-5 comes back as 1e-5 and not as 0.000009999999747378752. */
function shortestDecimal(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return short;
  }
  return value;
}
