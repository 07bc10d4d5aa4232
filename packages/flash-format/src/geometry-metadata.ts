/**
 * A geometry as metadata, and back. Keys are llama.cpp's (`<arch>.block_count`, …) where it has them, `flashwick.*` where
 * not. Invariant: what {@link decodeGeometry} returns is positive, bounded and consistent in itself.
 */
import {
  type Activation,
  type Architecture,
  attentionBiases,
  equalLayers,
  type LayerGeometry,
  type LayerNorms,
  type ModelGeometry,
  type NormGeometry,
  normsBefore,
  UnsupportedError,
} from "@flashwick/core";
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

/** How positions enter, as the format says it: a learned row added to the embedding, queries and keys turned, or a bias on scores. */
type PositionEncoding = "learned" | "rotary" | "alibi";

/** What the format says once for all layers. */
interface LayerFacts {
  readonly dModel: number;
  readonly dFf: number;
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly headDim: number;
  readonly activation: Activation;
  readonly norm: NormGeometry;
  readonly normBefore: boolean;
  readonly biases: boolean;
  readonly positions: PositionEncoding;
  readonly ropeTheta: number | null;
  readonly parallel: boolean;
  readonly ffnNorm: boolean;
}

/**
 * The metadata of a geometry, in file order, without `general.architecture`.
 *
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` for a composition that the format has no words for.
 */
export function encodeGeometry(g: ModelGeometry): Map<string, GgufValue> {
  const arch = g.architecture;
  const facts = factsOf(g);
  const u32 = (value: number): GgufValue => ({ type: "u32", value });
  const bool = (value: boolean): GgufValue => ({ type: "bool", value });
  const metadata = new Map<string, GgufValue>([
    [`${arch}.block_count`, u32(g.layers.length)],
    [`${arch}.context_length`, u32(g.contextLength)],
    [`${arch}.embedding_length`, u32(g.dModel)],
    [`${arch}.feed_forward_length`, u32(facts.dFf)],
    [`${arch}.attention.head_count`, u32(facts.nHeads)],
    [`${arch}.attention.head_count_kv`, u32(facts.nKvHeads)],
    [`${arch}.attention.key_length`, u32(facts.headDim)],
    [`${arch}.attention.value_length`, u32(facts.headDim)],
    [`${arch}.attention.layer_norm_epsilon`, { type: "f32", value: facts.norm.epsilon }],
    [`${arch}.vocab_size`, u32(g.vocabSize)],
    ["flashwick.token_embedding_length", u32(g.embedding.dim)],
    ["flashwick.activation", { type: "string", value: facts.activation }],
    ["flashwick.norm_before", bool(facts.normBefore)],
    ["flashwick.final_norm", bool(g.finalNorm !== null)],
    ["flashwick.norm_affine", bool(facts.norm.weight)],
    ["flashwick.biases", bool(facts.biases)],
    ["flashwick.tied_head", bool(g.head.tied)],
    ["flashwick.position_offset", u32(g.embedding.positions?.offset ?? 0)],
  ]);
  // What OPT does not have is only said where it is had, so that files of OPT stay what they were.
  if (facts.positions !== "learned") metadata.set("flashwick.positions", { type: "string", value: facts.positions });
  if (facts.ropeTheta !== null) metadata.set(`${arch}.rope.freq_base`, { type: "f32", value: facts.ropeTheta });
  if (facts.parallel) metadata.set("flashwick.parallel_block", bool(true));
  if (!facts.ffnNorm) metadata.set("flashwick.ffn_norm", bool(false));
  if (g.bosTokenId !== null) metadata.set("tokenizer.ggml.bos_token_id", u32(g.bosTokenId));
  if (g.eosTokenId !== null) metadata.set("tokenizer.ggml.eos_token_id", u32(g.eosTokenId));
  return metadata;
}

/** What the format can say of the layers, provided that it says all there is. */
function factsOf(g: ModelGeometry): LayerFacts {
  const [first] = g.layers;
  const norm = first?.norms.beforeAttention ?? first?.norms.attentionSum;
  if (first && norm) {
    const { attention, ffn, norms, parallel } = first;
    const { nHeads, nKvHeads, headDim, rotary } = attention;
    const facts: LayerFacts = {
      ...{ dModel: g.dModel, nHeads, nKvHeads, headDim, norm, parallel },
      dFf: ffn.dFf,
      activation: ffn.activation,
      normBefore: norms.attentionSum === null,
      biases: attention.biases.query,
      positions: rotary ? "rotary" : attention.alibi ? "alibi" : "learned",
      ropeTheta: rotary?.theta ?? null,
      ffnNorm: norms.beforeFfn !== null || norms.ffnSum !== null,
    };
    if (isSaid(g, facts)) return facts;
  }
  throw new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `a model file holds models of OPT's and Falcon's composition; this ${g.architecture} model has another`,
    { details: { architecture: g.architecture } },
  );
}

