/** Moments of a text, and conversions by them: measured as the engine runs, against an obvious sum, and for what they bring. */
import { fileURLToPath } from "node:url";
import { isGated, memorySource, paddedLength } from "@flashwick/core";
import {
  createModelWriter,
  memorySink,
  openModelFile,
  openMomentsFile,
  writeMomentsFile,
} from "@flashwick/flash-format";
import { type ConvertOptions, convertCheckpoint } from "@flashwick/flash-format/convert";
import { openCheckpointFolder } from "@flashwick/flash-format/convert/node";
import { describe, expect, it } from "vitest";
import { modelBytes, openModelBytes } from "./checkpoint.fixture.js";
import { choosePruning } from "./choose-pruning.js";
import { ALL_NEURONS } from "./chooser.js";
import type { ForwardObserver } from "./forward-observer.js";
import { recordMoments } from "./record-moments.js";
import { forEachLogits } from "./score.js";
import type { PrefixStore } from "./serving/prefix-store.js";
import { stretchObserver } from "./stretch-observer.js";

/** Tokens by a rule that says nothing; another seed is another text. */
const textOf = (seed: number) => Array.from({ length: 100 }, (_, i) => (seed * 7919 + i * i * 31 + i * 17) % 512);
const TEXTS = Array.from({ length: 12 }, (_, seed) => textOf(seed));
const open = async (name: string) => openModelBytes(await modelBytes(name, "f32"), name, { mode: "dense" });

async function momentsOf(name: string, texts = TEXTS) {
  const model = await open(name);
  const recorded = await recordMoments(model, texts);
  await model.close();
  return recorded;
}

async function converted(name: string, options: ConvertOptions): Promise<Uint8Array> {
  const sink = memorySink(name);
  const folder = await openCheckpointFolder(fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url)));
  await convertCheckpoint(folder, (spec) => createModelWriter(sink, spec), options);
  return sink.committed!;
}

async function logitsOf(bytes: Uint8Array): Promise<Float32Array[]> {
  const model = await openModelBytes(bytes, "calibrated", { mode: "dense" });
  const all: Float32Array[] = [];
  await forEachLogits(model, textOf(99), {}, (_, logits) => all.push(logits.slice()));
  await model.close();
  return all;
}

/** Σ (a − b)² over all logits of a text that no moments are of. */
function distance(a: readonly Float32Array[], b: readonly Float32Array[]): number {
  return a.reduce((sum, row, t) => sum + row.reduce((rowSum, x, i) => rowSum + (x - b[t]![i]!) ** 2, 0), 0);
}

it("moments of a text are the means of all products, of inputs and of activations", async () => {
  const name = "llama-tiny-relu";
  const texts = TEXTS.slice(0, 3);
  const { header, layers } = await momentsOf(name, texts);
  const model = await open(name);
  const { dModel } = model.header.geometry;
  const [layer, dFf] = [1, header.dFf[1]!];
  const inputs = new Float64Array(dModel * dModel);
  const activations = new Float64Array(dFf * dFf);
  for (const text of texts) {
    await model.withSequence(text.length, async (run) => {
      const act = new Float32Array(text.length * dFf);
      let at = 0;
      let tokens = 0;
      const observer: ForwardObserver = {
        ffnInput(l, x, n, kernels) {
          if (l !== layer) return;
          at += tokens;
          tokens = n;
          const rows = kernels.arena.f32(x, n * paddedLength(dModel));
          for (let t = 0; t < n; t++) {
            const row = rows.subarray(t * paddedLength(dModel));
            for (let i = 0; i < dModel; i++) {
              for (let j = 0; j < dModel; j++) inputs[i * dModel + j]! += row[i]! * row[j]!;
            }
          }
        },
        ...stretchObserver(run.engine, (l, first, count, n, values, rowLength) => {
          if (l !== layer) return;
          for (let t = 0; t < n; t++) {
            act.set(values.subarray(t * rowLength, t * rowLength + count), (at + t) * dFf + first);
          }
        }),
      };
      await run.extend(text, { chooser: ALL_NEURONS, observer });
      for (let t = 0; t < text.length; t++) {
        const row = act.subarray(t * dFf, (t + 1) * dFf);
        for (let i = 0; i < dFf; i++) for (let j = 0; j < dFf; j++) activations[i * dFf + j]! += row[i]! * row[j]!;
      }
    });
  }
  await model.close();
  expect(header).toMatchObject({ modelFingerprint: model.header.fingerprint, tokens: 300, dModel });
  for (const [triangle, sums, width] of [
    [layers[layer]!.input, inputs, dModel],
    [layers[layer]!.activation, activations, dFf],
  ] as const) {
    const largest = sums.reduce((most, sum) => Math.max(most, Math.abs(sum)), 0) / 300;
    for (let i = 0, k = 0; i < width; i++) {
      for (let j = 0; j <= i; j++, k++) {
        expect(Math.abs(triangle[k]! - sums[i * width + j]! / 300)).toBeLessThanOrEqual(1e-6 * largest);
      }
    }
  }
});

