/** Drafts through the program: the same text, what it says of them, and what it refuses. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { demoModels } from "@flashwick/demo-models";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { main } from "./main.js";
import { NO_INPUT } from "./terminal-input.fixture.js";

const dir = mkdtempSync(join(tmpdir(), "speculation-"));
const model = join(dir, "opt-demo.gguf");
const small = join(dir, "opt-demo-int8.gguf");
const { checkpointDir, predictorPath } = demoModels["opt-demo"];

async function flashwick(...argv: string[]) {
  let out = "";
  let err = "";
  const status = await main(argv, {
    out: { isTty: false, columns: 80, write: (text) => void (out += text) },
    err: { isTty: false, columns: 80, write: (text) => void (err += text) },
    env: {},
    signal: new AbortController().signal,
    clock: () => performance.now(),
    peakRssBytes: () => 0,
    ...NO_INPUT,
  });
  return { status, out, err };
}

async function run(...flags: string[]) {
  const prompt = ["--prompt", "And the king said", "--max-tokens", "24", "--kv-precision", "f16"];
  const { status, out } = await flashwick("run", model, ...prompt, ...flags, "--json");
  return { status, document: JSON.parse(out) };
}

beforeAll(async () => {
  await flashwick("convert", checkpointDir, "-o", model, "--dtype", "f16", "--quiet");
  await flashwick("convert", checkpointDir, "-o", small, "--dtype", "int8", "--quiet");
});
afterAll(() => rmSync(dir, { recursive: true }));

describe("run", () => {
  it("--lossless gives the dense run's tokens, and says how drafting went", async () => {
    const dense = await run("--dense");
    const { document } = await run("--predictor", predictorPath, "--lossless", "--dram-budget", "70%");
    expect(document.tokens).toEqual(dense.document.tokens);
    expect(document.stats.speculation).toMatchObject({ drafter: "sparse" });
    expect(dense.document.stats.speculation).toBeNull();
    const { err } = await flashwick(
      ...["run", model, "--predictor", predictorPath, "--prompt", "And", "--max-tokens", "8", "--lossless"],
    );
    expect(err).toMatch(/drafts +sparse: \d+ of \d+ accepted/);
  });
  it.each([
    ["lookup", "lookup"],
    ["auto", "auto"],
    ["draft:<file>", `draft:${small}`],
  ])("--speculate %s gives the sparse run's tokens", async (_, drafter) => {
    const plain = await run("--predictor", predictorPath);
    const { document } = await run("--predictor", predictorPath, "--speculate", drafter);
    expect(document.tokens).toEqual(plain.document.tokens);
    expect(document.stats.speculation.drafter).toBe(drafter.startsWith("draft:") ? "draft" : "lookup");
  });
  it("--context reserves keys and values, and is the longest that a text may become", async () => {
    const { document } = await run("--predictor", predictorPath, "--context", "12");
    expect(document.promptTokens + document.tokens.length).toBe(13);
  });
  it("refuses what excludes each other, and a draft model that the budget has no room for", async () => {
    for (const flags of [
      ["--lossless", "--dense"],
      ["--lossless", "--speculate", "lookup"],
      ["--speculate", "sometimes"],
      ["--draft-tokens", "0"],
    ]) {
      expect((await flashwick("run", model, "--prompt", "And", ...flags)).status).toBe(2);
    }
    const argv = ["--prompt", "And", "--predictor", predictorPath, "--dram-budget", "60%"];
    const { status, err } = await flashwick("run", model, ...argv, "--speculate", `draft:${small}`);
    expect([status, err]).toEqual([2, expect.stringMatching(/no room beside the draft model, which takes/)]);
    const without = await flashwick("run", small, "--prompt", "And", "--lossless");
    expect([without.status, without.err]).toEqual([1, expect.stringMatching(/needs a predictor/)]);
  });
});
