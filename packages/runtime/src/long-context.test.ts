/** Contexts of 32,768 tokens under a budget: keys and values in pages, windows of attention, prompts taken in batches. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createModelWriter, memorySink } from "@flashwick/flash-format";
import { convertCheckpoint, memoryFolder } from "@flashwick/flash-format/convert";
import { beforeAll, expect, it } from "vitest";
import { type FixtureOptions, openModelBytes } from "./checkpoint.fixture.js";

const CONTEXT = 32_768;
const DECODED = 4;
const PROMPT = Array.from({ length: CONTEXT - DECODED - 1 }, (_, i) => 3 + ((i * 7919) % 500));

let bytes: Uint8Array;
/** Attention sees 64 tokens, so that a prompt of 32,763 takes seconds. */
beforeAll(async () => {
  const folder = new URL("../fixtures/mistral-tiny/", import.meta.url);
  const files = readdirSync(folder).map((name) => [name, new Uint8Array(readFileSync(new URL(name, folder)))] as const);
  const config = JSON.parse(readFileSync(fileURLToPath(new URL("config.json", folder)), "utf8"));
  const longer = JSON.stringify({ ...config, max_position_embeddings: CONTEXT, sliding_window: 64 });
  const source = memoryFolder(new Map([...files, ["config.json", new TextEncoder().encode(longer)]]));
  const sink = memorySink("long.gguf");
  await convertCheckpoint(source, (spec) => createModelWriter(sink, spec), { dtype: "f16" });
  bytes = sink.committed!;
});

async function continued(options: FixtureOptions) {
  const model = await openModelBytes(bytes, "long.gguf", { contextTokens: CONTEXT, kvPrecision: "f16", ...options });
  const { dram, smallestBudgetBytes, batchTokens } = model.plan(CONTEXT);
  const tokens: number[] = [];
  for await (const { token } of model.generate(PROMPT, { maxTokens: DECODED, ignoreEos: true }))
    if (token !== null) tokens.push(token);
  await model.close();
  return { tokens, dram, smallestBudgetBytes, batchTokens };
}

it("a prompt of 32,763 tokens continues the same in the smallest budget as with everything in memory", async () => {
  const ample = await continued({});
  const tight = await continued({ dramBudgetBytes: ample.smallestBudgetBytes + 64 * 1024 });
  expect(ample.tokens).toHaveLength(DECODED);
  expect(tight.tokens).toEqual(ample.tokens);
  expect(tight.batchTokens).toBeLessThan(ample.batchTokens);
  expect(tight.dram.total).toBeLessThanOrEqual(tight.dram.budget);
  // Keys and values of 3 layers, 2 heads of 24, in f16, and what pages add.
  expect(tight.dram.kvCache).toBeGreaterThanOrEqual(CONTEXT * 3 * 2 * 2 * 24 * 2);
}, 120_000);
