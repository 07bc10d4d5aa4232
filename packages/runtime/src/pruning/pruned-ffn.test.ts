/** Pruned FFNs against dense ones: bit for bit where nothing is left out, and against models whose columns are zero where something is. */
import { type ModelGeometry, Random, type RecordDType } from "@flashwick/core";
import { createModelWriter, memorySink } from "@flashwick/flash-format";
import { parseCheckpointConfig } from "@flashwick/flash-format/convert";
import { describe, expect, it } from "vitest";
import { convertedGguf, ggufBytes, modelBytes, openModelBytes } from "../checkpoint.fixture.js";
import { ALL_NEURONS, type Chooser } from "../chooser.js";
import type { Model } from "../model.js";
import { openModel } from "../node/open-model.js";
import { models, smolPath } from "../tokenizer/tokenizer.fixture.js";
import { readUnitNorms } from "./evaluate-pruning.js";
import type { FfnPruner } from "./ffn-pruner.js";
import { PlannedPruner, type Stage } from "./planned-pruner.js";
import { PruningChooser } from "./pruning-chooser.js";
import { dipShares, PRUNING_METHODS, type PruningPlan, uniformPlan } from "./pruning-plan.js";
import { slotsOfShare, UnitCaches } from "./unit-caches.js";

const TOKENS = [2, 300, 45, 7, 499, 12, 64, 64, 3, 210, 77, 301];

async function logitsOf(model: Model, chooser: Chooser, tokens = TOKENS, stepTokens = tokens.length) {
  const all: Float32Array[] = [];
  const onLogits = (_: number, logits: Float32Array) => void all.push(logits.slice());
  await model.withSequence(tokens.length, async (sequence) => {
    for (let at = 0; at < tokens.length; at += stepTokens) {
      await sequence.extend(tokens.slice(at, at + stepTokens), { chooser, logits: "all", onLogits });
    }
  });
  return all;
}

function cachesOf({ header }: Model, share: number): Record<Stage, UnitCaches> {
  const { dModel, layers } = header.geometry;
  const of = (units: number[]) => new UnitCaches(units, slotsOfShare(units, share), "lfu");
  return { inputs: of(layers.map(() => dModel)), outputs: of(layers.map(({ ffn }) => ffn.dFf)) };
}

/** A pruner of a plan, which fills caches as it goes; γ prefers what they hold. */
function cachingPruner(model: Model, plan: PruningPlan, gamma: number): PlannedPruner {
  const caches = cachesOf(model, 0.4);
  return new PlannedPruner(plan, {
    caches,
    gamma,
    onChosen: (stage, layer, set, scores) => caches[stage].use(layer, set, scores),
  });
}

async function expectExactness(model: Model, tokens = TOKENS): Promise<void> {
  const nLayers = model.header.geometry.layers.length;
  const dense = await logitsOf(model, ALL_NEURONS, tokens);
  const norms = await readUnitNorms(model);
  for (const method of PRUNING_METHODS) {
    const everything = uniformPlan(method, nLayers, dipShares(1));
    const counted = { ...everything, layers: everything.layers.map(() => ({ inputs: top(1), outputs: top(1) })) };
    for (const plan of [everything, counted]) {
      const pruner = new PlannedPruner(plan, { norms });
      expect(await logitsOf(model, new PruningChooser(pruner), tokens)).toEqual(dense);
    }
  }
  const half = uniformPlan("dip", nLayers, { inputs: 0.6, outputs: 0.5 });
  const dip = await logitsOf(model, new PruningChooser(new PlannedPruner(half)), tokens);
  expect(dip).not.toEqual(dense);
  const byCache = (gamma: number) => logitsOf(model, new PruningChooser(cachingPruner(model, half, gamma)), tokens);
  expect(await byCache(1)).toEqual(dip);
  const preferring = await byCache(0.2);
  expect(preferring).not.toEqual(dip);
  const oneByOne = new PruningChooser(cachingPruner(model, half, 0.2));
  expect(await logitsOf(model, oneByOne, tokens, 1)).toEqual(preferring);
}

