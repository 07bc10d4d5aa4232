/**
 * Shapes that no bundled checkpoint has: odd sizes, no biases, an untied head, a narrow embedding, norms without weights, every way in which
 * Falcon puts position, norms and blocks together, and compositions of gates, windows and norms with which neurons are left out.
 */
import {
  isGated,
  isSparse,
  type LayerGeometry,
  type ModelGeometry,
  memorySource,
  Random,
  type RecordDType,
  type ResidentDType,
} from "@flashwick/core";
import { createModelWriter, memorySink, openModelFile } from "@flashwick/flash-format";
import { parseCheckpointConfig } from "@flashwick/flash-format/convert";
import { memoryReader } from "@flashwick/flash-io";
import { describe, expect, it } from "vitest";
import { Model } from "./model.js";
import type { ModelOptions } from "./model-options.js";
import { type BackendName, kernelsOf } from "./node/open-model.js";
import { forEachLogits } from "./score.js";

const geometryOf = (config: object) => parseCheckpointConfig(JSON.stringify(config), "config.json").geometry;

const plain = {
  ...{ model_type: "opt", num_hidden_layers: 2, hidden_size: 96, ffn_dim: 200, num_attention_heads: 3 },
  ...{ vocab_size: 1003, max_position_embeddings: 40 },
};
const narrow = { hidden_size: 80, num_attention_heads: 5, ffn_dim: 328, vocab_size: 700, word_embed_proj_dim: 48 };
const falcon = {
  ...{ model_type: "falcon", num_hidden_layers: 2, hidden_size: 96, ffn_hidden_size: 200, num_attention_heads: 6 },
  ...{ vocab_size: 1003, max_position_embeddings: 40, activation: "relu", bos_token_id: 2, eos_token_id: 2 },
};
const grouped = (num_kv_heads: number, num_ln_in_parallel_attn: number) => {
  return { new_decoder_architecture: true, num_kv_heads, num_ln_in_parallel_attn };
};
const decoder = {
  ...{ num_hidden_layers: 2, hidden_size: 96, intermediate_size: 200, num_attention_heads: 3, vocab_size: 1003 },
  ...{ max_position_embeddings: 40, hidden_act: "relu", bos_token_id: 2, eos_token_id: 2 },
};
const llama = geometryOf({
  ...{ ...decoder, model_type: "llama", num_key_value_heads: 1, head_dim: 40, attention_bias: true, mlp_bias: true },
  rope_scaling: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 16 },
});
/** `geometry` with its layers changed, each by its index. */
const withLayers = (geometry: ModelGeometry, change: (layer: LayerGeometry, index: number) => LayerGeometry) => {
  return { ...geometry, layers: geometry.layers.map(change) };
};
const shapes: Record<string, ModelGeometry> = {
  "d_model 96, d_ff 200, vocabulary 1003": geometryOf(plain),
  "no biases": geometryOf({ ...plain, enable_bias: false }),
  "untied head": geometryOf({ ...plain, tie_word_embeddings: false, vocab_size: 600 }),
  "post-norm, embedding of 48": geometryOf({ ...plain, ...narrow, do_layer_norm_before: false }),
  "untied head, embedding of 48": geometryOf({ ...plain, ...narrow, tie_word_embeddings: false }),
  "norms without weights": geometryOf({ ...plain, layer_norm_elementwise_affine: false }),
  "Falcon, one head of keys": geometryOf(falcon),
  "Falcon, three heads of keys, a norm each": geometryOf({ ...falcon, ...grouped(3, 2) }),
  "Falcon, heads of 22, one after the other": geometryOf({
    ...falcon,
    ...{ parallel_attn: false, hidden_size: 66, num_attention_heads: 3, rope_theta: 500_000 },
  }),
  "Falcon, ALiBi over seven heads": geometryOf({
    ...falcon,
    ...{ parallel_attn: false, alibi: true, bias: true, multi_query: false, hidden_size: 63, num_attention_heads: 7 },
  }),
  "Llama, ReLU, a bias of everything, heads wider than the model": llama,
  "Llama, dReLU": withLayers(llama, (layer) => ({ ...layer, ffn: { ...layer.ffn, upActivation: "relu" } })),
  "Llama, biases of gates only, layers of two widths": withLayers(llama, (layer, index) => {
    const biases = { gate: true, up: false, down: true };
    return { ...layer, ffn: { ...layer.ffn, dFf: 120 + 80 * index, biases } };
  }),
  "Llama, heads normed over the width, neighbours rotated": withLayers(llama, ({ attention, ...layer }) => {
    const norm = { kind: "rms", epsilon: 1e-6, weight: true, bias: false } as const;
    const rotary = { theta: 10_000, dims: 24, pairs: "neighbours", scaling: null } as const;
    return { ...layer, attention: { ...attention, queryKeyNorm: { norm, over: "width" }, rotary } };
  }),
  "Llama, ReLU, attention and FFN side by side": withLayers(llama, (layer) => ({
    ...{ ...layer, parallel: true },
    norms: { ...layer.norms, beforeFfn: null },
  })),
  "Qwen3, SiLU, windows of 4": geometryOf({
    ...{ ...decoder, model_type: "qwen3", hidden_act: "silu", head_dim: 24, use_sliding_window: true },
    ...{ sliding_window: 4, max_window_layers: 1, num_key_value_heads: 3 },
  }),
  "Gemma 3, ReLU, windows and two bases": geometryOf({
    ...{ ...decoder, model_type: "gemma3_text", hidden_activation: "relu", head_dim: 32, num_key_value_heads: 1 },
    ...{ sliding_window: 5, sliding_window_pattern: 2, query_pre_attn_scalar: 24 },
  }),
  "Phi, ReLU": geometryOf({ ...decoder, model_type: "phi", partial_rotary_factor: 0.5, qk_layernorm: true }),
  "Persimmon, squared ReLU": geometryOf({ ...decoder, model_type: "persimmon", hidden_act: "relu2" }),
  "Falcon, GELU": geometryOf({ ...falcon, ...grouped(2, 1), activation: "gelu" }),
};
const TOKENS = [2, 599, 17, 4, 300, 5, 5, 81, 12];

