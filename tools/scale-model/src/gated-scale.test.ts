/** A gated Llama, widened, computes what the small one computes: logits, greedy tokens, and the neurons that its predictor names. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  memorySource,
  neuronGrid,
  type Predictor,
  type PredictorMatrix,
  Random,
  type RecordDType,
} from "@flashwick/core";
import {
  createModelWriter,
  type ModelFile,
  memorySink,
  openModelFile,
  readPredictorFile,
  writePredictorFile,
} from "@flashwick/flash-format";
import { convertCheckpoint } from "@flashwick/flash-format/convert";
import { openCheckpointFolder } from "@flashwick/flash-format/convert/node";
import { fileSink } from "@flashwick/flash-format/node";
import { memoryReader } from "@flashwick/flash-io";
import { createWasmKernels } from "@flashwick/kernels-wasm";
import { Model } from "@flashwick/runtime";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { spreadLayers, type TargetSize } from "./geometry-scale.js";
import { scaleCheckpoint } from "./scale-checkpoint.js";

const CHECKPOINT = fileURLToPath(new URL("../../../packages/runtime/fixtures/llama-tiny-relu", import.meta.url));
const TOKENS = [2, 300, 45, 7, 499, 12, 64, 64, 3, 210];
const SOURCE_LAYERS = 3;
const RANK = 8;

interface Run {
  readonly logits: readonly Float32Array[];
  readonly greedy: readonly number[];
  /** How many neurons each layer used, token after token. */
  readonly named: readonly (readonly number[])[];
}

async function run(bytes: Uint8Array, predictor: Predictor | null): Promise<Run> {
  const file = await openModelFile(memorySource(bytes));
  const clock = () => performance.now();
  const parts = { file, reader: memoryReader(bytes), kernels: createWasmKernels, backend: "wasm", predictor, clock };
  // The oracle says what is active, a predictor what it names.
  const model = new Model(parts, { kvPrecision: "f32", mode: predictor ? "predicted" : "oracle" });
  const logits: Float32Array[] = [];
  const named: number[][] = file.header.geometry.layers.map(() => []);
  const observer = { named: (layer: number, set: Uint32Array) => void named[layer]!.push(set.length) };
  await model.withSequence(TOKENS.length, async (sequence) => {
    for (const token of TOKENS) logits.push((await sequence.decode(token, undefined, observer)).logits.slice());
  });
  const greedy: number[] = [];
  for await (const { token } of model.generate(TOKENS, { maxTokens: 8, ignoreEos: true })) {
    if (token !== null) greedy.push(token);
  }
  await model.close();
  return { logits, greedy, named };
}

async function sourceFile(dtype: RecordDType): Promise<Uint8Array> {
  const sink = memorySink();
  await convertCheckpoint(await openCheckpointFolder(CHECKPOINT), (spec) => createModelWriter(sink, spec), { dtype });
  return sink.committed!;
}

/** Names about half of the neurons. */
function noise({ header }: ModelFile): Predictor {
  const { nLayers, dModel, dFf } = neuronGrid(header.geometry);
  const random = new Random(7);
  const matrix = (rows: number, cols: number): PredictorMatrix => {
    const values = Float32Array.from({ length: rows * cols }, () => random.uniform() - 0.5);
    return { dtype: "f32", rows, cols, data: new Uint8Array(values.buffer), scales: null };
  };
  const quality = { trueActiveShare: 0.5, namedShare: 0.5, recall: 0.5, precision: 0.5, missedMass: 0.5 };
  const layers = Array.from({ length: nLayers }, (_, layer) => {
    return { ...quality, layer, rank: RANK, threshold: 0, w1: matrix(RANK, dModel), w2: matrix(dFf, RANK) };
  });
  return { modelFingerprint: header.fingerprint, dModel, dFf, layers, sparsity: null, training: {} };
}

let dir: string;
let predictorPath: string;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "gated-scale-"));
  predictorPath = join(dir, "tiny.predictor.gguf");
  const file = await openModelFile(memorySource(await sourceFile("f32")));
  await writePredictorFile(await fileSink(predictorPath), noise(file));
});
afterAll(() => rmSync(dir, { recursive: true }));

interface Case {
  readonly dtype: RecordDType;
  readonly tolerance: number;
  readonly size: TargetSize;
  /** Weights are rounded again: a score of noise may fall to the other side, and change a token. */
  readonly isRounded?: boolean;
}

const CASES: readonly Case[] = [
  { dtype: "f16", tolerance: 1e-4, size: { dModel: 256, dFf: 1024, nLayers: 6, nHeads: 16 } },
  // Heads twice as wide, three copies of a neuron, layers that do not divide: factors that no power of two holds.
  { dtype: "f32", tolerance: 1e-4, size: { dModel: 128, dFf: 768, nLayers: 7, nHeads: 4 } },
  // √2 of the queries is rounded to f16.
  { dtype: "f16", tolerance: 5e-3, size: { dModel: 256, dFf: 1024, nLayers: 4, nHeads: 8 }, isRounded: true },
  { dtype: "int8", tolerance: 5e-2, size: { dModel: 256, dFf: 1024, nLayers: 6, nHeads: 16 } },
];

describe.each(CASES)(
  "$size.nLayers layers of $size.dModel, $size.nHeads heads, $dtype",
  ({ dtype, tolerance, size, isRounded }) => {
    it.each(isRounded ? [false] : [false, true])(
      `has the source's logits within ${tolerance}, its greedy tokens and shares, predicted %s`,
      async (isPredicted) => {
        const made = {
          checkpointDir: CHECKPOINT,
          predictorPath,
          size,
          dtype,
          layout: "bundled",
          rankFactor: 3,
          seed: 0,
          force: true,
        } as const;
        const { model, predictor } = await scaleCheckpoint({ ...made, outPath: join(dir, "scaled.gguf") });
        const predictorOf = (path: string) => readPredictorFile(memorySource(readFileSync(path)));
        const source = await run(await sourceFile(dtype), isPredicted ? await predictorOf(predictorPath) : null);
        const scaled = await run(readFileSync(model), isPredicted ? await predictorOf(predictor!) : null);
        let worst = 0;
        for (const [t, logits] of scaled.logits.entries()) {
          for (const [i, logit] of logits.entries()) worst = Math.max(worst, Math.abs(logit - source.logits[t]![i]!));
        }
        expect(worst).toBeLessThan(tolerance);
        expect(scaled.greedy).toEqual(source.greedy);
        const copies = size.dFf / 256;
        for (const [layer, { sourceLayer }] of spreadLayers(SOURCE_LAYERS, size.nLayers).entries()) {
          for (const [t, count] of scaled.named[layer]!.entries()) {
            // A score that rounds to the other side of its threshold takes all its copies along.
            expect(Math.abs(count / copies - source.named[sourceLayer]![t]!)).toBeLessThanOrEqual(
              dtype === "int8" ? 8 : 1,
            );
          }
        }
      },
    );
  },
);
