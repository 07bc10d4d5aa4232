/** The scaled model computes what the demo computes: logits, greedy tokens, and the neurons that are active and named. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memorySource, type Predictor, type RecordDType } from "@flashwick/core";
import { demoModels } from "@flashwick/demo-models";
import {
  createModelWriter,
  memorySink,
  openModelFile,
  readPredictorFile,
  verifyModelFile,
  verifyPredictorFile,
} from "@flashwick/flash-format";
import { convertCheckpoint } from "@flashwick/flash-format/convert";
import { openCheckpointFolder } from "@flashwick/flash-format/convert/node";
import { memoryReader } from "@flashwick/flash-io";
import { createWasmKernels } from "@flashwick/kernels-wasm";
import { evaluateText, Model, scoreTokens } from "@flashwick/runtime";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { spreadLayers, type TargetSize } from "./geometry-scale.js";
import { type ScaleOptions, type ScaleResult, scaleCheckpoint } from "./scale-checkpoint.js";

/** The demo checkpoint of the case. */
let demo = demoModels["opt-demo"];
const PROMPTS = ["In the beginning", "She looked at the letter again, and"];
const GREEDY_TOKENS = 8;

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "scale-model-"));
});
afterAll(() => rmSync(dir, { recursive: true }));

function optionsOf(name: string, size: TargetSize, dtype: RecordDType, more: Partial<ScaleOptions> = {}): ScaleOptions {
  return {
    checkpointDir: demo.checkpointDir,
    predictorPath: demo.predictorPath,
    size,
    dtype,
    layout: "bundled",
    outPath: join(dir, name),
    rankFactor: null,
    seed: 0,
    force: false,
    ...more,
  };
}

async function open(bytes: Uint8Array, predictor: Predictor | null): Promise<Model> {
  const file = await openModelFile(memorySource(bytes));
  const clock = () => performance.now();
  // f32 keys and values, so that only the weights' dtype rounds.
  const parts = { file, reader: memoryReader(bytes), kernels: createWasmKernels, backend: "wasm", predictor, clock };
  return new Model(parts, { kvPrecision: "f32" });
}

async function openDemo(dtype: RecordDType, predicted: boolean): Promise<Model> {
  const sink = memorySink();
  const folder = await openCheckpointFolder(demo.checkpointDir);
  await convertCheckpoint(folder, (spec) => createModelWriter(sink, spec), { dtype });
  const predictor = predicted ? await readPredictorFile(memorySource(readFileSync(demo.predictorPath))) : null;
  return await open(sink.committed!, predictor);
}

async function openScaled({ model, predictor }: ScaleResult, predicted: boolean): Promise<Model> {
  const sidecar = predicted ? await readPredictorFile(memorySource(readFileSync(predictor!))) : null;
  return await open(readFileSync(model), sidecar);
}

/** Every logit after every token of the prompts, and greedy continuations. */
async function behaviour(model: Model): Promise<{ logits: number[]; greedy: number[][] }> {
  const probe = Array.from({ length: model.header.geometry.vocabSize }, (_, token) => token);
  const logits: number[] = [];
  const greedy: number[][] = [];
  for (const prompt of PROMPTS) {
    const tokens = model.tokenizer.encode(prompt, true);
    const positions = await scoreTokens(model, tokens, { probe });
    for (const position of positions) for (const [, logit] of position.probe) logits.push(logit);
    const generated: number[] = [];
    for await (const { token } of model.generate(tokens, {
      temperature: 0,
      maxTokens: GREEDY_TOKENS,
      ignoreEos: true,
    })) {
      if (token !== null) generated.push(token);
    }
    greedy.push(generated);
  }
  return { logits, greedy };
}

function largestDifference(a: readonly number[], b: readonly number[]): number {
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0);
}

interface Case {
  readonly family: keyof typeof demoModels;
  readonly dtype: RecordDType;
  readonly tolerance: number;
  readonly size: TargetSize;
}

const CASES = [
  {
    family: "falcon-demo",
    dtype: "f16",
    tolerance: 1e-4,
    size: { dModel: 768, dFf: 3072, nLayers: 17, nHeads: 12 },
  },
  {
    family: "falcon-demo",
    dtype: "int8",
    tolerance: 5e-2,
    size: { dModel: 512, dFf: 5120, nLayers: 9, nHeads: 8 },
  },
  { family: "opt-demo", dtype: "f16", tolerance: 1e-4, size: { dModel: 512, dFf: 2048, nLayers: 16, nHeads: 8 } },
  { family: "gated-demo", dtype: "f16", tolerance: 1e-4, size: { dModel: 512, dFf: 1376, nLayers: 16, nHeads: 8 } },
  // Three copies of a neuron, heads twice as wide, layers that do not divide: factors that no power of two holds.
  { family: "opt-demo", dtype: "f32", tolerance: 1e-4, size: { dModel: 512, dFf: 3072, nLayers: 9, nHeads: 4 } },
  // Rounded weights are the same, but activations are rounded to 12 bits too, and may fall to the other side.
  { family: "opt-demo", dtype: "int8", tolerance: 5e-2, size: { dModel: 512, dFf: 2048, nLayers: 9, nHeads: 4 } },
] as const satisfies readonly Case[];

