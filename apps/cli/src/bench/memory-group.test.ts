/** The budget holds: the built command line, in a memory control group of its budget and the overhead that the README states. */
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { capability } from "@flashwick/test-capabilities";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { memoryGroupsMissing, runInMemoryGroup } from "./memory-group.js";

const program = fileURLToPath(new URL("../../dist/flashwick.js", import.meta.url));
const MiB = 2 ** 20;
/** What Node, the program and its threads take beside the budget: packages/runtime/README.md, "Memory". */
const OVERHEAD_BYTES = 128 * MiB;
const THREAD_BYTES = 12 * MiB;
const TEXT = fileURLToPath(new URL("../../../../packages/demo-models/texts/calibration.txt", import.meta.url));

const build = capability("build", existsSync(program) ? null : "the command line is not built; run build");
const group = capability("memory-group", memoryGroupsMissing());

describe.skipIf(build.isMissing || group.isMissing)(group.title(build.title("in a memory control group")), () => {
  let dir: string;
  let model: string;
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "flashwick-group-"));
    model = join(dir, "opt-demo.gguf");
    const args = [program, "demo", "--dir", dir, "--max-tokens", "1", "--quiet"];
    const made = await runInMemoryGroup({ limitBytes: 1024 * MiB, command: process.execPath, args });
    expect(made).toMatchObject({ status: 0, killed: 0 });
  });
  afterAll(() => rmSync(dir, { recursive: true }));

  it("200 tokens within half the file, four readers and two compute threads: not killed, not swapped", async () => {
    const budgetBytes = Math.floor(statSync(model).size / 2);
    const limitBytes = budgetBytes + OVERHEAD_BYTES + 5 * THREAD_BYTES;
    const flags = ["--dram-budget", `${budgetBytes}`, "--readers", "4", "--threads", "2"];
    const args = [program, "run", model, "--prompt", "In the beginning", "--max-tokens", "200", "--json", ...flags];
    const run = await runInMemoryGroup({ limitBytes, command: process.execPath, args, sampleMs: 20 });
    expect(run).toMatchObject({ status: 0, killed: 0 });
    expect(JSON.parse(run.stdout).stats.dramBytes.total).toBeLessThanOrEqual(budgetBytes);
    expect(run.samples.length).toBeGreaterThan(0);
    expect(Math.max(...run.samples.map(({ swapBytes }) => swapBytes))).toBe(0);
  });

  /** Runs a command within a budget and what stands beside it, and sees that nothing is killed or swapped. */
  async function runWithin(budgetBytes: number, besideBytes: number, args: readonly string[]) {
    const limitBytes = budgetBytes + OVERHEAD_BYTES + besideBytes;
    const flags = ["--dram-budget", `${budgetBytes}`, "--json"];
    const run = await runInMemoryGroup({
      ...{ limitBytes, command: process.execPath, args: [program, ...args, ...flags], sampleMs: 20 },
    });
    expect(run, run.stderr).toMatchObject({ status: 0, killed: 0 });
    expect(run.samples.length).toBeGreaterThan(0);
    expect(Math.max(...run.samples.map(({ swapBytes }) => swapBytes))).toBe(0);
    return JSON.parse(run.stdout);
  }

  it("two layers trained within the size of the file, by two workers: not killed, not swapped", async () => {
    const output = join(dir, "trained.gguf");
    const of = ["train", model, "--text", TEXT, "-o", output, "--layers", "0-1", "--rank", "8", "--epochs", "1"];
    const args = [...of, "--tokens", "4096", "--workers", "2"];
    const { layers } = await runWithin(statSync(model).size, 2 * THREAD_BYTES, args);
    expect(layers).toHaveLength(2);
  });

  it("a calibration of many steps within a file and a third: not killed, not swapped", async () => {
    const output = join(dir, "calibrated.gguf");
    const target = ["--perplexity", "1%", "--max-windows", "2"];
    const { steps } = await runWithin(Math.floor((4 / 3) * statSync(model).size), 0, [
      ...["calibrate", model, "--text", TEXT, "-o", output, ...target],
    ]);
    expect(steps.length).toBeGreaterThan(3);
  });

  it("kills what does take more, so that the test above can fail", async () => {
    const hog = "const kept = []; for (;;) kept.push(Buffer.alloc(2 ** 20, 1));";
    const run = await runInMemoryGroup({ limitBytes: 128 * MiB, command: process.execPath, args: ["-e", hog] });
    expect(run.killed).toBeGreaterThan(0);
    expect(run.status).not.toBe(0);
  });
});
