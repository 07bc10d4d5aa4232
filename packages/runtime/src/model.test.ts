import { isFlashwickError, memorySource, type Predictor } from "@flashwick/core";
import { openModelFile, recordLayout } from "@flashwick/flash-format";
import { memoryReader } from "@flashwick/flash-io";
import { describe, expect, it } from "vitest";
import { modelBytes, openFixture } from "./checkpoint.fixture.js";
import type { GeneratedToken } from "./generation.js";
import { Model } from "./model.js";
import type { GenerateOptions, ModelOptions } from "./model-options.js";
import { kernelsOf } from "./node/open-model.js";
import { scoreTokens } from "./score.js";
import type { RunSummary } from "./text-request.js";

const PROMPT = [2, 300, 45, 7];

/** Runs a generation to its end. */
async function run(model: Model, prompt: string | readonly number[], options: GenerateOptions = {}) {
  const items: GeneratedToken[] = [];
  const tokens = model.generate(prompt, { maxTokens: 12, ignoreEos: true, ...options });
  for (;;) {
    const next = await tokens.next();
    if (next.done) return { items, text: items.map(({ text }) => text).join(""), summary: next.value as RunSummary };
    items.push(next.value);
  }
}

/** The error that `work` ends with. */
async function failure(
  work: Promise<unknown> | (() => unknown),
): Promise<{ code?: string; message: string; details: Record<string, unknown> }> {
  try {
    await (typeof work === "function" ? work() : work);
  } catch (error) {
    return error as { code?: string; message: string; details: Record<string, unknown> };
  }
  throw new Error("expected a failure");
}

/** A model over bytes that the test may damage. */
async function openBytes(bytes: Uint8Array, options: ModelOptions = {}): Promise<Model> {
  const file = await openModelFile(memorySource(bytes, "model.gguf"));
  const parts = {
    file,
    reader: memoryReader(bytes, "model.gguf"),
    kernels: kernelsOf("wasm").kernels,
    backend: "wasm",
    predictor: null,
    clock: () => performance.now(),
  };
  return new Model(parts, options);
}

describe("generate", () => {
  it("gives the same tokens again, whatever ran before", async () => {
    const model = await openFixture("opt-tiny-sharded", { mode: "oracle" });
    const first = await run(model, PROMPT);
    await run(model, [9, 8, 7]);
    expect((await run(model, PROMPT)).summary.tokens).toEqual(first.summary.tokens);
    expect((await run(model, [...PROMPT, ...first.summary.tokens.slice(0, 5)])).summary.tokens.slice(0, 7)).toEqual(
      first.summary.tokens.slice(5),
    );
    await model.close();
  });
  it("lets requests made at once run one after the other", async () => {
    const model = await openFixture("opt-tiny-sharded");
    const alone = (await run(model, PROMPT)).summary.tokens;
    const [a, b] = await Promise.all([run(model, PROMPT), run(model, PROMPT, { maxTokens: 5 })]);
    expect(a.summary.tokens).toEqual(alone);
    expect(b.summary.tokens).toEqual(alone.slice(0, 5));
    await model.close();
  });
  it("counts what it read: with a cold cache of one layer's size no more than naming everything would", async () => {
    const model = await openFixture("opt-tiny-sharded", { mode: "oracle" });
    const { summary } = await run(model, PROMPT);
    const { stats } = summary;
    expect(stats.cacheHits + stats.cacheMisses).toBe(Math.round(stats.neuronsNamedPerToken * 11));
    expect(stats.flashBytes).toBe(stats.cacheMisses * model.header.weights.slotBytes);
    expect(stats.dramBytes.total).toBeLessThanOrEqual(stats.dramBytes.budget);
    expect(summary.finishReason).toBe("length");
    await model.close();
  });
  it("ends where the context ends", async () => {
    const model = await openFixture("opt-tiny-sharded");
    const prompt = Array.from({ length: 120 }, (_, i) => 4 + (i % 300));
    const { summary } = await run(model, prompt, { maxTokens: 50 });
    expect(summary.tokens.length).toBe(9);
    await model.close();
  });
  it("releases the model when the caller leaves the loop", async () => {
    const model = await openFixture("opt-tiny-sharded");
    for await (const { token } of model.generate(PROMPT)) if (token !== null) break;
    expect((await run(model, PROMPT)).summary.tokens.length).toBe(12);
    await model.close();
  });
  it("throws the signal's own reason within a token, and works afterwards", async () => {
    const model = await openFixture("opt-tiny-sharded", { mode: "oracle" });
    const whole = (await run(model, PROMPT)).summary.tokens;
    const controller = new AbortController();
    const reason = new Error("enough");
    let seen = 0;
    const aborted = (async () => {
      for await (const _ of model.generate(PROMPT, { signal: controller.signal })) {
        if (++seen === 3) controller.abort(reason);
      }
    })();
    expect(await failure(aborted)).toBe(reason);
    expect(seen).toBe(3);
    expect((await run(model, PROMPT)).summary.tokens).toEqual(whole);
    await model.close();
  });
  it("samples by seed", async () => {
    const model = await openFixture("opt-tiny-sharded");
    const options = { temperature: 1, seed: 5 };
    expect((await run(model, PROMPT, options)).summary.tokens).toEqual(
      (await run(model, PROMPT, options)).summary.tokens,
    );
    await model.close();
  });
});

