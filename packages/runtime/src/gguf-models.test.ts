/**
 * GGUF files of llama.cpp as they lie, against saved references of an independent implementation (transformers, float32, weights dequantised from
 * the file). Those of phi2 and falcon are written as llama.cpp's converter does, and loaded by llama.cpp; they hold the checkpoints whose references
 * are named here, without loss. Falcon 7B in Q8_0 has a reference of its own (numpy, float64, with the GELU that such a file means), which is met by
 * what transformers says of the checkpoint to 6e-6.
 */
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { ggufBytes, openModelBytes, readGolden } from "./checkpoint.fixture.js";
import { expectGreedy, farthestLogit } from "./golden.fixture.js";
import type { Model } from "./model.js";
import type { GenerateOptions } from "./model-options.js";
import { openModel } from "./node/open-model.js";
import { scoreTokens } from "./score.js";
import { ModelDrafter } from "./speculation/model-drafter.js";

/** Activations are rounded to 15 bits before they meet blocks. Below the margin of the best two logits a different choice is no error. */
const BLOCKS = { tolerance: 2e-2, margin: 0.05 };
/** float32 in another order of summation. */
const FLOATS = { tolerance: 2e-3, margin: 0.01 };

const FILES = [
  ...["llama", "llama3", "qwen2", "qwen3", "gemma3", "gemma3-linear", "falcon-7b"].map((name) => ({
    ...{ name, reference: `gguf-${name}`, ...BLOCKS },
  })),
  { name: "phi2", reference: "phi-tiny", ...FLOATS },
  { name: "phi2-fused", reference: "phi-tiny", ...FLOATS },
  { name: "falcon-40b", reference: "falcon-tiny-gqa", ...FLOATS },
];

async function logitsOf(model: Model, tokens: readonly number[]): Promise<number[]> {
  const scored = await scoreTokens(model, tokens, { top: 8, probe: [1, 2, 3] });
  return scored.flatMap(({ logSumExp, top, probe }) => [logSumExp, ...top.flat(), ...probe.flat()]);
}

async function generateTokens(model: Model, prompt: readonly number[], options: GenerateOptions) {
  const run = model.generate(prompt, { maxTokens: 40, ignoreEos: true, ...options });
  for (;;) {
    const next = await run.next();
    if (next.done) return next.value;
  }
}

describe.each(FILES)("$name.gguf", ({ name, reference, tolerance, margin }) => {
  const golden = readGolden(reference);

  it.each(["reference", "wasm"] as const)(
    `on %s gives the reference's logits within ${tolerance}`,
    async (backend) => {
      const model = await openModelBytes(ggufBytes(name), name, { backend });
      for (const { tokens, positions } of golden.cases) {
        expect(await farthestLogit(model, tokens, positions, margin)).toBeLessThan(tolerance);
      }
      await model.close();
    },
    60_000,
  );

  it(`continues greedily as the reference does where its margin exceeds ${margin}`, async () => {
    const model = await openModelBytes(ggufBytes(name), name);
    await expectGreedy(model, golden, margin);
    await model.close();
  });

  it("drafts leave the text as it is", async () => {
    const prompt = golden.cases.at(-1)!.tokens.slice(0, 20);
    const options = { contextTokens: 64, kvPrecision: "f16" as const };
    const resident = await openModelBytes(ggufBytes(name), name, options);
    const { smallestBudgetBytes, dram } = resident.plan(64);
    // Half way: the smallest budget has no room for drafts.
    const dramBudgetBytes = Math.ceil((smallestBudgetBytes + dram.total) / 2);
    const streamed = await openModelBytes(ggufBytes(name), name, { ...options, dramBudgetBytes });
    expect(streamed.plan(64).batchTokens).toBeGreaterThan(4);
    const drafter = new ModelDrafter(await openModelBytes(ggufBytes(name), name, options), streamed);
    for (const sampling of [{ temperature: 0 }, { temperature: 0.8, seed: 4 }]) {
      const plain = await generateTokens(resident, prompt, sampling);
      for (const speculate of ["lookup", drafter] as const) {
        const { tokens, stats } = await generateTokens(streamed, prompt, { ...sampling, speculate, draftTokens: 4 });
        expect(tokens).toEqual(plain.tokens);
        if (speculate === "lookup") continue;
        expect(stats.speculation!.drafted).toBeGreaterThan(0);
        // The same model as its own drafter, with the same sampler: all is taken.
        expect(stats.speculation!.accepted).toBe(stats.speculation!.drafted);
      }
    }
    for (const open of [resident, drafter, streamed]) await open.close();
  });

  it("streamed gives the bits of resident, in every budget from the smallest on", async () => {
    const tokens = golden.cases.at(-1)!.tokens.slice(0, 40);
    const options = { contextTokens: 64, kvPrecision: "f32" as const };
    const resident = await openModelBytes(ggufBytes(name), name, options);
    const expected = await logitsOf(resident, tokens);
    const { smallestBudgetBytes, dram } = resident.plan(64);
    await resident.close();
    for (const share of [0, 0.2, 0.5, 0.9]) {
      const dramBudgetBytes = Math.ceil(smallestBudgetBytes + share * (dram.total - smallestBudgetBytes));
      const model = await openModelBytes(ggufBytes(name), name, { ...options, dramBudgetBytes });
      expect(await logitsOf(model, tokens), `${share}`).toEqual(expected);
      await model.close();
    }
  });
});

it.each(["oracle", "predicted"] as const)(
  "a GGUF file is dense: %s mode is refused, and nobody is sent to train",
  async (mode) => {
    const error = await openModelBytes(ggufBytes("llama"), "llama.gguf", { mode }).catch((cause) => cause);
    expect(error).toMatchObject({ code: "UNSUPPORTED_ACTIVATION" });
  },
);

it("WebGPU refuses other types by name, before a device is asked for", async () => {
  const path = fileURLToPath(new URL("../fixtures/gguf/llama.gguf", import.meta.url));
  const error = await openModel(path, { backend: "webgpu" }).catch((cause) => cause);
  expect(error).toMatchObject({ code: "UNSUPPORTED_FEATURE", details: { dtype: "q5_k" } });
  expect(error.message).toMatch(
    /tensor blk\.0\.\S+ of type q5_k, expected one of .*q4_0, q8_0, q4_k, q6_k; compute on WebAssembly \(--backend wasm\)/,
  );
});
