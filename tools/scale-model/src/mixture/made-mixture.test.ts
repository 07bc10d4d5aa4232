import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memorySource, Random } from "@flashwick/core";
import { openModelFile, readGgufHeader } from "@flashwick/flash-format";
import { memoryReader } from "@flashwick/flash-io";
import { createWasmKernels } from "@flashwick/kernels-wasm";
import { Model, scoreTokens } from "@flashwick/runtime";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { makeMixture } from "./made-mixture.js";
import { tokenSide } from "./marks.js";
import type { MixtureTarget } from "./mixture-size.js";
import { openMixtureSource } from "./mixture-source.js";
import {
  GPT_OSS,
  OLMOE,
  type PlainForm,
  type PlainMixture,
  plainFile,
  plainRun,
  plainSource,
  QWEN3,
} from "./plain-mixture.fixture.js";

const SOURCE = { dModel: 64, nLayers: 2, nHeads: 2, headDim: 32, nExperts: 4, nUsed: 1, dExpert: 64, vocabSize: 40 };
const TOKENS = [3, 17, 17, 39, 5, 0, 28, 11, 2];
const ALL_TOKENS = Array.from({ length: SOURCE.vocabSize }, (_, token) => token);

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "made-mixture-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A random checkpoint in the demo's form. */
function writeSource(changes: Record<string, unknown> = {}, seed = 1): void {
  const random = new Random(seed);
  const tensors: [name: string, shape: number[], values: Float32Array][] = [];
  const add = (name: string, shape: number[], value: (i: number) => number) => {
    const count = shape.reduce((product, n) => product * n, 1);
    tensors.push([name, shape, Float32Array.from({ length: count }, (_, i) => value(i))]);
  };
  const uniform = (size: number) => () => size * (2 * random.uniform() - 1);
  const norm = () => 1 + 0.3 * (random.uniform() - 0.5);
  const { dModel, headDim, nExperts, dExpert, vocabSize } = SOURCE;
  add("model.embed_tokens.weight", [vocabSize, dModel], uniform(1));
  add("model.norm.weight", [dModel], norm);
  for (let layer = 0; layer < SOURCE.nLayers; layer++) {
    const at = `model.layers.${layer}.`;
    for (const name of ["input_layernorm", "post_attention_layernorm"]) add(`${at}${name}.weight`, [dModel], norm);
    for (const name of ["q", "k", "v", "o"]) add(`${at}self_attn.${name}_proj.weight`, [dModel, dModel], uniform(0.3));
    for (const name of ["q", "k"]) {
      const weights = Float32Array.from({ length: headDim }, norm);
      add(`${at}self_attn.${name}_norm.weight`, [dModel], (i) => weights[i % headDim]!);
    }
    add(`${at}mlp.gate.weight`, [nExperts, dModel], uniform(0.5));
    for (let e = 0; e < nExperts; e++) {
      for (const name of ["gate", "up"])
        add(`${at}mlp.experts.${e}.${name}_proj.weight`, [dExpert, dModel], uniform(0.3));
      add(`${at}mlp.experts.${e}.down_proj.weight`, [dModel, dExpert], uniform(0.5));
    }
  }
  writeSafetensors(tensors);
  writeFileSync(join(folder, "config.json"), JSON.stringify({ ...CONFIG, ...changes }));
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(TOKENIZER));
}

const CONFIG = {
  model_type: "olmoe",
  ...{ hidden_size: SOURCE.dModel, num_hidden_layers: SOURCE.nLayers, num_attention_heads: SOURCE.nHeads },
  ...{ num_key_value_heads: SOURCE.nHeads, num_experts: SOURCE.nExperts, num_experts_per_tok: SOURCE.nUsed },
  ...{ intermediate_size: SOURCE.dExpert, vocab_size: SOURCE.vocabSize, rms_norm_eps: 1e-5, rope_theta: 10000 },
  ...{ eos_token_id: 2, norm_topk_prob: false, tie_word_embeddings: true, clip_qkv: null },
};

const VOCABULARY = ["<s>", "<pad>", "</s>", ..."abcdefghijklmnopqrstuvwxyz012345678", "ab", "cd"];
const TOKENIZER = {
  added_tokens: [{ id: 2, special: true }],
  model: { vocab: Object.fromEntries(VOCABULARY.map((token, id) => [token, id])), merges: [["a", "b"], "c d"] },
};

function writeSafetensors(tensors: readonly [string, number[], Float32Array][]): void {
  let end = 0;
  const entries = tensors.map(([name, shape, values]) => {
    const data_offsets = [end, (end += values.byteLength)];
    return [name, { dtype: "F32", shape, data_offsets }];
  });
  const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const data = tensors.map(([, , values]) => Buffer.from(values.buffer));
  writeFileSync(join(folder, "model.safetensors"), Buffer.concat([length, header, ...data]));
}