/** Whether decoding `facts` gives `g`. */
function isSaid(g: ModelGeometry, facts: LayerFacts): boolean {
  const layer = layerOf(facts);
  return (
    [...new Set(g.layers)].every((other) => isEqual(other, layer)) &&
    (g.finalNorm === null || isEqual(g.finalNorm, facts.norm)) &&
    g.embedding.scale === 1 &&
    !g.head.bias &&
    (facts.positions === "learned") === (g.embedding.positions !== null)
  );
}

/** Deep equality of plain objects, whatever the order of their keys. */
function isEqual(a: unknown, b: unknown): boolean {
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return Object.is(a, b);
  const keys = Object.keys(a);
  const of = (value: object, key: string) => (value as Record<string, unknown>)[key];
  return keys.length === Object.keys(b).length && keys.every((key) => isEqual(of(a, key), of(b, key)));
}

/** The layer that the format's words stand for. */
function layerOf(facts: LayerFacts): LayerGeometry {
  const { nHeads, nKvHeads, headDim, norm, biases, positions, ropeTheta, parallel, ffnNorm } = facts;
  const before = normsBefore(norm, ffnNorm ? norm : null);
  const after: LayerNorms = { ...normsBefore(null, null), attentionSum: norm, ffnSum: norm };
  return {
    attention: {
      ...{ nHeads, nKvHeads, headDim },
      scale: 1 / Math.sqrt(headDim),
      biases: attentionBiases(biases),
      queryKeyNorm: null,
      rotary: ropeTheta === null ? null : { theta: ropeTheta, dims: headDim, pairs: "halves", scaling: null },
      alibi: positions === "alibi",
      windowTokens: null,
    },
    ffn: {
      dFf: facts.dFf,
      gated: false,
      activation: facts.activation,
      upActivation: "none",
      biases: { gate: false, up: biases, down: biases },
    },
    norms: facts.normBefore ? before : after,
    parallel,
  };
}

/** @throws {FormatError} `FORMAT_MISSING`, `FORMAT_INVALID` naming the key. */
export function decodeGeometry(metadata: GgufMetadata): ModelGeometry {
  const arch = metadata.oneOf("general.architecture", ARCHITECTURES);
  const positions = metadata.has("flashwick.positions")
    ? metadata.oneOf("flashwick.positions", POSITIONS)
    : ("learned" as const);
  const width = (key: string) => metadata.integer(key, 1, MAX_WIDTH);
  const isTrue = (key: string, absent: boolean) => (metadata.has(key) ? metadata.bool(key) : absent);
  const nLayers = metadata.integer(`${arch}.block_count`, 1, MAX_LAYERS);
  const affine = metadata.bool("flashwick.norm_affine");
  const epsilon = shortestDecimal(metadata.f32(`${arch}.attention.layer_norm_epsilon`));
  const facts: LayerFacts = {
    dModel: width(`${arch}.embedding_length`),
    dFf: width(`${arch}.feed_forward_length`),
    nHeads: width(`${arch}.attention.head_count`),
    nKvHeads: width(`${arch}.attention.head_count_kv`),
    headDim: width(`${arch}.attention.key_length`),
    activation: metadata.oneOf("flashwick.activation", ACTIVATIONS),
    norm: { kind: "layer", epsilon, weight: affine, bias: affine },
    normBefore: metadata.bool("flashwick.norm_before"),
    biases: metadata.bool("flashwick.biases"),
    positions,
    ropeTheta: positions === "rotary" ? metadata.f32(`${arch}.rope.freq_base`) : null,
    parallel: isTrue("flashwick.parallel_block", false),
    ffnNorm: isTrue("flashwick.ffn_norm", true),
  };
  checkConsistent(facts, arch, metadata);
  const offset = metadata.integer("flashwick.position_offset", 0, MAX_WIDTH);
  return {
    architecture: arch,
    dModel: facts.dModel,
    vocabSize: metadata.integer(`${arch}.vocab_size`, 1, MAX_VOCAB),
    contextLength: metadata.integer(`${arch}.context_length`, 1, MAX_CONTEXT),
    embedding: {
      dim: width("flashwick.token_embedding_length"),
      scale: 1,
      positions: positions === "learned" ? { offset } : null,
    },
    layers: equalLayers(nLayers, layerOf(facts)),
    finalNorm: metadata.bool("flashwick.final_norm") ? facts.norm : null,
    head: { tied: metadata.bool("flashwick.tied_head"), bias: false },
    bosTokenId: metadata.optionalInteger("tokenizer.ggml.bos_token_id", 0, MAX_TOKEN_ID),
    eosTokenId: metadata.optionalInteger("tokenizer.ggml.eos_token_id", 0, MAX_TOKEN_ID),
  };
}

function checkConsistent(g: LayerFacts, arch: Architecture, metadata: GgufMetadata): void {
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
  if (!g.parallel && !g.ffnNorm) {
    throw metadata.invalid("flashwick.ffn_norm", "true where the FFN comes after attention", "false");
  }
  if (!(g.norm.epsilon > 0 && g.norm.epsilon < 1)) {
    throw metadata.invalid(`${arch}.attention.layer_norm_epsilon`, "a number between 0 and 1", `${g.norm.epsilon}`);
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
