import { readFileSync } from "node:fs";
import { Random } from "@flashwick/core";
import { createReferenceKernels } from "@flashwick/kernels/reference";
import { expect, it } from "vitest";
import { BatchRecorder, finishPredictors, isHeldOut, MemorySampleStore, trainLayer } from "./train/index.js";

const README = readFileSync(new URL("../README.md", import.meta.url), "utf8");
const modelFingerprint = "ab".repeat(32);
const downNorms = new Float32Array(32).fill(1);

/** Neuron j fires when x[j mod 16] is large. */
function runModel(document: number) {
  const random = new Random(document);
  const x = Float32Array.from({ length: 64 * 16 }, () => 2 * random.uniform() - 1);
  const act = Float32Array.from({ length: 64 * 32 }, (_, i) => Math.max(0, x[(i >> 5) * 16 + (i & 15)]! - 0.8));
  return { x, act };
}

/** The README's example, as it stands there; `log` stands in for the console. */
async function example(console: { log(line: unknown): void }) {
  const store = new MemorySampleStore({ nLayers: 1, dModel: 16, dFf: 32 });
  const recorder = new BatchRecorder(store.shape, 64);
  for (let document = 0; document < 40; document++) {
    const { x, act } = runModel(document); // f32 [64, 16], the FFN's input, and f32 [64, 32], its activations
    recorder.begin(64, isHeldOut(document, 0));
    recorder.input(x, 16);
    recorder.activations(0, 32, act, 32);
    store.append(0, recorder.end());
  }
  const layer = await trainLayer(createReferenceKernels, store.layer(0), { rank: 8, downNorms });
  const predictor = finishPredictors([layer], { modelFingerprint, namedPerActive: 2 });
  console.log(predictor.layers[0]); // rank, threshold, recall, precision, missedMass, W1, W2
}

it("the README's example is this one, and works", async () => {
  const source = readFileSync(new URL(import.meta.url), "utf8");
  const [, block] = /```ts\n([\s\S]*?)```/.exec(README)!;
  expect(source).toContain(block!.replace(/^(?=.)/gm, "  "));
  const lines: unknown[] = [];
  await example({ log: (line) => lines.push(line) });
  expect(lines).toMatchObject([{ layer: 0, rank: 8 }]);
  const { namedShare, trueActiveShare } = lines[0] as { namedShare: number; trueActiveShare: number };
  expect(namedShare).toBeLessThanOrEqual(2 * trueActiveShare);
});