/** Sizes with everything that the real ones have: idle layers, slices, twins, odd copies, grouped queries, tokens that are none. */
const TARGETS: Readonly<Record<string, readonly [MixtureTarget, PlainForm]>> = {
  olmoe: [
    {
      architecture: "olmoe",
      ...{
        dModel: 288,
        nLayers: 4,
        nHeads: 4,
        nKvHeads: 4,
        headDim: 64,
        nExperts: 8,
        nUsed: 2,
        dExpert: 96,
        vocabSize: 50,
      },
    },
    OLMOE,
  ],
  qwen3moe: [
    {
      architecture: "qwen3moe",
      ...{
        dModel: 224,
        nLayers: 6,
        nHeads: 8,
        nKvHeads: 2,
        headDim: 64,
        nExperts: 16,
        nUsed: 2,
        dExpert: 64,
        vocabSize: 50,
      },
    },
    QWEN3,
  ],
  "gpt-oss": [
    {
      architecture: "gpt-oss",
      ...{
        dModel: 256,
        nLayers: 6,
        nHeads: 8,
        nKvHeads: 4,
        headDim: 64,
        nExperts: 8,
        nUsed: 2,
        dExpert: 96,
        vocabSize: 50,
      },
    },
    GPT_OSS,
  ],
};

async function made(architecture: string, dtype: "f32" | "q4_0" = "f32", seed = 0): Promise<Uint8Array> {
  const outPath = join(folder, `${architecture}.gguf`);
  await makeMixture({ checkpointDir: folder, target: TARGETS[architecture]![0], outPath, dtype, seed, force: true });
  return new Uint8Array(readFileSync(outPath));
}

function largestDifference(a: Float64Array, b: Float64Array): number {
  return b.reduce((most, value, i) => Math.max(most, Math.abs(value - a[i]!)), 0);
}

/** A router's rows; of a wide one their beginning, which is the first copy. */
function rowsOf(model: PlainMixture, layer: number, nExperts: number, columns: number): Float32Array[] {
  const router = model.tensor(`blk.${layer}.ffn_gate_inp.weight`);
  return Array.from({ length: nExperts }, (_, id) => router.subarray(id * columns, id * columns + SOURCE.dModel));
}