/** A model file of random weights. */
async function randomModel(
  geometry: ModelGeometry,
  dtype: RecordDType,
  gateDtype: ResidentDType | null = null,
): Promise<Uint8Array> {
  const { dModel, layers } = geometry;
  const random = new Random(layers[0]!.ffn.dFf, geometry.vocabSize);
  const values = (count: number, scale: number, mean = 0) =>
    Float32Array.from({ length: count }, () => mean + scale * (2 * random.uniform() - 1));
  const sink = memorySink("random.gguf");
  const tokenizer = { tokenizerJson: null, tokenizerKind: null };
  const layout = { dtype, layout: "bundled", strideBytes: "auto", name: "random" } as const;
  const writer = await createModelWriter(sink, { geometry, gateDtype, ...layout, ...tokenizer });
  for (const { name, rows, cols } of writer.residentTensors) {
    const isNorm = name.includes("norm.weight");
    const scale = rows === 1 ? 0.1 : name.includes("embd") ? 0.5 : 1.5 / Math.sqrt(cols);
    await writer.writeRows(name, values(rows * cols, scale, isNorm ? 1 : 0));
    await writer.complete(name, 0);
  }
  for (const [layer, { ffn }] of layers.entries()) {
    const { dFf } = ffn;
    const scale = 1.5 / Math.sqrt(dModel);
    const rows = () => values(dFf * dModel, scale);
    await writer.writeNeurons(layer, 0, { gate: ffn.gated ? rows() : null, up: rows(), down: rows() });
    await writer.complete(`blk.${layer}.ffn`, 0);
  }
  await writer.finish();
  return sink.committed!;
}

/** The same, two tokens as a prompt, the others one by one; without the first token's logits. */
async function decodedBy(bytes: Uint8Array, options: ModelOptions): Promise<Float32Array[]> {
  const model = await open(bytes, "wasm", options);
  const decoded = await model.withSequence(TOKENS.length, async (sequence) => {
    const all = [(await sequence.prefill(TOKENS.slice(0, 2))).logits.slice()];
    for (const token of TOKENS.slice(2)) all.push((await sequence.decode(token)).logits.slice());
    return all;
  });
  await model.close();
  return decoded;
}

async function open(bytes: Uint8Array, backend: BackendName, options: ModelOptions): Promise<Model> {
  const file = await openModelFile(memorySource(bytes, "random.gguf"));
  const { name, kernels } = kernelsOf(backend);
  const reader = memoryReader(bytes, "random.gguf");
  const parts = { file, reader, kernels, backend: name, predictor: null, clock: () => performance.now() };
  return new Model(parts, { kvPrecision: "f32", ...options });
}

async function logitsOf(bytes: Uint8Array, backend: BackendName, options: ModelOptions = {}): Promise<Float32Array[]> {
  const model = await open(bytes, backend, options);
  const all: Float32Array[] = [];
  await forEachLogits(model, TOKENS, {}, (_, logits) => all.push(logits.slice()));
  await model.close();
  return all;
}

for (const [name, geometry] of Object.entries(shapes)) {
  describe(name, () => {
    for (const dtype of ["f32", "f16", "bf16", "int8"] as const) {
      // Two backends add in different orders; int8 also rounds activations to 12 bits, ties apart.
      const tolerance = dtype === "int8" ? 2e-2 : 1e-3;
      it(`${dtype}: WebAssembly equals the reference within ${tolerance}, and itself in the smallest budget bit for bit`, async () => {
        const bytes = await randomModel(geometry, dtype);
        const [wasm, reference] = [await logitsOf(bytes, "wasm"), await logitsOf(bytes, "reference")];
        let worst = 0;
        for (const [t, logits] of wasm.entries()) {
          expect(logits.length).toBe(geometry.vocabSize);
          for (const [i, logit] of logits.entries()) worst = Math.max(worst, Math.abs(logit - reference[t]![i]!));
        }
        expect(worst).toBeLessThan(tolerance);
        const mode = isSparse(geometry) ? "oracle" : "dense";
        const probe = await open(bytes, "wasm", { mode });
        const { smallestBudgetBytes } = probe.plan(TOKENS.length);
        await probe.close();
        const tight: ModelOptions = { mode, dramBudgetBytes: smallestBudgetBytes };
        expect(await logitsOf(bytes, "wasm", tight)).toEqual(wasm);
        expect(await decodedBy(bytes, tight)).toEqual(wasm.slice(1));
      });
    }
    if (!isSparse(geometry) || !isGated(geometry)) return;
    it("with resident gates of q8_0: gate first is the dense model bit for bit, in any budget", async () => {
      const bytes = await randomModel(geometry, "f16", "q8_0");
      const dense = await logitsOf(bytes, "wasm", { mode: "dense" });
      const probe = await open(bytes, "wasm", { mode: "gate-first" });
      const { smallestBudgetBytes: least } = probe.plan(TOKENS.length);
      await probe.close();
      for (const dramBudgetBytes of [least, least + 60_000, undefined]) {
        for (const overlap of [true, false]) {
          const options = { mode: "gate-first", dramBudgetBytes, overlap } as const;
          expect(await decodedBy(bytes, options)).toEqual(dense.slice(1));
        }
      }
    });
  });
}
