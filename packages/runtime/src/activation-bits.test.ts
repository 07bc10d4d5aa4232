/** Activations of eight bits through the whole engine: what they change, what they leave, and who refuses them. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InputError, UnsupportedError } from "@flashwick/core";
import { compileByteVectorKernels } from "@flashwick/kernels-wasm";
import { capability } from "@flashwick/test-capabilities";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { MADE_CONTEXT, madeLlama } from "./made-llama.fixture.js";
import { type OpenModelOptions, openModel } from "./node/open-model.js";
import { scoreTokens } from "./score.js";

const TOKENS = Array.from({ length: 24 }, (_, i) => (i * 37) % 96);
const missing = await compileByteVectorKernels().then(
  () => null,
  () => `Node ${process.version} has none that is right`,
);
const relaxed = capability("relaxed-simd", missing);

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "activation-bits-"));
  for (const dtype of ["q4_0", "q4_k", "q6_k"] as const) writeFileSync(join(folder, dtype), madeLlama(dtype));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function open(dtype: string, options: OpenModelOptions) {
  return await openModel(join(folder, dtype), { contextTokens: MADE_CONTEXT, kvPrecision: "f32", ...options });
}

/** Every logit of every position. */
async function logitsOf(dtype: string, options: OpenModelOptions): Promise<number[]> {
  const model = await open(dtype, options);
  const probe = Array.from({ length: 96 }, (_, i) => i);
  const scored = await scoreTokens(model, TOKENS, { probe }).finally(() => model.close());
  return scored.flatMap(({ probe: logits }) => logits.map(([, logit]) => logit));
}

function rootMeanSquare(values: readonly number[]): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
}

/** Root mean square of the difference, as a share of the values'. */
function relativeDifference(found: readonly number[], expected: readonly number[]): number {
  return rootMeanSquare(found.map((value, i) => value - expected[i]!)) / rootMeanSquare(expected);
}

describe("activations of eight bits on the reference", () => {
  it("give other logits, near the default's, and the run says so", async () => {
    const usual = await logitsOf("q4_0", { backend: "reference" });
    const rounded = await logitsOf("q4_0", { backend: "reference", activationBits: 8 });
    const difference = relativeDifference(rounded, usual);
    expect(difference).toBeGreaterThan(1e-4);
    expect(difference).toBeLessThan(0.1);
    for (const activationBits of [8, undefined] as const) {
      const model = await open("q4_0", { backend: "reference", activationBits });
      const tokens = model.generate([1, 2], { maxTokens: 2, ignoreEos: true });
      let next = await tokens.next();
      while (!next.done) next = await tokens.next();
      expect(next.value.stats.activationBits).toBe(activationBits ?? null);
      await model.close();
    }
  });

  it("are refused by a device, and as another number", async () => {
    await expect(open("q4_0", { backend: "webgpu", activationBits: 8 })).rejects.toThrow(UnsupportedError);
    await expect(open("q4_0", { activationBits: 7 as 8 })).rejects.toThrow(InputError);
    await expect(open("q4_0", { activationBits: 7 as 8 })).rejects.toThrow(/activationBits is 7, expected 8/);
  });
});

describe("activations of eight bits on WebAssembly", () => {
  it.skipIf(relaxed.isMissing).each([["q4_0"], ["q4_k"], ["q6_k"]])(
    relaxed.title("give the same bits of %s resident and streamed, on one thread and two, near the reference's"),
    async (dtype) => {
      const resident = await logitsOf(dtype, { activationBits: 8 });
      const model = await open(dtype, { activationBits: 8 });
      const dramBudgetBytes = model.plan(MADE_CONTEXT).smallestBudgetBytes + 64 * 1024;
      await model.close();
      // Readers read into shared memory, whoever computes.
      for (const threads of [1, 2]) {
        expect(await logitsOf(dtype, { activationBits: 8, dramBudgetBytes, threads, readers: 2 })).toEqual(resident);
      }
      // What differs beside products, attention for one, can tip a rounding.
      const reference = await logitsOf(dtype, { activationBits: 8, backend: "reference" });
      expect(relativeDifference(resident, reference)).toBeLessThan(0.05);
      expect(resident).not.toEqual(await logitsOf(dtype, {}));
    },
    60_000,
  );

  it("are refused before anything is loaded where relaxed SIMD is missing", async () => {
    for (const threads of [1, 2]) {
      const asked = open("q4_0", { activationBits: 8, threads });
      if (relaxed.isMissing) {
        await expect(asked).rejects.toThrow(/need WebAssembly's relaxed SIMD/);
        continue;
      }
      const model = await asked;
      expect(model.parts.activationBits).toBe(8);
      await model.close();
    }
  });
});
