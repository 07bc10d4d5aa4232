/**
 * Test support: tiny mixtures of experts, with the keys and tensors that llama.cpp's converter gives each family.
 * Source: conversion/llama.py, olmo.py, qwen.py, gpt_oss.py; `load_arch_tensors` in src/models/*.cpp.
 */
import type { GgufValue } from "../gguf.js";
import {
  type DeclaredTensor,
  f32,
  ggufFile,
  laidOut,
  type Metadata,
  metadataWith,
  text,
  u32,
} from "./gguf-file.fixture.js";

export const D_MODEL = 64;
/** Of an expert. */
export const D_FF = 32;
export const COUNT = 6;
export const CHOSEN = 2;
export const N_LAYERS = 2;
/** Of the shared expert. */
export const SHARED_D_FF = 96;
const VOCAB = 40;
const [N_HEADS, N_KV_HEADS, HEAD_DIM] = [4, 2, 32];

export type MixtureName = "llama" | "olmoe" | "qwen2moe" | "qwen3moe" | "gpt-oss";
export const MIXTURES: readonly MixtureName[] = ["llama", "olmoe", "qwen2moe", "qwen3moe", "gpt-oss"];

/** Keys that all have; each stands behind the architecture's name. */
const KEYS: Metadata = {
  block_count: u32(N_LAYERS),
  context_length: u32(128),
  embedding_length: u32(D_MODEL),
  feed_forward_length: u32(D_FF),
  "attention.head_count": u32(N_HEADS),
  "attention.head_count_kv": u32(N_KV_HEADS),
  "attention.key_length": u32(HEAD_DIM),
  "attention.value_length": u32(HEAD_DIM),
  "attention.layer_norm_rms_epsilon": f32(1e-5),
  "rope.freq_base": f32(150000),
  expert_count: u32(COUNT),
  expert_used_count: u32(CHOSEN),
};

const KEYS_OF: Readonly<Record<MixtureName, Metadata>> = {
  llama: {},
  olmoe: {},
  qwen2moe: { expert_feed_forward_length: u32(D_FF), expert_shared_feed_forward_length: u32(SHARED_D_FF) },
  qwen3moe: { feed_forward_length: u32(96), expert_feed_forward_length: u32(D_FF) },
  "gpt-oss": {
    expert_feed_forward_length: u32(D_FF),
    "attention.sliding_window": u32(16),
    "rope.scaling.type": text("yarn"),
    "rope.scaling.factor": f32(32),
    "rope.scaling.original_context_length": u32(4096),
    "rope.scaling.yarn_beta_fast": f32(32),
    "rope.scaling.yarn_beta_slow": f32(1),
  },
};

/** @param changes Keys without the architecture's name; null takes one away. */
export function mixtureMetadata(name: MixtureName, changes: Metadata = {}): Map<string, GgufValue> {
  const own = Object.entries({ ...KEYS, ...KEYS_OF[name], ...changes }).map(([key, value]) => [
    `${name}.${key}`,
    value,
  ]);
  return metadataWith({ "general.architecture": text(name), ...Object.fromEntries(own) });
}

const matrix = (name: string, ...shape: number[]): DeclaredTensor => ({ name: `${name}.weight`, type: "Q8_0", shape });
const vector = (name: string, length: number): DeclaredTensor => ({ name, type: "F32", shape: [length] });
const norm = (name: string, length = D_MODEL) => vector(`${name}.weight`, length);

export function mixtureTensors(name: MixtureName): DeclaredTensor[] {
  const layers = Array.from({ length: N_LAYERS }, (_, i) => `blk.${i}.`);
  return [
    matrix("token_embd", D_MODEL, VOCAB),
    norm("output_norm"),
    matrix("output", D_MODEL, VOCAB),
    ...layers.flatMap((prefix) => [...attentionTensors(name, prefix), ...expertTensors(name, prefix)]),
  ];
}

function attentionTensors(name: MixtureName, prefix: string): DeclaredTensor[] {
  const [dQuery, dKv] = [N_HEADS * HEAD_DIM, N_KV_HEADS * HEAD_DIM];
  const hasBias = name === "qwen2moe" || name === "gpt-oss";
  const linear = (role: string, rows: number, bias: boolean, cols = D_MODEL) => [
    matrix(`${prefix}${role}`, cols, rows),
    ...(bias ? [vector(`${prefix}${role}.bias`, rows)] : []),
  ];
  const [normQuery, normKey] = name === "olmoe" ? [dQuery, dKv] : [HEAD_DIM, HEAD_DIM];
  const hasNorms = name === "olmoe" || name === "qwen3moe";
  return [
    norm(`${prefix}attn_norm`),
    ...linear("attn_q", dQuery, hasBias),
    ...linear("attn_k", dKv, hasBias),
    ...linear("attn_v", dKv, hasBias),
    ...(hasNorms ? [norm(`${prefix}attn_q_norm`, normQuery), norm(`${prefix}attn_k_norm`, normKey)] : []),
    ...linear("attn_output", D_MODEL, name === "gpt-oss", dQuery),
    ...(name === "gpt-oss" ? [norm(`${prefix}attn_sinks`, N_HEADS)] : []),
    norm(`${prefix}${name === "gpt-oss" ? "post_attention_norm" : "ffn_norm"}`),
  ];
}

function expertTensors(name: MixtureName, prefix: string): DeclaredTensor[] {
  const isGptOss = name === "gpt-oss";
  const type = isGptOss ? "MXFP4" : "Q4_0";
  const experts = (role: string, rows: number, cols: number): DeclaredTensor[] => [
    { name: `${prefix}ffn_${role}_exps.weight`, type, shape: [cols, rows, COUNT] },
    ...(isGptOss ? [{ name: `${prefix}ffn_${role}_exps.bias`, type: "F32" as const, shape: [rows, COUNT] }] : []),
  ];
  return [
    { name: `${prefix}ffn_gate_inp.weight`, type: "F32", shape: [D_MODEL, COUNT] },
    ...(isGptOss ? [vector(`${prefix}ffn_gate_inp.bias`, COUNT)] : []),
    ...experts("gate", D_FF, D_MODEL),
    ...experts("up", D_FF, D_MODEL),
    ...experts("down", D_MODEL, D_FF),
    ...(name === "qwen2moe" ? sharedTensors(prefix) : []),
  ];
}

function sharedTensors(prefix: string): DeclaredTensor[] {
  return [
    norm(`${prefix}ffn_gate_inp_shexp`),
    matrix(`${prefix}ffn_gate_shexp`, D_MODEL, SHARED_D_FF),
    matrix(`${prefix}ffn_up_shexp`, D_MODEL, SHARED_D_FF),
    matrix(`${prefix}ffn_down_shexp`, SHARED_D_FF, D_MODEL),
  ];
}

/** A whole file; its weights are random, the same each time. @param change As `ggufFile` has it. */
export function mixtureFile(
  name: MixtureName,
  changes: Metadata = {},
  change?: Parameters<typeof ggufFile>[2],
): Uint8Array {
  const metadata = mixtureMetadata(name, changes);
  const tensors = mixtureTensors(name);
  const bytes = ggufFile(metadata, tensors, change);
  const begin = bytes.length - laidOut(tensors).dataBytes;
  for (let i = begin; i < bytes.length; i++) bytes[i] = Math.imul(i, 2654435761) >>> 24;
  return bytes;
}