describe("bad requests", () => {
  it.each([
    ["an empty prompt", [], "INPUT_INVALID", /no tokens/],
    [
      "a token beyond the vocabulary",
      [2, 512],
      "INPUT_TOKEN_RANGE",
      /token 1 of the prompt is 512, expected an id from 0 to 511/,
    ],
    ["a negative token", [-1], "INPUT_TOKEN_RANGE", /token 0 of the prompt is -1/],
    [
      "a prompt beyond the context",
      new Array(129).fill(5),
      "INPUT_CONTEXT_LENGTH",
      /129 tokens, but the model's context is 128; shorten it by 1/,
    ],
    ["text without a tokenizer", "hello", "INPUT_NO_TOKENIZER", /carries no tokenizer/],
  ])("%s", async (_, prompt, code, message) => {
    const model = await openFixture("opt-tiny-sharded");
    const error = await failure(run(model, prompt as string | number[]));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect((await run(model, PROMPT)).summary.tokens.length).toBe(12);
    await model.close();
  });
  it("a probe beyond the vocabulary", async () => {
    const model = await openFixture("opt-tiny-sharded");
    expect((await failure(scoreTokens(model, PROMPT, { probe: [512] }))).code).toBe("INPUT_TOKEN_RANGE");
    await model.close();
  });
  it("anything after close", async () => {
    const model = await openFixture("opt-tiny-sharded");
    await model.close();
    await model.close();
    expect((await failure(run(model, PROMPT))).code).toBe("DISPOSED");
  });
});

describe("the budget", () => {
  it("is refused with the smallest that would do, which then does", async () => {
    const refused = await failure(openFixture("opt-tiny-sharded", { dramBudgetBytes: 1000 }));
    expect(refused.code).toBe("BUDGET_TOO_SMALL");
    const smallest = refused.details.smallestBudgetBytes as number;
    const model = await openFixture("opt-tiny-sharded", { dramBudgetBytes: smallest });
    expect((await run(model, [2], { maxTokens: 0 })).summary.stats.dramBytes.total).toBeLessThanOrEqual(smallest);
    const longer = await failure(run(model, PROMPT));
    expect(longer.code).toBe("BUDGET_TOO_SMALL");
    await model.close();
    const enough = longer.details.smallestBudgetBytes as number;
    const larger = await openFixture("opt-tiny-sharded", { dramBudgetBytes: enough });
    expect((await run(larger, PROMPT)).summary.tokens.length).toBe(12);
    await larger.close();
    expect((await failure(openFixture("opt-tiny-sharded", { dramBudgetBytes: smallest - 1 }))).code).toBe(
      "BUDGET_TOO_SMALL",
    );
  });
});

describe("damaged bytes", () => {
  it("a flipped bit in a record names layer, neuron and offset, also in a run that was fine before", async () => {
    const bytes = (await modelBytes("opt-tiny-sharded", "f32")).slice();
    const options: ModelOptions = { mode: "oracle" };
    const probe = await openBytes(bytes, options);
    const { smallestBudgetBytes } = probe.plan(16);
    await probe.close();
    const model = await openBytes(bytes, { ...options, dramBudgetBytes: smallestBudgetBytes });
    await run(model, PROMPT);
    const { strideBytes } = recordLayout(model.header);
    const offset = model.header.records[1]!.offset + 17 * strideBytes;
    bytes[offset + 5]! ^= 4;
    const error = await failure(run(model, PROMPT));
    expect(error.code).toBe("INTEGRITY_RECORD");
    expect(error.details).toMatchObject({ layer: 1, neuron: 17, offset });
    await model.close();
  });
  it("a flipped bit in a resident tensor names the tensor", async () => {
    const bytes = (await modelBytes("opt-tiny-sharded", "f16")).slice();
    const model = await openBytes(bytes);
    bytes[model.header.tensors.get("blk.2.attn_k.weight")!.offset + 9]! ^= 128;
    const error = await failure(run(model, PROMPT));
    expect(error.code).toBe("INTEGRITY_TENSOR");
    expect(error.message).toContain("blk.2.attn_k.weight");
    await model.close();
  });
  it("a flipped bit in a table that stays on flash names the tensor", async () => {
    const bytes = (await modelBytes("opt-tiny-sharded", "f16")).slice();
    const probe = await openBytes(bytes);
    const { smallestBudgetBytes } = probe.plan(16);
    await probe.close();
    const model = await openBytes(bytes, { dramBudgetBytes: smallestBudgetBytes });
    expect(model.plan(16).rowTablesResident).toBe(false);
    bytes[model.header.tensors.get("position_embd.weight")!.offset]! ^= 1;
    expect(await failure(run(model, PROMPT))).toMatchObject({ code: "INTEGRITY_TENSOR" });
    await model.close();
  });
});

describe("predictors", () => {
  const foreign: Predictor = {
    modelFingerprint: "0".repeat(64),
    dModel: 64,
    dFf: 256,
    layers: [],
    sparsity: null,
    training: {},
  };
  it("of another model are refused", async () => {
    const error = await failure(openFixture("opt-tiny-sharded", { predictor: foreign }));
    expect(isFlashwickError(error) && error.code).toBe("INTEGRITY_FINGERPRINT");
    expect(error.message).toMatch(/it belongs to the model 000000000000…, but this model is/);
  });
  it("must be there for the predicted mode", async () => {
    expect((await failure(openFixture("opt-tiny-sharded", { mode: "predicted" }))).message).toMatch(
      /needs a predictor/,
    );
  });
});