function top(share: number) {
  return { rule: "top", share } as const;
}

describe.each([
  "llama-tiny",
  "qwen2-tiny",
  "qwen3-tiny",
  "gemma3-tiny",
  "falcon-tiny-gqa",
  "phi-tiny",
  "opt-tiny-postnorm",
])("%s in records of f32", (name) => {
  it.each(["wasm", "reference"] as const)(
    "on %s: all kept is dense, γ of 1 is DIP, one by one is at once: bit for bit",
    async (backend) => {
      const model = await openModelBytes(await modelBytes(name, "f32"), name, { backend, kvPrecision: "f32" });
      await expectExactness(model);
      await model.close();
    },
  );
});

it("with resident gates: units weigh as much, and every method leaves out the same, as with gates in records", async () => {
  const name = "llama-tiny-relu";
  const open = async (gateDtype: "f32" | null) =>
    await openModelBytes(await modelBytes(name, "f32", "bundled", gateDtype), name, { kvPrecision: "f32" });
  const [inRecords, resident] = [await open(null), await open("f32")];
  const norms = await readUnitNorms(inRecords);
  expect(await readUnitNorms(resident)).toEqual(norms);
  for (const method of PRUNING_METHODS) {
    const chooser = () =>
      new PruningChooser(new PlannedPruner(uniformPlan(method, 3, { inputs: 0.6, outputs: 0.3 }), { norms }));
    const pruned = await logitsOf(inRecords, chooser());
    expect(await logitsOf(resident, chooser())).toEqual(pruned);
  }
  await inRecords.close();
  await resident.close();
});

describe.each(["llama", "qwen2", "qwen3", "gemma3", "phi2", "falcon-40b"])("%s.gguf in matrices", (name) => {
  it.each(["wasm", "reference"] as const)(
    "on %s: all kept is dense, γ of 1 is DIP, one by one is at once: bit for bit",
    async (backend) => {
      const model = await openModelBytes(ggufBytes(name), name, { backend, kvPrecision: "f32" });
      await expectExactness(model);
      await model.close();
    },
  );
});

describe.skipIf(models.isMissing)(models.title("SmolLM2-135M-Instruct, pruned"), () => {
  it("all kept is dense, γ of 1 is DIP, one by one is at once: bit for bit", async () => {
    const model = await openModel(smolPath, { contextTokens: 64 });
    await expectExactness(model);
    await model.close();
  }, 240_000);
});

const geometry = parseCheckpointConfig(
  JSON.stringify({
    ...{ model_type: "llama", num_hidden_layers: 2, hidden_size: 96, intermediate_size: 200, num_attention_heads: 3 },
    ...{ vocab_size: 600, max_position_embeddings: 40, hidden_act: "silu", mlp_bias: true },
    ...{ bos_token_id: 2, eos_token_id: 2 },
  }),
  "config.json",
).geometry;
const isKept = (unit: number) => unit % 3 !== 1;
const kept = (units: number) => Uint32Array.from({ length: units }, (_, i) => i).filter(isKept);
const fixed: FfnPruner = {
  seesGates: false,
  inputs: (_, x) => ({ units: kept(x.length), scores: x.slice() }),
  outputs: (_, activations) => ({ units: kept(activations.length), scores: activations.slice() }),
};

