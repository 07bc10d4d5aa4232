/** On a device that has a memory of its own the engine gives the bits that it gives on the host's: whatever crosses over is brought across. */
import { DeviceLostError } from "@flashwick/core";
import { type Kernels, kernelFactory } from "@flashwick/kernels";
import type { PredictorDType } from "@flashwick/predictor";
import { describe, expect, it, vi } from "vitest";
import { type FixtureOptions, ggufBytes, openFixture, openModelBytes } from "./checkpoint.fixture.js";
import { evaluateText } from "./evaluate.js";
import { mirroredKernels } from "./mirrored-kernels.fixture.js";
import { Model } from "./model.js";
import type { ModelOptions } from "./model-options.js";
import { noisePredictor } from "./noise-predictor.fixture.js";
import { forEachLogits } from "./score.js";

const PROMPT = [2, 300, 45, 7, 499, 12, 64, 64, 3, 210];
const PREFILLED = 4;

/** `bits`: type of the predictor's weights. */
type MirrorOptions = FixtureOptions & { readonly bits?: PredictorDType };

async function open(name: string, { bits, ...options }: MirrorOptions, mirrored: boolean): Promise<Model> {
  const { dtype, layout, gateDtype, maxArenaBytes } = options;
  const { parts } = await openFixture(name, { dtype, layout, gateDtype, maxArenaBytes } as FixtureOptions);
  const predictor = options.mode === "predicted" ? noisePredictor(parts.file.header, bits) : null;
  const kernels = mirrored ? mirroredKernels : parts.kernels;
  return new Model({ ...parts, predictor, kernels }, { kvPrecision: "f32", ...options } as ModelOptions);
}

/** Logits of a prompt that is scored, then prefilled in part and decoded. */
async function logitsOf(model: Model): Promise<Float32Array[]> {
  const all: Float32Array[] = [];
  await forEachLogits(model, PROMPT, {}, (_, logits) => all.push(logits.slice()));
  await model.withSequence(PROMPT.length, async (sequence) => {
    all.push((await sequence.prefill(PROMPT.slice(0, PREFILLED))).logits);
    for (const token of PROMPT.slice(PREFILLED)) all.push((await sequence.decode(token)).logits.slice());
  });
  await model.close();
  return all;
}

async function smallestBudget(name: string, options: MirrorOptions): Promise<number> {
  const model = await open(name, options, false);
  const { smallestBudgetBytes } = model.plan(PROMPT.length);
  await model.close();
  return smallestBudgetBytes;
}

const CASES: readonly (readonly [string, MirrorOptions])[] = [
  ["opt-tiny-postnorm", { mode: "dense" }],
  ["opt-tiny-postnorm", { mode: "predicted" }],
  ["opt-tiny-postnorm", { mode: "predicted", lookahead: true }],
  ["opt-tiny-sharded", { mode: "oracle", dtype: "int8" }],
  ["opt-tiny-sharded", { mode: "oracle", dtype: "q4" }],
  ["opt-tiny-sharded", { mode: "predicted", dtype: "f16" }],
  ["opt-tiny-sharded", { mode: "predicted", lookahead: true, windowTokens: 1 }],
  ["opt-tiny-sharded", { mode: "predicted", bits: "q4_0" }],
  ["opt-tiny-sharded", { mode: "predicted", residentMargin: 0.5 }],
  ["opt-tiny-sharded", { mode: "predicted", layout: "split", overlap: false }],
  ["opt-tiny-sharded", { mode: "predicted", maxArenaBytes: 900_000 }],
  ["falcon-tiny-mqa", { mode: "oracle", dtype: "bf16" }],
  ["falcon-tiny-mqa", { mode: "predicted", dtype: "f16" }],
  ["llama-tiny-relu", { mode: "predicted", lookahead: true, windowTokens: 1 }],
  ["prosparse-tiny", { mode: "oracle", dtype: "int8" }],
  ["bamboo-tiny", { mode: "predicted", dtype: "bf16" }],
  ["llama-tiny-relu", { mode: "gate-first", dtype: "f16", gateDtype: "q8_0" }],
  ["prosparse-tiny", { mode: "oracle", dtype: "int8", gateDtype: "q4_0" }],
  ["phi-tiny-relu", { mode: "predicted", dtype: "f16" }],
  ["persimmon-tiny", { mode: "oracle", dtype: "f16" }],
  ["falcon-tiny-gqa", { mode: "dense" }],
  ["falcon-tiny-alibi", { mode: "dense" }],
];

