/**
 * Models without some of their neurons: the logits are those of all neurons with the others' down columns at zero, bit
 * for bit, in every mode.
 */
import { fileURLToPath } from "node:url";
import { memorySource, Random, type RecordDType } from "@flashwick/core";
import { decodeTrace, type NeuronTrace } from "@flashwick/dram-cache/simulate";
import {
  createModelWriter,
  type ModelWriter,
  memorySink,
  type NeuronRows,
  openModelFile,
  verifyModelFile,
} from "@flashwick/flash-format";
import { type CreateWriter, convertCheckpoint, convertGguf, type NeuronPruning } from "@flashwick/flash-format/convert";
import { openCheckpointFolder } from "@flashwick/flash-format/convert/node";
import { prunePredictor } from "@flashwick/predictor";
import { describe, expect, it } from "vitest";
import { ggufBytes, modelBytes, openModelBytes } from "./checkpoint.fixture.js";
import { choosePruning, prunedTrace } from "./choose-pruning.js";
import { cutWindows, evaluateText } from "./evaluate.js";
import type { ModelOptions } from "./model-options.js";
import { noisePredictor } from "./noise-predictor.fixture.js";
import { recordTrace } from "./record-trace.js";
import { forEachLogits } from "./score.js";

const TOKENS = [2, 300, 45, 7, 499, 12, 64, 64, 3, 210, 17, 5];
const FACTS = { trace: "ab".repeat(32), traceOf: null };
const folderOf = (name: string) => openCheckpointFolder(fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url)));

/** Another share of every layer, by lot. */
function drawKept(widths: readonly number[]): Uint32Array[] {
  const random = new Random(3);
  return widths.map((dFf, layer) => {
    const all = Uint32Array.from({ length: dFf }, (_, i) => i);
    return all.filter(() => random.uniform() < 0.5 + 0.15 * layer);
  });
}

async function pruned(name: string, dtype: RecordDType, prune: NeuronPruning): Promise<Uint8Array> {
  const sink = memorySink(name);
  await convertCheckpoint(await folderOf(name), (spec) => createModelWriter(sink, spec), { dtype, prune });
  return sink.committed!;
}

/** All neurons, those that are not kept with zeros for down columns. */
async function zeroed(name: string, dtype: RecordDType, kept: readonly Uint32Array[]): Promise<Uint8Array> {
  const sink = memorySink(name);
  const create: CreateWriter = async (spec) => zeroing(await createModelWriter(sink, spec), kept);
  await convertCheckpoint(await folderOf(name), create, { dtype });
  return sink.committed!;
}

