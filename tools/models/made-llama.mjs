/**
 * Makes a GGUF file of a Llama geometry, as llama.cpp writes Q4_K_M: for measurements where the real file cannot be had. The weights are random, so
 * it says nothing; its bytes, reads and arithmetic are those of a model of that size. The tokenizer is that of another GGUF file.
 *
 *     pnpm build && node tools/models/made-llama.mjs --tokenizer SmolLM2-135M-Instruct.Q4_1.gguf -o llama-7b-q4_k_m.gguf [--preset 7b|1b] [--seed 1]
 *
 * Which tensor has which type is llama.cpp's choice for Q4_K_M (src/llama-quant.cpp, llama_tensor_get_type): Q4_K, and Q6_K for the head and, in
 * half of the layers, for values and down projections.
 *
 * Cost: 4.2 GB and about half a minute for 7b; 64 MiB of memory.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { parseArgs } from "node:util";
import { encodeGgufHeader, readGgufHeader } from "@flashwick/flash-format";
import { fileSource } from "@flashwick/flash-format/node";

/** Llama 2 7B, and TinyLlama. */
const PRESETS = {
  "7b": { layers: 32, dModel: 4096, dFf: 11008, heads: 32, kvHeads: 32, context: 4096 },
  "1b": { layers: 22, dModel: 2048, dFf: 5632, heads: 32, kvHeads: 4, context: 2048 },
};
const ALIGNMENT = 32;
/** Standard deviation of the weights: Llama's own is near it. */
const DEVIATION = 0.02;
const PIECE_BYTES = 32 * 2 ** 20;

const { values: flags } = parseArgs({
  options: {
    tokenizer: { type: "string" },
    output: { type: "string", short: "o" },
    preset: { type: "string", default: "7b" },
    seed: { type: "string", default: "1" },
  },
});
const sizes = PRESETS[flags.preset];
if (!sizes || !flags.tokenizer || !flags.output) {
  console.error("usage: made-llama.mjs --tokenizer <file.gguf> -o <out.gguf> [--preset 7b|1b] [--seed 1]");
  process.exit(2);
}

/** Bytes of a block of 256 weights, and how random bytes become one: scales are set so that weights have a mean of 0 and `DEVIATION`. */
const BLOCKS = {
  Q4_K: {
    bytes: 144,
    // weight = d · scale · q − dmin · min: scales and mins of 6 bits have a mean of 31.5, q of 4 bits 7.5.
    finish(view, at) {
      const d = DEVIATION / 230;
      view.setUint16(at, toF16(d), true);
      view.setUint16(at + 2, toF16(7.5 * d), true);
    },
  },
  Q6_K: {
    bytes: 210,
    // weight = d · scale · (q − 32): q of 6 bits deviates by 18.5, scales are held to −16 … 15, which deviate by 9.2.
    finish(view, at) {
      for (let i = 192; i < 208; i++) view.setInt8(at + i, view.getInt8(at + i) >> 3);
      view.setUint16(at + 208, toF16(DEVIATION / 170), true);
    },
  },
};

/** The f16 of a small positive number. */
function toF16(value) {
  const exponent = Math.max(-14, Math.floor(Math.log2(value)));
  const mantissa = Math.round((value / 2 ** exponent) * 1024);
  return value < 2 ** -14 ? Math.round(value * 2 ** 24) : ((exponent + 15) << 10) + (mantissa - 1024);
}

/** Values and down projections of these layers have six bits. */
function hasMoreBits(layer, layers) {
  const eighth = Math.floor(layers / 8);
  return layer < eighth || layer >= Math.floor((7 * layers) / 8) || (layer - eighth) % 3 === 2;
}

