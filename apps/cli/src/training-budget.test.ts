/** `--dram-budget` of the commands that train and judge: the smallest is named, works, and changes nothing. */
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { flashwickJson } from "./tiny-checkpoint.fixture.js";
import { makeTrainingWorkplace } from "./tiny-predictor.fixture.js";

let dir: string;
let model: string;
let text: string;
beforeAll(async () => {
  ({ dir, model, text } = await makeTrainingWorkplace());
  await flashwickJson(["predictor", "export", join(dir, "tiny.predictor.gguf"), "-o", join(dir, "tiny.safetensors")]);
});
afterAll(() => rmSync(dir, { recursive: true }));

const COMMANDS: Readonly<Record<string, () => string[]>> = {
  train: () => ["train", model, "--text", text, "--rank", "8", "--epochs", "1", "--workers", "0"],
  "train in four bits": () => [
    ...["train", model, "--text", text, "--rank", "32", "--dtype", "q4_0", "--epochs", "1", "--workers", "0"],
  ],
  calibrate: () => ["calibrate", model, "--text", text, "--agreement", "20%", "--max-windows", "2"],
  "predictor import": () => ["predictor", "import", model, "--text", text, "--from", join(dir, "tiny.safetensors")],
};

async function run(name: string, output: string, ...flags: string[]) {
  return await flashwickJson([...COMMANDS[name]!(), "-o", output, "--force", ...flags]);
}

describe.each(Object.keys(COMMANDS))("%s", (name) => {
  it("names the smallest budget, works within it, and writes what it writes without one", async () => {
    const output = (which: string) => join(dir, `${name}-${which}.gguf`);
    const refused = await run(name, output("refused"), "--dram-budget", "1KiB");
    expect([refused.status, refused.document.error.code]).toEqual([1, "BUDGET_TOO_SMALL"]);
    const { smallestBudgetBytes } = refused.document.error.details;
    const within = await run(name, output("within"), "--dram-budget", `${smallestBudgetBytes}`);
    expect(within.document.error).toBeUndefined();
    expect((await run(name, output("free"))).status).toBe(0);
    expect(readFileSync(output("within")).equals(readFileSync(output("free")))).toBe(true);
    const less = await run(name, output("less"), "--dram-budget", `${smallestBudgetBytes - 1}`);
    expect(less.document.error.details).toMatchObject({ smallestBudgetBytes });
  });
});

it("train refuses a rank that is no whole number of blocks before it records anything", async () => {
  const refused = await run("train in four bits", join(dir, "odd.gguf"), "--rank", "24");
  expect([refused.status, refused.document.error.code]).toEqual([1, "INPUT_INVALID"]);
  expect(refused.document.error.message).toContain("predictors of rank 24 in q4_0");
});

describe("eval --against", () => {
  const evaluate = async (...flags: string[]) => {
    const windows = ["--window-tokens", "32", "--max-windows", "3"];
    return (await flashwickJson(["eval", model, "--text", text, ...windows, ...flags])).document;
  };
  it.each([
    ["dense", ["--against", "dense"]],
    ["dense beside keys and values that are less than f32", ["--against", "dense", "--kv-precision", "int8"]],
  ])("%s: the smallest budget is named, and the quality is the same within it", async (_, flags) => {
    const refused = await evaluate(...flags, "--dram-budget", "1KiB");
    expect(refused.error.code).toBe("BUDGET_TOO_SMALL");
    let budget = refused.error.details.smallestBudgetBytes;
    let within = await evaluate(...flags, "--dram-budget", `${budget}`);
    // The first answer is of the run alone.
    for (; within.error; within = await evaluate(...flags, "--dram-budget", `${budget}`)) {
      expect(within.error.details.smallestBudgetBytes).toBeGreaterThan(budget);
      budget = within.error.details.smallestBudgetBytes;
    }
    const free = await evaluate(...flags);
    expect(within.against).toEqual(free.against);
    expect(within.perplexity).toBe(free.perplexity);
  });
  it("another file, in turns: the same as with room for both", async () => {
    const flags = ["--against", model, "--kv-precision", "f32"];
    const free = await evaluate(...flags);
    const { error } = await evaluate(...flags, "--dram-budget", "1KiB");
    const budget = Math.floor(1.5 * error.details.smallestBudgetBytes);
    const within = await evaluate(...flags, "--dram-budget", `${budget}`);
    expect(within.against).toEqual(free.against);
    expect(within.against.meanKl).toBeGreaterThan(0);
  });
});
