/** Files by columns, and pruning plans, through the program: convert, inspect, verify, run, score, eval, calibrate. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { flashwickJson, makeWorkplace } from "./tiny-checkpoint.fixture.js";

const SENTENCE = "Call me Ishmael. Some years ago, never mind how long precisely, I thought I would sail. ";
const TOKENS = ["--tokens", "2,9,77", "--max-tokens", "12"];
const BUDGET = ["--dram-budget", "60%", "--kv-precision", "int8"];

describe("a model by columns", () => {
  const { dir, checkpoint } = makeWorkplace("llama-tiny");
  const [plain, columns, text, planFile] = ["plain.gguf", "columns.gguf", "text.txt", "plan.json"].map((name) =>
    join(dir, name),
  ) as [string, string, string, string];
  beforeAll(async () => {
    writeFileSync(text, SENTENCE.repeat(40));
    for (const [file, more] of [
      [plain, []],
      [columns, ["--layout", "columns"]],
    ] as const) {
      expect((await flashwickJson(["convert", checkpoint, "-o", file, "--dtype", "f16", ...more])).status).toBe(0);
    }
  });
  afterAll(() => rmSync(dir, { recursive: true }));

  it("is converted by --layout columns, has the fingerprint of the weights, and is verified and inspected", async () => {
    const [of, columnsOf] = [await flashwickJson(["inspect", plain]), await flashwickJson(["inspect", columns])];
    expect(columnsOf.document.fingerprint).toBe(of.document.fingerprint);
    expect(columnsOf.document.parameters).toBe(of.document.parameters);
    expect(columnsOf.document.columns).toHaveLength(3);
    expect((await flashwickJson(["verify", columns])).document).toMatchObject({
      ok: true,
      recordsChecked: 3 * (64 + 192),
    });
    const again = join(dir, "again.gguf");
    const { document } = await flashwickJson(["convert", plain, "-o", again, "--layout", "columns"]);
    expect(document).toMatchObject({ layout: "columns", strideBytes: 512, inputStrideBytes: 1024 });
    expect(Buffer.compare(readFileSync(again), readFileSync(columns))).toBe(0);
  });

  it("runs pruned within a budget as without one, reads less than dense, and lossless gives the dense text", async () => {
    const run = async (...flags: string[]) => {
      const { status, document } = await flashwickJson(["run", columns, ...TOKENS, ...flags]);
      expect(status).toBe(0);
      return document;
    };
    const dense = await run("--dense", ...BUDGET);
    const pruned = await run("--pruning", "dip:0.6", ...BUDGET);
    expect(pruned.stats.mode).toBe("pruned");
    expect(pruned.tokens).toEqual((await run("--pruning", "dip:0.6", "--kv-precision", "int8")).tokens);
    expect(pruned.stats.flashBytesPerToken).toBeLessThan(dense.stats.flashBytesPerToken);
    const preferring = await run("--pruning", "dip:0.6", "--pruning-gamma", "0.2", ...BUDGET);
    expect(preferring.stats.flashBytesPerToken).toBeLessThan(pruned.stats.flashBytesPerToken);
    expect((await run("--pruning", "dip:0.6", "--lossless", ...BUDGET)).tokens).toEqual(dense.tokens);
  });

  it("is scored and evaluated pruned, with the bytes that were read", async () => {
    const score = await flashwickJson(["score", columns, "--tokens", "2,9,77", "--pruning", "dip:0.6", ...BUDGET]);
    expect(score.document.positions).toHaveLength(3);
    const flags = ["--text", text, "--max-windows", "1", "--window-tokens", "64", "--against", "dense", ...BUDGET];
    const { status, document } = await flashwickJson(["eval", columns, ...flags, "--pruning", "dip:0.6"]);
    expect(status).toBe(0);
    expect(document.against.meanKl).toBeGreaterThan(0);
    expect(document.namedShareByLayer[0]).toBeGreaterThan(0.4);
    expect(document.namedShareByLayer[0]).toBeLessThan(0.65);
    expect(document.missedMass).toBeGreaterThan(0);
    expect(document.flashBytesPerToken).toBeGreaterThan(0);
    // Beside keys and values in f32, which the dense run has.
    const exact = ["--pruning", "dip:1", "--kv-precision", "f32"];
    const all = await flashwickJson(["eval", columns, ...flags.slice(0, -2), ...exact]);
    expect(all.document.against.maxKl).toBe(0);
    expect(all.document.missedMass).toBe(0);
  });

  it("has a plan calibrated to a KL, which run takes, for the file without columns, too", async () => {
    const calibrated = await flashwickJson([
      "calibrate",
      columns,
      "--text",
      text,
      "--pruning",
      "dip",
      "--kl",
      "0.05",
      "-o",
      planFile,
    ]);
    expect(calibrated.status).toBe(0);
    const plan = JSON.parse(readFileSync(planFile, "utf8"));
    expect(plan).toEqual(calibrated.document.plan);
    const { document } = await flashwickJson(["run", columns, ...TOKENS, "--pruning", planFile, ...BUDGET]);
    expect(document.stats.mode).toBe("pruned");
    expect((await flashwickJson(["run", plain, ...TOKENS, "--pruning", planFile])).document.stats.mode).toBe("pruned");
    writeFileSync(planFile, JSON.stringify({ ...plan, layers: [] }));
    const refused = await flashwickJson(["run", columns, ...TOKENS, "--pruning", planFile]);
    expect(refused.document.error).toMatchObject({ code: "INPUT_INVALID", details: { field: "layers" } });
  });

  it.each([
    [["run", "--pruning", "dip:2"], 2],
    [["run", "--pruning-gamma", "0.5"], 2],
    [["run", "--pruning", "dip:0.5", "--dense"], 2],
    [["run", "--pruning", "missing.json"], 1],
    [["run", "--oracle"], 1],
  ])("%s is refused", async ([command, ...flags], status) => {
    expect((await flashwickJson([command!, columns, ...TOKENS, ...flags])).status).toBe(status);
  });
});