describe.each(CASES)("%s %j, on a memory apart", (name, options) => {
  it("gives the same logits bit for bit, in any budget", async () => {
    const smallest = await smallestBudget(name, options);
    for (const dramBudgetBytes of [undefined, smallest, smallest + 40_000, smallest + 150_000]) {
      const within = { ...options, dramBudgetBytes };
      const expected = await logitsOf(await open(name, within, false));
      expect(await logitsOf(await open(name, within, true))).toEqual(expected);
    }
  });
});

describe.each(["llama", "gemma3", "qwen2", "phi2", "falcon-40b"])("%s.gguf, on a memory apart", (name) => {
  const openGguf = async (mirrored: boolean, dramBudgetBytes?: number) => {
    const options = { contextTokens: 32, kvPrecision: "f32" as const, dramBudgetBytes };
    const { parts } = await openModelBytes(ggufBytes(name), name);
    return new Model({ ...parts, kernels: mirrored ? mirroredKernels : parts.kernels }, options);
  };

  it("gives the same logits bit for bit, resident and streamed", async () => {
    const expected = await logitsOf(await openGguf(false));
    const { smallestBudgetBytes, dram } = (await openGguf(true)).plan(32);
    for (const share of [0, 0.3, 0.7, 1]) {
      const budget = Math.ceil(smallestBudgetBytes + share * (dram.total - smallestBudgetBytes));
      const model = await openGguf(true, budget);
      expect(await logitsOf(model), `${share}`).toEqual(expected);
    }
  });
});

it("evaluates as on one memory: what observers see and change is brought across, too", async () => {
  const text = "In the beginning there was a small light. ".repeat(40);
  const evaluate = async (mirrored: boolean) => {
    const demo = await openFixture("opt-demo", { dtype: "f16" });
    const kernels = mirrored ? mirroredKernels : demo.parts.kernels;
    const model = new Model({ ...demo.parts, kernels, predictor: noisePredictor(demo.header) });
    const result = await evaluateText(model, text, { maxWindows: 1 });
    await model.close();
    return result;
  };
  expect(await evaluate(true)).toEqual(await evaluate(false));
});

describe("a device that is lost while a model generates", () => {
  const LOST_AT = 5;
  const PROMPT_TEXT = [2, 300, 45];

  /** Tokens of a generation that loses its device once that many tokens are there. */
  async function generate(onDeviceLost?: ModelOptions["onDeviceLost"]) {
    const { parts } = await openFixture("opt-tiny-sharded");
    let lost = false;
    const kernels = kernelFactory<Kernels>((arena) => {
      const whole = mirroredKernels(arena);
      return {
        ...whole,
        take: async (ptr, sizeBytes) => {
          if (lost) throw new DeviceLostError("the device was lost; open it again");
          await whole.take(ptr, sizeBytes);
        },
      };
    }, mirroredKernels);
    const withoutDevice = { kernels: parts.kernels, backend: "wasm" };
    const model = new Model({ ...parts, kernels, backend: "webgpu", withoutDevice }, { onDeviceLost });
    const tokens: number[] = [];
    for await (const { token } of model.generate(PROMPT_TEXT, { maxTokens: 12, ignoreEos: true })) {
      if (token !== null) lost = tokens.push(token) >= LOST_AT;
    }
    const { backend } = model.parts;
    await model.close();
    return { tokens, backend };
  }

  it("throws a typed error if nobody asked for anything else", async () => {
    await expect(generate()).rejects.toMatchObject({ code: "DEVICE_LOST" });
    await expect(generate(() => "throw")).rejects.toMatchObject({ code: "DEVICE_LOST" });
  });

  it("goes on with WebAssembly if asked, with the tokens that it would have had there", async () => {
    const model = await openFixture("opt-tiny-sharded");
    const expected: number[] = [];
    for await (const { token } of model.generate(PROMPT_TEXT, { maxTokens: 12, ignoreEos: true })) {
      if (token !== null) expected.push(token);
    }
    await model.close();
    const onLost = vi.fn(() => "continue" as const);
    expect(await generate(onLost)).toEqual({ tokens: expected, backend: "wasm" });
    expect(onLost).toHaveBeenCalledOnce();
  });
});
