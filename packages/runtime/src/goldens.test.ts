/** The engine against saved references of an independent implementation (float32, from the stored weights). On WebGPU: tools/browser/src/webgpu-models.test.ts. */
import { describe, expect, it } from "vitest";
import { type Golden, openFixture, readGolden } from "./checkpoint.fixture.js";
import { expectGreedy, farthestLogit } from "./golden.fixture.js";
import type { Model } from "./model.js";

/** float32 in another order of summation: about 1e-4 seen, 2e-3 is the bound. */
const LOGIT_TOLERANCE = 2e-3;
/** Below this distance of the best two logits a different choice is no error. */
const MARGIN = 0.01;

/** Element types that lose nothing of the checkpoint, the one that it is stored in last. */
const checkpoints = [
  ["opt-tiny-postnorm", "f32", "f16"],
  ["opt-tiny-sharded", "f32", "f16"],
  ["opt-demo", "f32", "f16"],
  ["falcon-tiny-mqa", "f32", "bf16"],
  ["falcon-tiny-gqa", "f32", "bf16"],
  ["falcon-tiny-alibi", "f32"],
  ["falcon-demo", "f32", "f16"],
  ["gated-demo", "f32", "f16"],
  ["llama-tiny", "f32", "f16", "bf16"],
  ["llama-tiny-relu", "f32", "f16"],
  ["llama3-tiny", "f32", "f16"],
  ["mistral-tiny", "f32", "f16"],
  ["qwen2-tiny", "f32", "f16"],
  ["qwen3-tiny", "f32", "f16"],
  ["gemma3-tiny", "f32", "f16"],
  ["phi-tiny", "f32", "f16"],
  ["phi-tiny-relu", "f32", "f16"],
  ["persimmon-tiny", "f32", "f16"],
  ["prosparse-tiny", "f32", "bf16"],
  ["bamboo-tiny", "f32", "bf16"],
] as const;

async function expectReferenceLogits(model: Model, { cases }: Golden): Promise<void> {
  for (const { tokens, positions } of cases) {
    expect(await farthestLogit(model, tokens, positions, MARGIN)).toBeLessThan(LOGIT_TOLERANCE);
  }
  await model.close();
}

for (const [name, ...dtypes] of checkpoints) {
  const golden = readGolden(name);
  it(`${name} on plain TypeScript gives the reference's logits within ${LOGIT_TOLERANCE}`, async () => {
    await expectReferenceLogits(await openFixture(name, { backend: "reference" }), golden);
  }, 120_000);
  for (const dtype of dtypes) {
    describe(`${name} as ${dtype}`, () => {
      it(`gives the reference's logits within ${LOGIT_TOLERANCE}`, async () => {
        await expectReferenceLogits(await openFixture(name, { dtype }), golden);
      });

      it(`continues greedily as the reference does where its margin exceeds ${MARGIN}`, async () => {
        const model = await openFixture(name, { dtype });
        await expectGreedy(model, golden, MARGIN);
        await model.close();
      });
    });
  }
}

describe.each(["opt-demo", "falcon-demo", "gated-demo"])("%s", (name) => {
  it("tokenizes the reference's prompts to the same ids", async () => {
    const model = await openFixture(name, { dtype: "f16" });
    for (const { text, tokens } of readGolden(name).cases) {
      expect(model.tokenizer.encode(text!, true)).toEqual(tokens);
    }
    await model.close();
  });
});
