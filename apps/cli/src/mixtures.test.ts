/** Mixtures of experts through the program. */
import { copyFileSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { flashwick, flashwickJson } from "./tiny-checkpoint.fixture.js";

const model = fileURLToPath(new URL("../../../packages/runtime/fixtures/gguf/olmoe.gguf", import.meta.url));
const PROMPT = ["--tokens", "3,7,11,2,9,4", "--max-tokens", "6", "--kv-precision", "f32", "--context", "16"];

const run = (...flags: string[]) => flashwickJson(["run", model, ...PROMPT, ...flags]);

/** The least budget of the run above. */
async function smallestBudget(): Promise<number> {
  const { document } = await run("--dram-budget", "1KiB");
  return document.error.details.smallestBudgetBytes;
}

describe("a cache smaller than one token's experts", () => {
  it("is said at open, with the budget that would do", async () => {
    const budget = await smallestBudget();
    const small = await run("--dram-budget", `${budget}`);
    const { fits, neededBudgetBytes, units } = small.document.cacheFit;
    expect([units, fits]).toEqual(["experts", false]);
    expect(small.err).toMatch(
      /^note: a DRAM budget of .* holds fewer experts of each layer than one token chooses.* hold them$/m,
    );
    const large = await run("--dram-budget", `${neededBudgetBytes}`);
    expect(large.document.cacheFit).toMatchObject({ fits: true, neededBudgetBytes });
    expect(large.err).not.toContain("holds fewer experts");
    expect(large.document.tokens).toEqual(small.document.tokens);
  });

  it("is said by plan, too", async () => {
    const argv = ["plan", model, "--preset", "nvme-pcie4", "--context", "64"];
    const { document } = await flashwickJson([...argv, "--dram-budget", "1KiB"]);
    const { out } = await flashwick([...argv, "--dram-budget", `${document.smallestBudgetBytes}`]);
    expect(out).toMatch(/^note: a DRAM budget of .* holds fewer experts of each layer than one token chooses/m);
  });
});

describe("other experts than the routers'", () => {
  let dir: string;
  let text: string;
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), "flashwick-mixtures-"));
    text = join(dir, "text.txt");
    writeFileSync(text, "In the beginning was the word, and the word was with him, and so it went on. ".repeat(12));
  });
  afterAll(() => rmSync(dir, { recursive: true }));

  const evaluate = (budget: number, ...flags: string[]) =>
    flashwickJson([
      ...["eval", model, "--text", text, "--window-tokens", "32", "--max-windows", "2", "--kv-precision", "f32"],
      ...["--dram-budget", `${budget}`, "--lookahead", "off", "--against", "dense", ...flags],
    ]);

  it("are said to be no exact run, and eval has their price: bytes, perplexity, agreement", async () => {
    const budget = 3 * (await smallestBudget());
    const plain = (await evaluate(budget)).document;
    expect([plain.against.top1Agreement, plain.against.meanKl, plain.recall]).toEqual([1, 0, 1]);
    expect(plain.flashBytesPerToken).toBeGreaterThan(0);
    for (const flags of [
      ["--resident-margin", "0.5"],
      ["--experts", "1"],
    ]) {
      const { document, err } = await evaluate(budget, ...flags);
      expect(err).toContain("note: this run is not the model's own");
      expect(document.flashBytesPerToken).toBeLessThan(plain.flashBytesPerToken);
      expect(document.against.perplexity).toBeCloseTo(plain.perplexity, 6);
      expect(document.against.meanKl).toBeGreaterThan(0);
      expect(document.recall).toBeLessThan(1);
    }
  });

  it("are the router's first again with --router-keep", async () => {
    const kept = await run("--resident-margin", "0.5", "--router-keep", "8");
    expect(kept.document.tokens).toEqual((await run()).document.tokens);
  });

  it("tells a person of experts, not of neurons", async () => {
    const { out } = await flashwick(["eval", model, "--text", text, "--window-tokens", "32", "--max-windows", "1"]);
    expect(out).toContain("of the routers' experts");
    expect(out).toMatch(/layer +chosen +used/);
  });

  it("refuses more experts than a router chooses, and any of a model without", async () => {
    const many = await run("--experts", "9");
    expect([many.status, many.document.error.code]).toEqual([1, "INPUT_INVALID"]);
    expect((await run("--experts", "0")).status).toBe(2);
    expect((await run("--resident-margin", "-1")).status).toBe(2);
  });
});

describe("trace hot", () => {
  let dir: string;
  let copy: string;
  let trace: string;
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "flashwick-hot-"));
    copy = join(dir, "olmoe.gguf");
    copyFileSync(model, copy);
    trace = join(dir, "olmoe.trace");
    const text = join(dir, "text.txt");
    writeFileSync(text, "In the beginning was the word, and the word was with him, and so it went on. ".repeat(4));
    await flashwickJson(["trace", "record", copy, "--text", text, "-o", trace, "--window-tokens", "32"]);
  });
  afterAll(() => rmSync(dir, { recursive: true }));

  const hot = (output: string, ...flags: string[]) =>
    flashwickJson(["trace", "hot", trace, "--model", copy, "-o", join(dir, output), ...flags]);
  const runCopy = async (...flags: string[]) => (await flashwickJson(["run", copy, ...PROMPT, ...flags])).document;

  it("keeps a text's experts, and run reads them first: found beside the model, given, or not at all", async () => {
    const plain = await runCopy();
    const { document } = await hot("olmoe.hot.json");
    expect(document).toMatchObject({ nLayers: 2, experts: expect.any(Number), usedByLayer: expect.any(Array) });
    const beside = await runCopy();
    expect(beside.tokens).toEqual(plain.tokens);
    expect(beside.stats.loadedBytes).toBeGreaterThan(plain.stats.loadedBytes);
    expect(beside.stats.prefillFlashBytes).toBeLessThan(plain.stats.prefillFlashBytes);
    expect((await runCopy("--hot", "off")).stats.loadedBytes).toBe(plain.stats.loadedBytes);
    renameSync(join(dir, "olmoe.hot.json"), join(dir, "given.json"));
    const given = await runCopy("--hot", join(dir, "given.json"));
    expect(given.stats.loadedBytes).toBe(beside.stats.loadedBytes);
  });

  it("refuses a file that is there, another model, one without experts, and a profile of another model", async () => {
    const profile = join(dir, "again.json");
    await hot("again.json");
    expect((await hot("again.json")).document.error.code).toBe("IO_EXISTS");
    const other = fileURLToPath(new URL("../../../packages/runtime/fixtures/gguf/mixtral.gguf", import.meta.url));
    const dense = fileURLToPath(new URL("../../../packages/runtime/fixtures/gguf/qwen2.gguf", import.meta.url));
    for (const path of [other, dense]) {
      const argv = ["trace", "hot", trace, "--model", path, "-o", join(dir, "none.json")];
      expect((await flashwickJson(argv)).document.error.code).toBe("INPUT_INVALID");
    }
    writeFileSync(
      profile,
      readFileSync(profile, "utf8").replace(/"fingerprint": "[0-9a-f]{4}/, '"fingerprint": "zzzz'),
    );
    expect((await runCopy("--hot", profile)).error.code).toBe("INTEGRITY_FINGERPRINT");
    expect((await runCopy("--hot", join(dir, "none.json"))).error.code).toBe("IO_NOT_FOUND");
    const argv = ["run", dense, ...PROMPT, "--hot", profile];
    expect((await flashwickJson(argv)).document.error.code).toBe("INPUT_INVALID");
  });
});
