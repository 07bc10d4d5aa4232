/** Mixtures of experts through the program. */
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
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
    expect(small.err).toMatch(/^note: the cache within .* holds fewer experts than one token uses/m);
    const large = await run("--dram-budget", `${neededBudgetBytes}`);
    expect(large.document.cacheFit).toMatchObject({ fits: true, neededBudgetBytes });
    expect(large.err).not.toContain("holds fewer experts");
    expect(large.document.tokens).toEqual(small.document.tokens);
  });

  it("is said by plan, too", async () => {
    const argv = ["plan", model, "--preset", "nvme-pcie4", "--context", "64"];
    const { document } = await flashwickJson([...argv, "--dram-budget", "1KiB"]);
    const { out } = await flashwick([...argv, "--dram-budget", `${document.smallestBudgetBytes}`]);
    expect(out).toMatch(/^note: this budget holds less than what one token uses.*\(\d+ bytes\) on it does$/m);
  });
});