function tensorsOf({ layers, dModel, dFf, heads, kvHeads }, vocabSize) {
  const dKv = (dModel / heads) * kvHeads;
  const list = [];
  const add = (name, type, ...shape) => list.push({ name, type, shape });
  add("token_embd.weight", "Q4_K", dModel, vocabSize);
  for (let layer = 0; layer < layers; layer++) {
    const mixed = hasMoreBits(layer, layers) ? "Q6_K" : "Q4_K";
    const of = (name) => `blk.${layer}.${name}.weight`;
    add(of("attn_norm"), "F32", dModel);
    add(of("attn_q"), "Q4_K", dModel, dModel);
    add(of("attn_k"), "Q4_K", dModel, dKv);
    add(of("attn_v"), mixed, dModel, dKv);
    add(of("attn_output"), "Q4_K", dModel, dModel);
    add(of("ffn_norm"), "F32", dModel);
    add(of("ffn_gate"), "Q4_K", dModel, dFf);
    add(of("ffn_up"), "Q4_K", dModel, dFf);
    add(of("ffn_down"), mixed, dFf, dModel);
  }
  add("output_norm.weight", "F32", dModel);
  add("output.weight", "Q6_K", dModel, vocabSize);
  let offset = 0;
  return list.map((tensor) => {
    const placed = { ...tensor, offset };
    offset += Math.ceil(bytesOf(tensor) / ALIGNMENT) * ALIGNMENT;
    return placed;
  });
}

function bytesOf({ type, shape }) {
  const elements = shape.reduce((product, n) => product * n, 1);
  return type === "F32" ? 4 * elements : (elements / 256) * BLOCKS[type].bytes;
}

function metadataOf({ layers, dModel, dFf, heads, kvHeads, context }, tokenizer) {
  const text = (value) => ({ type: "string", value });
  const u32 = (value) => ({ type: "u32", value });
  const f32 = (value) => ({ type: "f32", value });
  return new Map([
    ["general.architecture", text("llama")],
    ["general.name", text(`random weights of a Llama ${flags.preset}`)],
    ["general.file_type", u32(15)],
    ["llama.block_count", u32(layers)],
    ["llama.context_length", u32(context)],
    ["llama.embedding_length", u32(dModel)],
    ["llama.feed_forward_length", u32(dFf)],
    ["llama.attention.head_count", u32(heads)],
    ["llama.attention.head_count_kv", u32(kvHeads)],
    ["llama.attention.layer_norm_rms_epsilon", f32(1e-5)],
    ["llama.rope.dimension_count", u32(dModel / heads)],
    ["llama.rope.freq_base", f32(10000)],
    ...[...tokenizer].filter(([key]) => key.startsWith("tokenizer.")),
  ]);
}

/** Random words; xorshift of 32 bits. */
function randomWords(seed) {
  let state = seed >>> 0 || 1;
  return (words) => {
    for (let i = 0; i < words.length; i++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      words[i] = state;
    }
  };
}

const source = await fileSource(flags.tokenizer);
const { metadata: tokenizer } = await readGgufHeader(source);
await source.close();
const vocabSize = tokenizer.get("tokenizer.ggml.tokens").value.length;
const tensors = tensorsOf(sizes, vocabSize);
const header = encodeGgufHeader({ metadata: metadataOf(sizes, tokenizer), tensors }).bytes;
const dataOffset = Math.ceil(header.length / ALIGNMENT) * ALIGNMENT;

const file = openSync(flags.output, "wx");
writeSync(file, header, 0, header.length, 0);
const fill = randomWords(Number(flags.seed));
const words = new Uint32Array(PIECE_BYTES / 4);
for (const tensor of tensors) {
  const total = bytesOf(tensor);
  const block = BLOCKS[tensor.type];
  const pieceBytes = block ? Math.floor(PIECE_BYTES / block.bytes) * block.bytes : PIECE_BYTES;
  for (let done = 0; done < total; done += pieceBytes) {
    const bytes = new Uint8Array(words.buffer, 0, Math.min(pieceBytes, total - done));
    if (block) {
      fill(words.subarray(0, Math.ceil(bytes.length / 4)));
      const view = new DataView(words.buffer);
      for (let at = 0; at < bytes.length; at += block.bytes) block.finish(view, at);
    } else new Float32Array(words.buffer, 0, bytes.length / 4).fill(1);
    writeSync(file, bytes, 0, bytes.length, dataOffset + tensor.offset + done);
  }
}
closeSync(file);
console.log(JSON.stringify({ file: flags.output, tensors: tensors.length, vocabSize, seed: Number(flags.seed) }));
