/**
 * Where files of llama.cpp's have a tensor that we know by another name, or by itself.
 * Source: gguf-py/gguf/tensor_mapping.py, src/models/falcon.cpp, src/models/openai-moe.cpp; `create_tensor_qkv` in src/llama-model.cpp.
 */
import { type Architecture, kvWidth, type LayerGeometry, type ModelGeometry, queryWidth } from "@flashwick/core";
import type { TensorShape } from "../model-writer.js";

/** Rows of queries, then of keys, then of values in one matrix, and so their biases in one vector. */
export const FUSED = "attn_qkv";
/** Of attention's input, where the FFN's has a norm of its own beside it (Falcon 40B); that one is `attn_norm` then. */
export const SECOND_NORM = "attn_norm_2";

/** Rows of a matrix of the file, or elements of a vector. */
export interface TensorPlace {
  readonly name: string;
  readonly first: number;
  /** Of the whole tensor there. */
  readonly total: number;
}

/**
 * @param has Whether the file has a tensor of this name.
 * @returns Null where the file has the tensor whole and under its name of ours.
 */
export function placeOf(
  { name, cols }: TensorShape,
  { architecture, layers }: ModelGeometry,
  has: (name: string) => boolean,
): TensorPlace | null {
  const match = /^blk\.(\d+)\.(\w+)\.(weight|bias)$/.exec(name);
  if (!match) return null;
  const [, index, role, kind] = match;
  const layer = layers[Number(index)]!;
  const nameOf = (other: string) => `blk.${index}.${other}.${kind}`;
  const normName = normNames(architecture, layer)[role!];
  if (normName !== undefined) return { name: nameOf(normName), first: 0, total: cols };
  if (!has(`blk.${index}.${FUSED}.weight`)) return null;
  const rows = fusedRows(role!, layer);
  return rows && { name: nameOf(FUSED), ...rows };
}

const NORMS_OF_TWO: Readonly<Record<string, string>> = { attn_norm: SECOND_NORM, ffn_norm: "attn_norm" };
/** gpt-oss calls the norm of the FFN's input as transformers does. */
const NORMS_OF_GPT_OSS: Readonly<Record<string, string>> = { ffn_norm: "post_attention_norm" };

function normNames(architecture: Architecture, { parallel, norms }: LayerGeometry): Readonly<Record<string, string>> {
  if (architecture === "gpt-oss") return NORMS_OF_GPT_OSS;
  return parallel && norms.beforeFfn ? NORMS_OF_TWO : {};
}

function fusedRows(role: string, { attention }: LayerGeometry): Pick<TensorPlace, "first" | "total"> | null {
  const [dQuery, dKv] = [queryWidth(attention), kvWidth(attention)];
  const total = dQuery + 2 * dKv;
  switch (role) {
    case "attn_q":
      return { first: 0, total };
    case "attn_k":
      return { first: dQuery, total };
    case "attn_v":
      return { first: dQuery + dKv, total };
    default:
      return null;
  }
}