/** A model of random weights; those of columns that are not kept may be zero. */
async function randomModel(of: ModelGeometry, dtype: RecordDType, zeros: boolean): Promise<Uint8Array> {
  const { dModel, layers } = of;
  const random = new Random(11);
  const values = (count: number, scale: number, mean = 0) =>
    Float32Array.from({ length: count }, () => mean + scale * (2 * random.uniform() - 1));
  const sink = memorySink("random.gguf");
  const layout = { dtype, layout: "bundled", strideBytes: "auto", name: "random" } as const;
  const writer = await createModelWriter(sink, { geometry: of, ...layout, tokenizerJson: null, tokenizerKind: null });
  for (const { name, rows, cols } of writer.residentTensors) {
    const isNorm = name.includes("norm.weight");
    const scale = rows === 1 ? 0.1 : name.includes("embd") ? 0.5 : 1.5 / Math.sqrt(cols);
    await writer.writeRows(name, values(rows * cols, scale, isNorm ? 1 : 0));
    await writer.complete(name, 0);
  }
  for (const [layer, { ffn }] of layers.entries()) {
    const part = (isZero: (neuron: number, element: number) => boolean) =>
      values(ffn.dFf * dModel, 1.5 / Math.sqrt(dModel)).map((weight, i) =>
        zeros && isZero(Math.floor(i / dModel), i % dModel) ? 0 : weight,
      );
    const projected = () => part((_, element) => !isKept(element));
    await writer.writeNeurons(layer, 0, {
      gate: projected(),
      up: projected(),
      down: part((neuron) => !isKept(neuron)),
    });
    await writer.complete(`blk.${layer}.ffn`, 0);
  }
  await writer.finish();
  return sink.committed!;
}

describe("columns that are left out", () => {
  it.each(["f32", "f16", "bf16"] as const)("of %s give the bits of a model in which they are zero", async (dtype) => {
    const open = async (zeros: boolean) =>
      openModelBytes(await randomModel(geometry, dtype, zeros), "random.gguf", { kvPrecision: "f32" });
    const [whole, zeroed] = [await open(false), await open(true)];
    const pruned = await logitsOf(whole, new PruningChooser(fixed));
    expect(pruned).toEqual(await logitsOf(zeroed, ALL_NEURONS));
    expect(pruned).not.toEqual(await logitsOf(whole, ALL_NEURONS));
    await whole.close();
    await zeroed.close();
  });

  it("WebAssembly equals the reference within 0.001, matrices equal records of f32 within 0.002", async () => {
    const bytes = ggufBytes("llama");
    const records = await convertedGguf(bytes, "llama", "f32");
    const run = async (of: Uint8Array, backend: "wasm" | "reference") => {
      const model = await openModelBytes(of, "llama", { backend, kvPrecision: "f32" });
      const logits = await logitsOf(model, new PruningChooser(fixed));
      await model.close();
      return logits;
    };
    const [wasm, reference] = [await run(records, "wasm"), await run(records, "reference")];
    expect(farthest(wasm, reference)).toBeLessThan(1e-3);
    expect(farthest(wasm, await run(bytes, "wasm"))).toBeLessThan(2e-3);
  });
});

function farthest(a: readonly Float32Array[], b: readonly Float32Array[]): number {
  return Math.max(...a.flatMap((logits, t) => Array.from(logits, (logit, i) => Math.abs(logit - b[t]![i]!))));
}

describe("what cannot be pruned is refused", () => {
  it("a mixture of experts", async () => {
    const model = await openModelBytes(ggufBytes("mixtral"), "mixtral");
    await expect(logitsOf(model, new PruningChooser(fixed))).rejects.toMatchObject({ code: "UNSUPPORTED_FEATURE" });
    await model.close();
  });

  it("records that are not all in DRAM", async () => {
    const bytes = await modelBytes("llama-tiny", "f32");
    const probe = await openModelBytes(bytes, "llama-tiny");
    const { smallestBudgetBytes } = probe.plan(TOKENS.length);
    await probe.close();
    const model = await openModelBytes(bytes, "llama-tiny", { dramBudgetBytes: smallestBudgetBytes, mode: "dense" });
    await expect(logitsOf(model, new PruningChooser(fixed))).rejects.toThrow(/slots for \d+ of its \d+ neurons/);
    await model.close();
  });

  it.each([
    [{ gamma: 0 }, "γ of 0, expected one above 0"],
    [{ gamma: 0.5 }, "γ of 0.5 without a cache"],
  ])("%j", (options, message) => {
    expect(() => new PlannedPruner(uniformPlan("dip", 2, dipShares(0.5)), options)).toThrow(message);
  });

  it("an oracle without norms", () => {
    expect(() => new PlannedPruner(uniformPlan("oracle", 2, dipShares(0.5)))).toThrow("oracle without the norms");
  });
});
