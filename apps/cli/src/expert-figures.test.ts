/** Commands that say what a mixture of experts uses: experts, not neurons. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { flashwick, flashwickJson, makeWorkplace } from "./tiny-checkpoint.fixture.js";

/** Two layers of eight experts, of which a token uses three. */
const model = fileURLToPath(new URL("../../../packages/runtime/fixtures/gguf/olmoe.gguf", import.meta.url));
const EXPERTS_PER_TOKEN = 2 * 3;

let dir: string;
beforeAll(() => {
  dir = makeWorkplace().dir;
});
afterAll(() => rmSync(dir, { recursive: true }));

const json = async (...argv: string[]) => {
  const { status, document } = await flashwickJson([...argv, "--quiet"]);
  expect(status).toBe(0);
  return document;
};

describe("run of a mixture", () => {
  const argv = ["run", model, "--tokens", "5,9,40", "--max-tokens", "12", "--kv-precision", "f32"];

  /** Halfway from the least that works to all that the run can use. */
  async function halfBudget(): Promise<string> {
    const { document } = await flashwickJson([...argv, "--dram-budget", "1KiB"]);
    const { smallestBudgetBytes } = document.error.details;
    const { total } = (await json(...argv)).stats.dramBytes;
    return `${Math.ceil((smallestBudgetBytes + total) / 2)}`;
  }

  it("counts hits among the experts that its routers chose, and names the slowest token", async () => {
    const budget = await halfBudget();
    const { stats } = await json(...argv, "--dram-budget", budget);
    const { cacheHits, cacheMisses, cacheHitShare, neuronsNamedPerToken, tokenMs } = stats;
    expect(neuronsNamedPerToken).toBe(EXPERTS_PER_TOKEN);
    expect(cacheHits + cacheMisses).toBe(EXPERTS_PER_TOKEN * 11);
    expect(cacheHitShare).toBe(cacheHits / (cacheHits + cacheMisses));
    expect(cacheHitShare).toBeLessThan(1);
    expect(stats.flashBytesPerToken).toBeGreaterThan(0);
    expect(tokenMs.max).toBeGreaterThanOrEqual(tokenMs.p99);
    expect(tokenMs.max).toBeGreaterThanOrEqual(tokenMs.mean);
    const { err } = await flashwick([...argv, "--dram-budget", budget]);
    expect(err).toMatch(/experts +6\.00 chosen per token, [\d.]+ % of them in DRAM already/);
    expect(err).toMatch(/p99 [\d.]+, slowest [\d.]+; /);
  });
  it("has no share of hits where no cache is asked", async () => {
    const dense = join(model, "../qwen2.gguf");
    const run = ["run", dense, "--tokens", "5,9,40", "--max-tokens", "2"];
    expect((await json(...run)).stats.cacheHitShare).toBeNull();
    expect((await flashwick(run)).err).toMatch(/neurons +[\d.]+ named per token\n/);
  });
});

describe("trace of a mixture", () => {
  it("is recorded and replayed in words of experts once the model says so, in text and picture", async () => {
    const [text, trace, plot] = ["text.txt", "olmoe.trace", "misses.svg"].map((name) => join(dir, name)) as [
      string,
      string,
      string,
    ];
    writeFileSync(text, "In the beginning was the word, and the word was with him. ".repeat(20));
    const recorded = await json("trace", "record", model, "--text", text, "-o", trace, "--window-tokens", "64");
    expect(recorded).toMatchObject({ of: "chosen", nLayers: 2, dFf: 8, neuronsPerToken: EXPERTS_PER_TOKEN });
    const simulate = ["trace", "simulate", trace, "--slots", "4,6", "--plot", plot];
    const document = await json(...simulate, "--model", model);
    expect(document.unit).toBe("expert");
    for (const { perToken } of document.rows) expect(perToken.named).toBe(EXPERTS_PER_TOKEN);
    const { out } = await flashwick([...simulate, "--model", model, "--force"]);
    expect(out).toContain("2 layers of 8 experts, ");
    const svg = readFileSync(plot, "utf8");
    expect(svg).toContain("misses, % of the experts named");
    expect(svg).not.toContain("neurons");
    const alone = await flashwick([...simulate, "--force"]);
    expect(alone.out).toContain("2 layers of 8 neurons or experts, ");
  });
  it("is refused beside another model, which is told apart by its experts", async () => {
    const text = join(dir, "other.txt");
    writeFileSync(text, "In the beginning was the word, and the word was with him. ".repeat(20));
    const trace = join(dir, "other.trace");
    await json("trace", "record", model, "--text", text, "-o", trace, "--window-tokens", "64");
    const mixtral = join(model, "../mixtral.gguf");
    const { document } = await flashwickJson(["trace", "simulate", trace, "--model", mixtral]);
    expect(document.error.message).toContain("2 layers of 4 experts, expected the trace's 2 of 8");
  });
});