describe("a widened mixture", () => {
  it.each([
    ["olmoe", OLMOE],
    ["qwen3moe", { ...OLMOE, renormalised: true }],
    ["gpt-oss", { ...OLMOE, renormalised: true, headNorm: "weights" }],
  ] as const)(
    "computes as %s what its source computes with the family's router and norms, within 1e-4",
    async (name, form) => {
      writeSource();
      const source = await openMixtureSource(folder);
      const [target, targetForm] = TARGETS[name]!;
      const expected = plainRun(await plainSource(source, form), TOKENS);
      const found = plainRun(await plainFile(await made(name), target, targetForm), TOKENS);
      await source.close();
      const differences = found.logits.map((logits, i) => largestDifference(logits, expected.logits[i]!));
      expect(Math.max(...expected.logits.map((logits) => Math.max(...logits)))).toBeGreaterThan(1);
      expect(Math.max(...differences)).toBeLessThan(1e-4);
    },
  );

  it("never prefers a token that its source has not", async () => {
    writeSource();
    const [target, form] = TARGETS.olmoe!;
    const { logits } = plainRun(await plainFile(await made("olmoe"), target, form), TOKENS);
    for (const row of logits) {
      expect(Math.max(...row.slice(SOURCE.vocabSize))).toBeLessThan(Math.min(...row.slice(0, SOURCE.vocabSize)) - 100);
    }
  });

  it("routes each layer as the source layer that it is made of, to other experts in an order of its own", async () => {
    writeSource();
    const source = await openMixtureSource(folder);
    const plain = await plainSource(source, { ...OLMOE, renormalised: true });
    await source.close();
    const { chosen: expected } = plainRun(plain, TOKENS);
    const [target, form] = TARGETS.qwen3moe!;
    const file = await plainFile(await made("qwen3moe"), target, form);
    const { chosen } = plainRun(file, TOKENS);
    for (const [layer, tokens] of chosen.entries()) {
      const sourceLayer = Math.floor(layer / 3);
      const trained = rowsOf(plain, sourceLayer, SOURCE.nExperts, SOURCE.dModel);
      const copies = rowsOf(file, layer, target.nExperts, target.dModel);
      const sourceOf = (id: number) => trained.findIndex((row) => row.every((x, i) => x === copies[id]![i]));
      expect(tokens.map((ids) => ids.map(sourceOf))).toEqual(expected[sourceLayer]!.map((ids) => [...ids, ...ids]));
      expect(tokens.every((ids) => new Set(ids).size === target.nUsed)).toBe(true);
    }
    expect(new Set(chosen.map((tokens) => JSON.stringify(tokens))).size).toBe(target.nLayers);
  });

  it("lets a token's side choose between the twins of an expert: more are used than one side has", async () => {
    writeSource();
    const [target, form] = TARGETS.qwen3moe!;
    const { chosen } = plainRun(await plainFile(await made("qwen3moe"), target, form), ALL_TOKENS);
    for (const tokens of chosen) {
      const used = [0, 1].map((side) => new Set(tokens.filter((_, i) => tokenSide(ALL_TOKENS[i]!) === side).flat()));
      expect([...used[0]!].filter((id) => used[1]!.has(id))).toEqual([]);
      expect(used[0]!.size + used[1]!.size).toBeGreaterThan(target.nExperts / 2);
    }
  });

  it.each(Object.keys(TARGETS))("runs as %s in the engine as it lies, within 1e-4", async (name) => {
    writeSource();
    const bytes = await made(name);
    const expected = plainRun(await plainFile(bytes, ...TARGETS[name]!), TOKENS);
    const file = await openModelFile(memorySource(bytes));
    const clock = () => performance.now();
    const parts = {
      file,
      reader: memoryReader(bytes),
      kernels: createWasmKernels,
      backend: "wasm",
      predictor: null,
      clock,
    };
    const model = new Model(parts, { kvPrecision: "f32", contextTokens: 32 });
    const probe = Array.from({ length: SOURCE.vocabSize }, (_, token) => token);
    const scored = await scoreTokens(model, TOKENS, { probe });
    await model.close();
    const found = scored.flatMap((position) => position.probe.map(([, logit]) => logit));
    const wanted = expected.logits.flatMap((logits) => [...logits.subarray(0, SOURCE.vocabSize)]);
    expect(found.length).toBe(TOKENS.length * SOURCE.vocabSize);
    expect(largestDifference(Float64Array.from(found), Float64Array.from(wanted))).toBeLessThan(1e-4);
  });

  it("is the same file again for the same seed, and another for another", async () => {
    writeSource();
    const first = await made("olmoe", "q4_0");
    expect(Buffer.compare(await made("olmoe", "q4_0"), first)).toBe(0);
    expect(Buffer.compare(await made("olmoe", "q4_0", 1), first)).not.toBe(0);
  });

  it("stores blocks where llama.cpp does, and routers, norms and biases in f32", async () => {
    writeSource();
    const { tensors } = await readGgufHeader(memorySource(await made("gpt-oss", "q4_0")));
    const types = new Map(tensors.map(({ name, type }) => [name.replace(/^blk\.\d+\./, ""), type]));
    const of = (type: string) => [...types].filter(([, found]) => found === type).map(([name]) => name);
    expect(of("Q8_0")).toEqual(["token_embd.weight", "output.weight"]);
    expect(of("Q4_0").sort()).toEqual(
      [
        ...["attn_q", "attn_k", "attn_v", "attn_output"].map((name) => `${name}.weight`),
        ...["ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"].map((name) => `${name}.weight`),
      ].sort(),
    );
  });

  it.each([
    ["norm_topk_prob", true],
    ["tie_word_embeddings", false],
    ["clip_qkv", 8],
  ])("refuses a checkpoint of another form: %s", async (field, value) => {
    writeSource({ [field]: value });
    await expect(made("olmoe")).rejects.toMatchObject({ code: "UNSUPPORTED_FEATURE", details: { [field]: value } });
  });

  it("refuses sizes that no copies make, and says which would do", async () => {
    writeSource();
    const [target] = TARGETS.olmoe!;
    const make = (changes: Partial<MixtureTarget>) =>
      makeMixture({
        ...{ checkpointDir: folder, target: { ...target, ...changes }, outPath: join(folder, "refused.gguf") },
        ...{ dtype: "f32", seed: 0, force: false },
      });
    await expect(make({ nExperts: 32 })).rejects.toThrow(
      "experts: expected at most 16: a token has two sides, found 32",
    );
    await expect(make({ headDim: 32 })).rejects.toThrow("head width: expected 64, all heads' of the source, found 32");
    await expect(make({ dModel: 96 })).rejects.toThrow("d-model: expected at least 160, found 96");
    await expect(make({ nLayers: 5 })).rejects.toThrow("layers: expected a multiple of 2, found 5");
    expect(existsSync(join(folder, "refused.gguf.partial"))).toBe(false);
  });

  it("refuses norms that differ between heads: Qwen3 has one for all", async () => {
    writeSource({}, 1);
    const path = join(folder, "model.safetensors");
    const bytes = readFileSync(path);
    const header = JSON.parse(bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE())).toString());
    const name = "model.layers.1.self_attn.k_norm.weight";
    bytes.writeFloatLE(2, 8 + Number(bytes.readBigUInt64LE()) + header[name].data_offsets[0]);
    writeFileSync(path, bytes);
    await expect(made("qwen3moe")).rejects.toMatchObject({
      code: "CHECKPOINT_TENSOR_VALUE",
      details: { tensor: name },
    });
  });
});