describe.each(["opt-tiny-sharded", "llama-tiny-relu"])("%s calibrated by other texts", (name) => {
  it("comes closer to its logits, in four bits and without a third of its neurons, and keeps its fingerprint", async () => {
    const { header, layers } = await momentsOf(name);
    const sink = memorySink("moments");
    await writeMomentsFile(sink, header, layers);
    const calibration = { moments: await openMomentsFile(memorySource(sink.committed!)), hash: "ab".repeat(32) };
    const whole = await modelBytes(name, "f32");
    const logits = await logitsOf(whole);
    const { geometry } = (await openModelFile(memorySource(whole))).header;
    const importance = layers.map(({ activation }, layer) =>
      Float32Array.from({ length: header.dFf[layer]! }, (_, i) => activation[((i + 1) * (i + 2)) / 2 - 1]!),
    );
    const origin = { fingerprint: header.modelFingerprint, named: false, importance };
    const trace = { nLayers: importance.length, dFf: importance[0]!.length, tokens: [], origin };
    const prune = { kept: choosePruning(geometry, trace, 1 / 3), trace: "cd".repeat(32), traceOf: null };
    for (const options of [
      { dtype: "q4", residentDtype: "f32" },
      { dtype: "f32", prune },
      // Gates that stay in DRAM lose what their own type does, and follow the neurons that stay.
      ...(isGated(geometry)
        ? [
            { dtype: "q4", residentDtype: "f32", gateDtype: "f32" },
            { dtype: "f32", gateDtype: "f32", prune },
          ]
        : []),
    ] as ConvertOptions[]) {
      const plain = distance(logits, await logitsOf(await converted(name, options)));
      const calibrated = distance(logits, await logitsOf(await converted(name, { ...options, calibration })));
      expect(calibrated).toBeLessThan(0.9 * plain);
    }
  });
});

it("kept prefixes of one checkpoint are not those of the same one calibrated, which computes other keys and values", async () => {
  const name = "opt-tiny-sharded";
  const { header, layers } = await momentsOf(name, TEXTS.slice(0, 2));
  const sink = memorySink("moments");
  await writeMomentsFile(sink, header, layers);
  const moments = await openMomentsFile(memorySource(sink.committed!));
  const options = { dtype: "q4", residentDtype: "f32" } as const;
  const files = [undefined, { moments, hash: "ab".repeat(32) }, { moments, hash: "cd".repeat(32) }].map((calibration) =>
    converted(name, { ...options, ...(calibration && { calibration }) }),
  );
  const pages = new Map<string, Uint8Array>();
  const prefixStore: PrefixStore = {
    has: async (key) => pages.has(key),
    read: async (key) => pages.get(key) ?? null,
    write: async (key, bytes) => void pages.set(key, bytes.slice()),
  };
  // Each twice: its own pages are found.
  const reused: number[] = [];
  for (const file of [...files, ...files]) {
    const model = await openModelBytes(await file, name, { mode: "dense" });
    const scheduler = await model.openScheduler({ prefixStore });
    const text = scheduler.generate({ prompt: textOf(3).slice(0, 40), maxTokens: 8 });
    let step = await text.next();
    while (!step.done) step = await text.next();
    reused.push(step.value.reusedTokens);
    await scheduler.drain();
    await scheduler.close();
    await model.close();
  }
  expect(reused.slice(0, 3)).toEqual([0, 0, 0]);
  expect(Math.min(...reused.slice(3))).toBeGreaterThan(0);
});

it("moments of nothing, of experts, and of matrices in place are refused", async () => {
  const model = await open("opt-tiny-sharded");
  await expect(recordMoments(model, [])).rejects.toMatchObject({ code: "INPUT_INVALID" });
  await model.close();
  const mixture = await open("olmoe-tiny");
  await expect(recordMoments(mixture, TEXTS)).rejects.toMatchObject({ code: "UNSUPPORTED_FEATURE" });
  await mixture.close();
});
