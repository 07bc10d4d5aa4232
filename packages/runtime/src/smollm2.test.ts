/** A published model as it is downloaded, against references that were made from the same file. */
import { existsSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type Golden, readGolden } from "./checkpoint.fixture.js";
import { expectGreedy, farthestLogit, type Position } from "./golden.fixture.js";
import { type OpenModelOptions, openModel } from "./node/open-model.js";
import { scoreTokens } from "./score.js";
import { models, smolPath } from "./tokenizer/tokenizer.fixture.js";

const LOGIT_TOLERANCE = 2e-2;
const MARGIN = 0.05;
const PERPLEXITY_TOLERANCE = 2e-3;

/** What the saved references of SmolLM2 hold beyond those of tiny models. */
interface SmolGolden extends Golden {
  readonly long: {
    readonly tokens: readonly number[];
    readonly at: readonly number[];
    readonly positions: readonly Position[];
  };
  readonly perplexity: {
    readonly bos: number;
    readonly perplexity: number;
    readonly windows: number;
    readonly tokens: number;
    readonly ids: readonly (readonly number[])[];
  };
}

describe.skipIf(models.isMissing)(models.title("SmolLM2-135M-Instruct in Q4_1"), () => {
  const golden = readGolden("smollm2") as SmolGolden;
  const open = (options: OpenModelOptions = {}) => {
    expect(existsSync(smolPath)).toBe(true);
    return openModel(smolPath, { contextTokens: 768, ...options });
  };

  it(`gives the reference's logits within ${LOGIT_TOLERANCE}, over 700 tokens too`, async () => {
    const model = await open();
    for (const { tokens, positions } of golden.cases) {
      expect(await farthestLogit(model, tokens, positions, MARGIN)).toBeLessThan(LOGIT_TOLERANCE);
    }
    const { tokens, at, positions } = golden.long;
    expect(await farthestLogit(model, tokens, positions, MARGIN, at)).toBeLessThan(LOGIT_TOLERANCE);
    await model.close();
  }, 120_000);

  it(`continues greedily as the reference does where its margin exceeds ${MARGIN}`, async () => {
    const model = await open();
    await expectGreedy(model, golden, MARGIN);
    await model.close();
  }, 120_000);

  it(`has the reference's perplexity within ${100 * PERPLEXITY_TOLERANCE} %`, async () => {
    const { bos, ids, perplexity, tokens } = golden.perplexity;
    const model = await open();
    let nll = 0;
    let count = 0;
    for (const window of ids) {
      const scored = await scoreTokens(model, [bos, ...window], { top: 1 });
      for (const { logprob } of scored.slice(1)) {
        nll -= logprob!;
        count++;
      }
    }
    expect(count).toBe(tokens);
    expect(Math.abs(Math.exp(nll / count) / perplexity - 1)).toBeLessThan(PERPLEXITY_TOLERANCE);
    await model.close();
  }, 240_000);

  it("streamed in two thirds of its size gives the bits of resident", async () => {
    const { tokens } = golden.cases[0]!;
    const logits = async (options: OpenModelOptions) => {
      const model = await open({ contextTokens: 64, kvPrecision: "f32", ...options });
      const scored = await scoreTokens(model, tokens, { top: 8 });
      await model.close();
      return scored;
    };
    expect(await logits({ dramBudgetBytes: 64 * 2 ** 20 })).toEqual(await logits({}));
  }, 120_000);
});
