/** Metadata of the target as llama.cpp's converter writes it (conversion of Olmoe, Qwen3Moe and GptOss; llama-arch.cpp has the keys). */
import type { GgufValue } from "@flashwick/flash-format";
import type { MixtureScale } from "./mixture-size.js";
import type { MixtureSource } from "./mixture-source.js";

/** Rotary angles know no length; the source was trained on 256 tokens. */
const CONTEXT_LENGTH = 4096;
/** `general.file_type` of llama.cpp: all F32, mostly Q4_0. */
const FILE_TYPES = { f32: 0, q4_0: 2 };
const QUANTIZATION_VERSION = 2;
/** `tokenizer.ggml.token_type`. */
const [NORMAL, CONTROL, UNUSED] = [1, 3, 5];
/** Positions that every second layer of gpt-oss sees. */
const GPT_OSS_WINDOW = 128;

const text = (value: string): GgufValue => ({ type: "string", value });
const u32 = (value: number): GgufValue => ({ type: "u32", value });
const f32 = (value: number): GgufValue => ({ type: "f32", value });
const yes: GgufValue = { type: "bool", value: true };

export function mixtureMetadata(
  source: MixtureSource,
  scale: MixtureScale,
  dtype: keyof typeof FILE_TYPES,
): Map<string, GgufValue> {
  const { architecture, nLayers, dModel } = scale.target;
  return new Map([
    ["general.architecture", text(architecture)],
    ["general.name", text(`olmoe-demo widened to ${nLayers} layers of ${dModel}`)],
    ["general.file_type", u32(FILE_TYPES[dtype])],
    ["general.quantization_version", u32(QUANTIZATION_VERSION)],
    ...architectureFields(source, scale).map(([key, value]) => [`${architecture}.${key}`, value] as const),
    ...tokenizerFields(source, scale.target.vocabSize),
  ]);
}

function architectureFields(source: MixtureSource, { target, widthCopies }: MixtureScale): [string, GgufValue][] {
  const held = (widthCopies * source.sizes.dModel) / target.dModel;
  const isOlmoe = target.architecture === "olmoe";
  return [
    ["block_count", u32(target.nLayers)],
    ["context_length", u32(CONTEXT_LENGTH)],
    ["embedding_length", u32(target.dModel)],
    ["feed_forward_length", u32(target.dExpert)],
    ["attention.head_count", u32(target.nHeads)],
    ["attention.head_count_kv", u32(target.nKvHeads)],
    ["attention.key_length", u32(target.headDim)],
    ["attention.value_length", u32(target.headDim)],
    // The mean square of the target's channels is `held` times the source's.
    ["attention.layer_norm_rms_epsilon", f32(source.normEpsilon * held)],
    ["rope.dimension_count", u32(target.headDim)],
    ["rope.freq_base", f32(source.ropeTheta)],
    ["expert_count", u32(target.nExperts)],
    ["expert_used_count", u32(target.nUsed)],
    ...(isOlmoe ? [] : ([["expert_feed_forward_length", u32(target.dExpert)]] satisfies [string, GgufValue][])),
    ...(target.architecture === "gpt-oss"
      ? ([["attention.sliding_window", u32(GPT_OSS_WINDOW)]] satisfies [string, GgufValue][])
      : []),
  ];
}

interface TokenizerDocument {
  readonly added_tokens: readonly { readonly id: number; readonly special: boolean }[];
  readonly model: {
    readonly vocab: Readonly<Record<string, number>>;
    readonly merges: readonly (string | readonly [string, string])[];
  };
}

/** GPT-2's byte-level BPE; tokens that the source lacks are unused ones. */
function tokenizerFields({ tokenizerJson, eosTokenId }: MixtureSource, vocabSize: number): [string, GgufValue][] {
  const { model, added_tokens } = JSON.parse(tokenizerJson) as TokenizerDocument;
  const tokens = Array.from({ length: vocabSize }, (_, id) => `[PAD${id}]`);
  const types = new Int32Array(vocabSize).fill(UNUSED);
  for (const [token, id] of Object.entries(model.vocab)) [tokens[id], types[id]] = [token, NORMAL];
  for (const { id, special } of added_tokens) if (special) types[id] = CONTROL;
  const merges = model.merges.map((pair) => (typeof pair === "string" ? pair : pair.join(" ")));
  const fields = {
    model: text("gpt2"),
    pre: text("gpt-2"),
    tokens: { type: "array", of: "string", value: tokens },
    token_type: { type: "array", of: "i32", value: types },
    merges: { type: "array", of: "string", value: merges },
    bos_token_id: u32(eosTokenId),
    eos_token_id: u32(eosTokenId),
    add_bos_token: yes,
  } satisfies Record<string, GgufValue>;
  return Object.entries(fields).map(([field, value]) => [`tokenizer.ggml.${field}`, value]);
}