describe.each<Case>(CASES)(
  "$family, $size.nLayers layers of $size.dModel, $size.nHeads heads, $dtype",
  ({ family, dtype, tolerance, size }) => {
    let result: ScaleResult;
    beforeAll(async () => {
      demo = demoModels[family];
      result = await scaleCheckpoint(optionsOf("scaled.gguf", size, dtype, { force: true }));
    });

    it(`has the demo's logits within ${tolerance}, and its greedy tokens`, async () => {
      const [source, scaled] = [await openDemo(dtype, false), await openScaled(result, false)];
      const [expected, found] = [await behaviour(source), await behaviour(scaled)];
      expect(largestDifference(found.logits, expected.logits)).toBeLessThan(tolerance);
      expect(found.greedy).toEqual(expected.greedy);
      await source.close();
      await scaled.close();
    });

    it("with its predictor has the demo's predicted tokens, and in every layer its shares", async () => {
      const [source, scaled] = [await openDemo(dtype, true), await openScaled(result, true)];
      const [expected, found] = [await behaviour(source), await behaviour(scaled)];
      expect(largestDifference(found.logits, expected.logits)).toBeLessThan(tolerance);
      expect(found.greedy).toEqual(expected.greedy);
      const text = readFileSync(demo.texts.evaluation, "utf8").slice(0, 4000);
      const options = { windowTokens: 64, maxWindows: 1 };
      const [a, b] = [await evaluateText(source, text, options), await evaluateText(scaled, text, options)];
      for (const [layer, { sourceLayer }] of spreadLayers(8, size.nLayers, family === "falcon-demo").entries()) {
        expect(b.namedShareByLayer[layer]).toBeCloseTo(a.namedShareByLayer[sourceLayer]!, 3);
        expect(b.activeShareByLayer[layer]).toBeCloseTo(a.activeShareByLayer[sourceLayer]!, 3);
      }
      await source.close();
      await scaled.close();
    });
  },
);

describe("files", () => {
  beforeAll(() => {
    demo = demoModels["opt-demo"];
  });
  const size = { dModel: 512, dFf: 1024, nLayers: 8, nHeads: 8 };

  it("verify, are the same for the same seed, and share a fingerprint across dtype and layout, not across seeds", async () => {
    const make = (name: string, more: Partial<ScaleOptions> & { dtype?: RecordDType }) =>
      scaleCheckpoint(optionsOf(name, size, more.dtype ?? "int8", more));
    const one = await make("one.gguf", {});
    const two = await make("two.gguf", {});
    expect(readFileSync(two.model).equals(readFileSync(one.model))).toBe(true);
    expect(readFileSync(two.predictor!).equals(readFileSync(one.predictor!))).toBe(true);
    const split = await make("split.gguf", { layout: "split", dtype: "f16" });
    const other = await make("other.gguf", { seed: 1 });
    expect(split.fingerprint).toBe(one.fingerprint);
    expect(other.fingerprint).not.toBe(one.fingerprint);
    for (const { model, predictor } of [one, split]) {
      const verified = await verifyModelFile(await openModelFile(memorySource(readFileSync(model))));
      expect(verified.ok).toBe(true);
      expect((await verifyPredictorFile(memorySource(readFileSync(predictor!)))).ok).toBe(true);
    }
  });

  it("an existing output, a foreign predictor and a size that is not whole copies are refused, and nothing is left", async () => {
    const first = await scaleCheckpoint(optionsOf("there.gguf", size, "int8"));
    await expect(scaleCheckpoint(optionsOf("there.gguf", size, "int8"))).rejects.toMatchObject({ code: "IO_EXISTS" });
    const foreign = optionsOf("foreign.gguf", size, "int8", { predictorPath: first.predictor });
    await expect(scaleCheckpoint(foreign)).rejects.toMatchObject({ code: "INTEGRITY_FINGERPRINT" });
    const odd = optionsOf("odd.gguf", { ...size, dModel: 600 }, "int8");
    await expect(scaleCheckpoint(odd)).rejects.toMatchObject({ code: "INPUT_INVALID" });
    expect(readdirSync(dir).filter((name) => /partial|foreign|odd/.test(name))).toEqual([]);
  });
});
