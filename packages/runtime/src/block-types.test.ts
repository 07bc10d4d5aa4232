/** Every block type of llama.cpp through the whole engine: however much is resident, and whoever reads and computes, the bits are the same. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BLOCK_DTYPES } from "@flashwick/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openModelBytes } from "./checkpoint.fixture.js";
import { MADE_CONTEXT, madeLlama } from "./made-llama.fixture.js";
import type { Model } from "./model.js";
import { openModel } from "./node/open-model.js";
import { scoreTokens } from "./score.js";

const TOKENS = Array.from({ length: 40 }, (_, i) => (i * 37) % 96);
const OPTIONS = { contextTokens: MADE_CONTEXT, kvPrecision: "f32" } as const;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "block-types-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Every logit of every position, and the model is closed. */
async function bitsOf(model: Model): Promise<number[]> {
  const probe = Array.from({ length: 96 }, (_, i) => i);
  const scored = await scoreTokens(model, TOKENS, { probe });
  await model.close();
  return scored.flatMap(({ probe: logits }) => logits.map(([, logit]) => logit));
}

async function greedy(model: Model, speculate: "off" | "lookup"): Promise<readonly number[]> {
  const tokens: number[] = [];
  const run = model.generate(TOKENS.slice(0, 12), { maxTokens: 40, ignoreEos: true, speculate });
  for await (const { token } of run) if (token !== null) tokens.push(token);
  return tokens;
}

describe.each(BLOCK_DTYPES)("%s", (dtype) => {
  const bytes = madeLlama(dtype);
  const open = (options: object = {}) => openModelBytes(bytes, dtype, { ...OPTIONS, ...options });

  it("streamed gives the bits of resident", async () => {
    const resident = await open();
    const { smallestBudgetBytes, dram } = resident.plan(MADE_CONTEXT);
    const expected = await bitsOf(resident);
    expect(expected.every(Number.isFinite)).toBe(true);
    expect(new Set(expected).size).toBeGreaterThan(1000);
    for (const share of [0, 0.5]) {
      const dramBudgetBytes = Math.ceil(smallestBudgetBytes + share * (dram.total - smallestBudgetBytes));
      expect(await bitsOf(await open({ dramBudgetBytes })), `${share}`).toEqual(expected);
    }
  }, 60_000);

  it("threads and readers give the bits of none, and drafts leave the text as it is", async () => {
    const path = join(folder, `${dtype}.gguf`);
    writeFileSync(path, bytes);
    const alone = await open();
    // Reads past the page cache want some KiB to widen to the device's sectors.
    const dramBudgetBytes = alone.plan(MADE_CONTEXT).smallestBudgetBytes + 64 * 1024;
    const text = await greedy(alone, "off");
    const expected = await bitsOf(alone);
    expect(await bitsOf(await openModel(path, { ...OPTIONS, dramBudgetBytes, threads: 2, readers: 3 }))).toEqual(
      expected,
    );
    const drafting = await open();
    expect(await greedy(drafting, "lookup")).toEqual(text);
    await drafting.close();
  }, 60_000);
});