function zeroing(writer: ModelWriter, kept: readonly Uint32Array[]): ModelWriter {
  const stays = kept.map((neurons) => new Set(neurons));
  const dModel = writer.residentTensors.find(({ name }) => name === "blk.0.attn_q.weight")!.cols;
  const writeNeurons = async (layer: number, first: number, rows: NeuronRows) => {
    const down = rows.down.map((value, i) => (stays[layer]!.has(first + Math.floor(i / dModel)) ? value : 0));
    await writer.writeNeurons(layer, first, { ...rows, down });
  };
  return new Proxy(writer, {
    get: (target, key) => {
      if (key === "writeNeurons") return writeNeurons;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

async function logitsOf(bytes: Uint8Array, options: Parameters<typeof openModelBytes>[2]): Promise<Float32Array[]> {
  const model = await openModelBytes(bytes, "pruned", { kvPrecision: "f32", ...options });
  const all: Float32Array[] = [];
  await forEachLogits(model, TOKENS, {}, (_, logits) => all.push(logits.slice()));
  const decoded = await model.withSequence(TOKENS.length, async (sequence) => {
    const rows: Float32Array[] = [];
    for (const token of TOKENS) rows.push((await sequence.decode(token)).logits.slice());
    return rows;
  });
  await model.close();
  expect(decoded).toEqual(all);
  return all;
}

async function headerOf(bytes: Uint8Array) {
  return (await openModelFile(memorySource(bytes))).header;
}

const CASES = ["opt-tiny-sharded", "opt-tiny-postnorm", "falcon-tiny-mqa", "llama-tiny-relu", "phi-tiny-relu"].flatMap(
  (name) => (["f32", "f16", "int8"] as const).map((dtype) => [name, dtype] as const),
);

describe.each(CASES)("%s of %s, pruned", (name, dtype) => {
  it("has the bits of the whole model with those down columns at zero, dense, with the oracle and predicted, streamed and resident", async () => {
    const { geometry, fingerprint } = await headerOf(await modelBytes(name, dtype));
    const kept = drawKept(geometry.layers.map(({ ffn }) => ffn.dFf));
    const [small, zeros] = [await pruned(name, dtype, { ...FACTS, kept }), await zeroed(name, dtype, kept)];
    const header = await headerOf(small);
    expect(header.geometry.layers.map(({ ffn }) => ffn.dFf)).toEqual(kept.map(({ length }) => length));
    expect(header.pruned).toEqual({
      neurons: geometry.layers.map(({ ffn }) => ffn.dFf),
      trace: FACTS.trace,
      from: fingerprint,
    });
    expect((await verifyModelFile(await openModelFile(memorySource(small)))).bad).toEqual([]);
    const predictor = noisePredictor(await headerOf(zeros));
    const fewer = prunePredictor(
      { ...predictor, modelFingerprint: fingerprint },
      kept,
      { fingerprint: header.fingerprint, from: fingerprint },
      null,
    );
    const dense = await logitsOf(zeros, { mode: "dense" });
    expect(await logitsOf(small, { mode: "dense" })).toEqual(dense);
    expect(await logitsOf(small, { mode: "oracle" })).toEqual(dense);
    const predicted = await logitsOf(zeros, { mode: "predicted", predictor });
    expect(predicted).not.toEqual(dense);
    expect(await logitsOf(small, { mode: "predicted", predictor: fewer })).toEqual(predicted);
    const probe = await openModelBytes(small, "pruned", { mode: "predicted", predictor: fewer, kvPrecision: "f32" });
    const { smallestBudgetBytes } = probe.plan(TOKENS.length);
    await probe.close();
    const tight: ModelOptions = { mode: "predicted", dramBudgetBytes: smallestBudgetBytes };
    expect(await logitsOf(small, { ...tight, predictor: fewer })).toEqual(predicted);
  });
});

it("a GGUF file of llama.cpp's is pruned into records, every kept neuron as it was", async () => {
  const bytes = ggufBytes("llama");
  const geometry = (await headerOf(bytes)).geometry;
  const kept = drawKept(geometry.layers.map(({ ffn }) => ffn.dFf));
  const convert = async (prune: NeuronPruning | null) => {
    const sink = memorySink("llama");
    await convertGguf(memorySource(bytes, "llama"), "v1", (spec) => createModelWriter(sink, spec), {
      dtype: "f32",
      prune,
    });
    return sink.committed!;
  };
  const [whole, small] = [await convert(null), await convert({ ...FACTS, kept })];
  const [from, to] = [await headerOf(whole), await headerOf(small)];
  expect(to.pruned!.from).toBe(from.fingerprint);
  const { strideBytes } = to.weights as { readonly strideBytes: number };
  for (const [layer, neurons] of kept.entries()) {
    for (const [at, neuron] of neurons.entries()) {
      const a = whole.subarray(from.records[layer]!.offset + neuron * strideBytes).subarray(0, strideBytes);
      const b = small.subarray(to.records[layer]!.offset + at * strideBytes).subarray(0, strideBytes);
      expect(Buffer.compare(a, b)).toBe(0);
    }
  }
});

describe("a trace of the model", () => {
  const text = [TOKENS, [...TOKENS].reverse()];
  const record = async (name: string): Promise<NeuronTrace> => {
    const model = await openModelBytes(await modelBytes(name, "f32"), name, { mode: "dense" });
    const { bytes } = await recordTrace(model, text);
    await model.close();
    return decodeTrace(bytes);
  };

  it("says which model it is of, and gives each neuron the energy of what it adds", async () => {
    const header = await headerOf(await modelBytes("opt-tiny-sharded", "f32"));
    const { origin, tokens, dFf } = await record("opt-tiny-sharded");
    expect([origin!.fingerprint, origin!.named]).toEqual([header.fingerprint, false]);
    const model = await openModelBytes(await modelBytes("opt-tiny-sharded", "f32"), "opt", { mode: "dense" });
    const expected = header.geometry.layers.map(() => new Float64Array(dFf));
    for (const sequence of text) {
      await model.withSequence(sequence.length, async (run) => {
        const norms = await run.engine.downNorms();
        const observer = {
          activations(
            layer: number,
            first: number,
            count: number,
            ptr: number,
            n: number,
            kernels: { arena: { f32(at: number, length: number): Float32Array } },
          ) {
            const padded = (count + 15) & ~15;
            const act = kernels.arena.f32(ptr, n * padded);
            for (let t = 0; t < n; t++) {
              for (let i = 0; i < count; i++) {
                expected[layer]![first + i]! += (act[t * padded + i]! * norms[layer]![first + i]!) ** 2;
              }
            }
          },
        };
        await run.extend(sequence, { chooser: run.engine.batchChooser, observer });
      });
    }
    await model.close();
    for (const [layer, values] of expected.entries()) {
      const fired = new Set(tokens.flatMap((sets) => [...sets[layer]!]));
      for (const [i, value] of values.entries()) {
        expect(Math.abs(origin!.importance[layer]![i]! - value)).toBeLessThanOrEqual(1e-5 * value);
        expect(origin!.importance[layer]![i]! > 0).toBe(fired.has(i));
      }
    }
  });

  it("chooses neurons, and the pruned model's own trace is of its own widths", async () => {
    const name = "opt-tiny-sharded";
    const { geometry, fingerprint } = await headerOf(await modelBytes(name, "f32"));
    const trace = await record(name);
    const kept = choosePruning(geometry, trace, 0.25);
    const bytes = await pruned(name, "f32", { kept, trace: "cd".repeat(32), traceOf: fingerprint });
    const model = await openModelBytes(bytes, name, { mode: "dense" });
    const own = decodeTrace((await recordTrace(model, text)).bytes);
    expect(own.dFf).toBe(Math.max(...kept.map(({ length }) => length)));
    await model.close();
    expect(prunedTrace(trace, kept).dFf).toBe(own.dFf);
  });

  it("of another model is refused once the weights are read, and nothing is kept", async () => {
    const { geometry } = await headerOf(await modelBytes("opt-tiny-sharded", "f32"));
    const kept = drawKept(geometry.layers.map(({ ffn }) => ffn.dFf));
    const sink = memorySink("refused");
    const prune = { kept, trace: "cd".repeat(32), traceOf: "ef".repeat(32) };
    const folder = await folderOf("opt-tiny-sharded");
    await expect(convertCheckpoint(folder, (spec) => createModelWriter(sink, spec), { prune })).rejects.toMatchObject({
      code: "INTEGRITY_FINGERPRINT",
      message: expect.stringContaining("record a trace of that file"),
    });
    expect(sink.committed).toBeNull();
  });
});

it("a layer without neurons, and a mixture, are refused before anything is written", async () => {
  const convert = async (name: string, kept: readonly Uint32Array[]) =>
    convertCheckpoint(await folderOf(name), () => Promise.reject(new Error("written")), { prune: { ...FACTS, kept } });
  const all = Uint32Array.from({ length: 256 }, (_, i) => i);
  await expect(convert("opt-tiny-sharded", [all, new Uint32Array(0), all])).rejects.toMatchObject({
    code: "INPUT_INVALID",
    details: { layer: 1 },
  });
  await expect(convert("opt-tiny-sharded", [all])).rejects.toMatchObject({ code: "INPUT_INVALID" });
  await expect(convert("olmoe-tiny", [all])).rejects.toMatchObject({ code: "UNSUPPORTED_FEATURE" });
});

it("a pruned model is evaluated layer by layer of its own width", async () => {
  const name = "opt-demo";
  const whole = await headerOf(await modelBytes(name, "f16"));
  const widths = whole.geometry.layers.map(({ ffn }) => ffn.dFf);
  const kept = drawKept(widths);
  const sink = memorySink(name);
  const folder = await openCheckpointFolder(
    fileURLToPath(new URL("../../demo-models/models/opt-demo", import.meta.url)),
  );
  await convertCheckpoint(folder, (spec) => createModelWriter(sink, spec), { dtype: "f16", prune: { ...FACTS, kept } });
  const header = await headerOf(sink.committed!);
  const noise = noisePredictor(whole);
  const predictor = prunePredictor(noise, kept, { fingerprint: header.fingerprint, from: whole.fingerprint }, null);
  const model = await openModelBytes(sink.committed!, name, { mode: "predicted", predictor });
  const named = kept.map(() => 0);
  const text = "In the beginning there was a small model, and it read what it needed. ".repeat(4);
  const result = await evaluateText(model, text, { windowTokens: 32, maxWindows: 2, against: "dense" });
  const windows = cutWindows(model.tokenizer.encode(text, false), 32, header.geometry.bosTokenId).slice(0, 2);
  for (const window of windows) {
    await model.withSequence(window.length, async (run) => {
      const observer = { named: (layer: number, set: Uint32Array) => void (named[layer]! += set.length) };
      await run.extend(window, { chooser: run.engine.batchChooser, observer });
    });
  }
  await model.close();
  for (const [layer, share] of result.namedShareByLayer.entries()) {
    expect(named[layer]!).toBeGreaterThan(0);
    expect(share).toBeCloseTo(named[layer]! / (64 * kept[layer]!.length), 12);
    expect(result.activeShareByLayer[layer]!).toBeGreaterThan(0);
    expect(result.activeShareByLayer[layer]!).toBeLessThan(1);
  }
  expect(result.against!.perplexity).toBeGreaterThan(1);
});
