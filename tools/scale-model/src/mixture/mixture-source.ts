/** The trained mixture that is to be widened: a checkpoint of transformers' OlmoeForCausalLM, its tensors read as they are asked for. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { FormatError, UnsupportedError } from "@flashwick/core";
import { readTensorFile } from "@flashwick/flash-format/convert";
import { fileSource } from "@flashwick/flash-format/node";
import type { MixtureSizes } from "./mixture-size.js";

export interface MixtureSource {
  readonly sizes: MixtureSizes;
  readonly normEpsilon: number;
  readonly ropeTheta: number;
  readonly eosTokenId: number;
  /** tokenizer.json */
  readonly tokenizerJson: string;
  /** f32, row-major, by transformers' name. @throws {FormatError} `CHECKPOINT_TENSOR_MISSING`. */
  read(name: string): Promise<Float32Array>;
  close(): Promise<void>;
}

/**
 * @param checkpointDir Holds config.json, model.safetensors and tokenizer.json.
 * @throws {UnsupportedError} `UNSUPPORTED_ARCHITECTURE`, `UNSUPPORTED_FEATURE`. {FormatError} `CHECKPOINT_CONFIG`, `CHECKPOINT_FILE`.
 */
export async function openMixtureSource(checkpointDir: string): Promise<MixtureSource> {
  const config = JSON.parse(await readFile(join(checkpointDir, "config.json"), "utf8")) as Record<string, unknown>;
  checkForm(config);
  const field = (name: string) => numberOf(config, name);
  const source = await fileSource(join(checkpointDir, "model.safetensors"));
  const tensors = await readTensorFile(source);
  const nHeads = field("num_attention_heads");
  return {
    sizes: {
      dModel: field("hidden_size"),
      nLayers: field("num_hidden_layers"),
      nHeads,
      nKvHeads: field("num_key_value_heads"),
      headDim: field("hidden_size") / nHeads,
      nExperts: field("num_experts"),
      nUsed: field("num_experts_per_tok"),
      dExpert: field("intermediate_size"),
      vocabSize: field("vocab_size"),
    },
    normEpsilon: field("rms_norm_eps"),
    ropeTheta: field("rope_theta"),
    eosTokenId: field("eos_token_id"),
    tokenizerJson: await readFile(join(checkpointDir, "tokenizer.json"), "utf8"),
    read: (name) => tensors.read(name),
    close: () => source.close(),
  };
}

function checkForm(config: Record<string, unknown>): void {
  if (config.model_type !== "olmoe") {
    const message = `config.json: model_type: expected olmoe, found ${JSON.stringify(config.model_type)}; other mixtures are not widened`;
    throw new UnsupportedError("UNSUPPORTED_ARCHITECTURE", message, { details: { found: config.model_type } });
  }
  const { norm_topk_prob, tie_word_embeddings, clip_qkv, num_attention_heads, num_key_value_heads } = config;
  const plain = !norm_topk_prob && tie_word_embeddings === true && clip_qkv == null;
  if (plain && num_attention_heads === num_key_value_heads) return;
  throw new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    "config.json: expected a tied head, norm_topk_prob false, clip_qkv null and as many heads of keys as of queries, as the demo has; found another form",
    { details: { norm_topk_prob, tie_word_embeddings, clip_qkv, num_attention_heads, num_key_value_heads } },
  );
}

function numberOf(config: Record<string, unknown>, name: string): number {
  const value = config[name];
  if (typeof value === "number" && value > 0) return value;
  throw new FormatError(
    "CHECKPOINT_CONFIG",
    `config.json: field ${name}: expected a positive number, found ${JSON.stringify(value)}`,
    {
      details: { field: name },
    },
  );
}
