/**
 * Shapes that no bundled checkpoint has: odd sizes, no biases, an untied head, a narrow embedding, norms without weights, and every way in which
 * Falcon puts position, norms and blocks together.
 */
import { type ModelGeometry, memorySource, Random, type RecordDType } from "@flashwick/core";
import { createModelWriter, memorySink, openModelFile } from "@flashwick/flash-format";
import { memoryReader } from "@flashwick/flash-io";
import { describe, expect, it } from "vitest";
import { Model } from "./model.js";
import type { ModelOptions } from "./model-options.js";
import { type BackendName, kernelsOf } from "./node/open-model.js";
import { forEachLogits } from "./score.js";

const plain: ModelGeometry = {
  architecture: "opt",
  nLayers: 2,
  dModel: 96,
  dFf: 200,
  nHeads: 3,
  nKvHeads: 3,
  headDim: 32,
  vocabSize: 1003,
  contextLength: 40,
  embeddingDim: 96,
  activation: "relu",
  normBefore: true,
  finalNorm: true,
  normAffine: true,
  normEpsilon: 1e-5,
  biases: true,
  tiedHead: true,
  positions: "learned",
  ropeTheta: null,
  parallelBlock: false,
  ffnNorm: true,
  positionOffset: 2,
  bosTokenId: 2,
  eosTokenId: 2,
};
const narrow = { dModel: 80, nHeads: 5, nKvHeads: 5, headDim: 16, dFf: 328, vocabSize: 700, embeddingDim: 48 };
const falcon: ModelGeometry = {
  ...plain,
  architecture: "falcon",
  nHeads: 6,
  nKvHeads: 1,
  headDim: 16,
  biases: false,
  positions: "rotary",
  ropeTheta: 10_000,
  parallelBlock: true,
  ffnNorm: false,
  positionOffset: 0,
};
const sequential = { parallelBlock: false, ffnNorm: true };
const alibi = { positions: "alibi", ropeTheta: null, biases: true } as const;
const shapes: Record<string, ModelGeometry> = {
  "d_model 96, d_ff 200, vocabulary 1003": plain,
  "no biases": { ...plain, biases: false },
  "untied head": { ...plain, tiedHead: false, vocabSize: 600 },
  "post-norm, embedding of 48": { ...plain, ...narrow, normBefore: false, finalNorm: false },
  "untied head, embedding of 48": { ...plain, ...narrow, tiedHead: false },
  "norms without weights": { ...plain, normAffine: false },
  "Falcon, one head of keys": falcon,
  "Falcon, three heads of keys, a norm each": { ...falcon, nKvHeads: 3, ffnNorm: true },
  "Falcon, heads of 22, one after the other": {
    ...falcon,
    ...sequential,
    dModel: 66,
    nHeads: 3,
    headDim: 22,
    ropeTheta: 500_000,
  },
  "Falcon, ALiBi over seven heads": {
    ...falcon,
    ...sequential,
    ...alibi,
    dModel: 63,
    nHeads: 7,
    nKvHeads: 7,
    headDim: 9,
  },
  "Falcon, GELU": { ...falcon, activation: "gelu", nKvHeads: 2 },
};
const TOKENS = [2, 599, 17, 4, 300, 5, 5, 81, 12];

/** A model file of random weights. */
async function randomModel(geometry: ModelGeometry, dtype: RecordDType): Promise<Uint8Array> {
  const random = new Random(geometry.dFf, geometry.vocabSize);
  const values = (count: number, scale: number, mean = 0) =>
    Float32Array.from({ length: count }, () => mean + scale * (2 * random.uniform() - 1));
  const sink = memorySink("random.gguf");
  const tokenizer = { tokenizerJson: null, tokenizerKind: null };
  const layout = { dtype, layout: "bundled", strideBytes: "auto", name: "random" } as const;
  const writer = await createModelWriter(sink, { geometry, ...layout, ...tokenizer });
  for (const { name, rows, cols } of writer.residentTensors) {
    const isNorm = name.includes("norm.weight");
    const scale = rows === 1 ? 0.1 : name.includes("embd") ? 0.5 : 1.5 / Math.sqrt(cols);
    await writer.writeRows(name, values(rows * cols, scale, isNorm ? 1 : 0));
    await writer.complete(name, 0);
  }
  const { dFf, dModel, nLayers } = geometry;
  for (let layer = 0; layer < nLayers; layer++) {
    const scale = 1.5 / Math.sqrt(dModel);
    await writer.writeNeurons(layer, 0, values(dFf * dModel, scale), values(dFf * dModel, scale));
    await writer.complete(`blk.${layer}.ffn`, 0);
  }
  await writer.finish();
  return sink.committed!;
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
        const mode = geometry.activation === "relu" ? "oracle" : "dense";
        const probe = await open(bytes, "wasm", { mode });
        const { smallestBudgetBytes } = probe.plan(TOKENS.length);
        await probe.close();
        const tight: ModelOptions = { mode, dramBudgetBytes: smallestBudgetBytes };
        expect(await logitsOf(bytes, "wasm", tight)).toEqual(wasm);
        const model = await open(bytes, "wasm", tight);
        const decoded = await model.withSequence(TOKENS.length, async (sequence) => {
          const all = [(await sequence.prefill(TOKENS.slice(0, 2))).logits];
          for (const token of TOKENS.slice(2)) all.push((await sequence.decode(token)).logits.slice());
          return all;
        });
        await model.close();
        expect(decoded).toEqual(wasm.slice(1));
      });
    }
  });
}
