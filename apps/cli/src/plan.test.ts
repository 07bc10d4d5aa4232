/** `flashwick plan` through the program: what it answers without weights, and how it refuses. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { GiB } from "@flashwick/core";
import { devicePreset } from "@flashwick/cost-model";
import { demoModels } from "@flashwick/demo-models";
import { encodeTrace } from "@flashwick/dram-cache/simulate";
import { readPredictorFile, writePredictorFile } from "@flashwick/flash-format";
import { fileSink, fileSource } from "@flashwick/flash-format/node";
import { keepProfile, RESERVE_BYTES } from "@flashwick/runtime/node/estimate";
import { afterAll, describe, expect, it, vi } from "vitest";
import { main } from "./main.js";
import { NO_INPUT } from "./terminal-input.fixture.js";

const dir = mkdtempSync(join(tmpdir(), "plan-"));
afterAll(() => rmSync(dir, { recursive: true }));
const fixtures = fileURLToPath(new URL("../../../packages/runtime/fixtures", import.meta.url));
const config = join(demoModels["opt-demo"].checkpointDir, "config.json");

async function plan(...argv: string[]) {
  let out = "";
  let err = "";
  const status = await main(["plan", ...argv], {
    out: { isTty: false, columns: 80, write: (text) => void (out += text) },
    err: { isTty: false, columns: 80, write: (text) => void (err += text) },
    env: {},
    signal: new AbortController().signal,
    clock: () => 0,
    peakRssBytes: () => 0,
    ...NO_INPUT,
  });
  return { status, out, err };
}
const json = async (...argv: string[]) => {
  const { status, out } = await plan(...argv, "--json");
  return { status, document: JSON.parse(out) };
};

describe("flashwick plan", () => {
  it("answers for a published model on a published device, with every field of the contract", async () => {
    const { status, document } = await json("opt-6.7b", "--preset", "paper-m1-max", "--dram-budget", "50%");
    expect(status).toBe(0);
    expect(document).toMatchObject({
      fits: true,
      device: "paper-m1-max",
      choice: { mode: "predicted", policy: "window" },
    });
    const { perToken, memory, limits, prefill, alternatives } = document;
    expect(document.tokensPerSec).toBeCloseTo(1000 / perToken.totalMs, 9);
    expect(document.bound).toBe("compute");
    // The overlap of both: whichever takes longer.
    expect(limits.overlappedMs).toBe(Math.max(limits.dramMs, limits.flashMs));
    expect(limits.bound).toBe("flash");
    expect(perToken.totalMs).toBeGreaterThan(limits.overlappedMs);
    expect(prefill).toMatchObject({ promptTokens: 128, totalMs: Math.max(prefill.readMs, prefill.computeMs) });
    expect(alternatives.map(({ change }: { change: object }) => change)).toContainEqual({ mode: "dense" });
    const parts = ["exposedReadMs", "predictMs", "cacheMs", "checkMs", "attentionMs", "ffnMs", "headMs"];
    expect(perToken.totalMs).toBeCloseTo(
      parts.reduce((sum, key) => sum + perToken[key], 0),
      6,
    );
    const { total, budget, ...shares } = memory as Record<string, number>;
    expect(total).toBe(Object.values(shares).reduce((sum, bytes) => sum + bytes, 0));
    expect(total).toBeLessThanOrEqual(budget!);
    expect(budget).toBe(Math.floor(document.fileBytes / 2));
    expect(document.smallestBudgetBytes).toBeGreaterThan(memory.resident);
    expect(document.smallestBudgetBytes).toBeLessThan(total!);
  });
  it("answers for published mixtures of experts, and for a file of one, from its header", async () => {
    const olmoe = join(fixtures, "gguf/olmoe.gguf");
    for (const [model, more] of [
      ["olmoe-1b-7b", ["--dtype", "q4"]],
      ["qwen1.5-moe-a2.7b", ["--dtype", "q4"]],
      ["qwen3-30b-a3b", ["--dtype", "q4"]],
      ["mixtral-8x7b", ["--dtype", "q4"]],
      ["gpt-oss-20b", []],
      [olmoe, ["--prompt-tokens", "16", "--decode-tokens", "16", "--dram-budget", "90%"]],
    ] as const) {
      const { status, document } = await json(model, "--preset", "nvme-pcie4", "--dram-budget", "75%", ...more);
      expect([model, status, document.units]).toEqual([model, 0, "experts"]);
      expect(document.perToken.neuronsLoaded).toBeLessThan(document.perToken.neuronsNamed);
      expect(document.tokensPerSec).toBeGreaterThan(0);
      expect(document.sparsitySource).toContain("published trace");
      expect(document.memory.total).toBeLessThanOrEqual(document.memory.budget);
    }
  });
  it.each(["mixtral", "olmoe", "qwen2-moe", "qwen3-moe", "gpt-oss"])(
    "answers for %s from its config.json, shared experts and dense layers among its layers",
    async (name) => {
      const length = ["--prompt-tokens", "16", "--decode-tokens", "16"];
      const folder = join(fixtures, `${name}-tiny`);
      const { status, document } = await json(folder, "--preset", "nvme-pcie4", "--dram-budget", "90%", ...length);
      expect([status, document.units]).toEqual([0, "experts"]);
      expect(document.perToken.neuronsNamed).toBeGreaterThan(document.perToken.neuronsLoaded);
    },
  );
  it("names the budget that holds what one token chooses, where less is given", async () => {
    const mixture = ["qwen3-30b-a3b", "--dtype", "q4", "--preset", "nvme-pcie4"];
    const { document } = await json(...mixture, "--dram-budget", "2GiB");
    expect(Math.min(...document.choice.slotsByLayer)).toBeLessThan(8);
    const { out } = await plan(...mixture, "--dram-budget", "2GiB");
    expect(out).toContain("a DRAM budget of 2.00 GiB holds fewer experts of each layer than one token chooses");
    expect(out).toContain("384.0 experts named");
    const enough = await json(...mixture, "--dram-budget", String(document.cycleBudgetBytes));
    expect(Math.min(...enough.document.choice.slotsByLayer)).toBeGreaterThanOrEqual(8);
    expect((await plan(...mixture, "--dram-budget", String(document.cycleBudgetBytes))).out).not.toContain("note:");
  });
  it("takes the locality of a mixture from a file, and refuses another model's", async () => {
    const path = join(dir, "locality.json");
    const never = Array.from({ length: 65 }, (_, slots) => (slots === 64 ? 1 : 0));
    writeFileSync(path, JSON.stringify({ source: "a trace of mine", hitShareByLayer: new Array(16).fill(never) }));
    const olmoe = ["olmoe-1b-7b", "--dtype", "q4", "--preset", "nvme-pcie4", "--dram-budget", "50%"];
    const { document } = await json(...olmoe, "--sparsity", path);
    expect(document.sparsitySource).toBe("a trace of mine");
    expect(document.perToken.neuronsLoaded).toBeCloseTo(document.perToken.neuronsNamed, 9);
    // Every token chooses the same: after the first nothing is read.
    const trace = join(dir, "olmoe.trace");
    const same = Array.from({ length: 16 }, () => Uint32Array.from([0, 1, 2, 3, 4, 5, 6, 7]));
    writeFileSync(trace, encodeTrace({ nLayers: 16, dFf: 64, tokens: new Array(100).fill(same) }));
    const measured = await json(...olmoe, "--sparsity", trace);
    expect(measured.document.sparsitySource).toBe(`a trace of 100 tokens, ${trace}, lfu`);
    expect(measured.document.perToken.neuronsLoaded).toBeCloseTo(0.01 * 128, 6);
    const other = await plan("qwen3-30b-a3b", "--preset", "nvme-pcie4", "--sparsity", trace);
    expect([other.status, other.err]).toEqual([1, expect.stringContaining("a trace of 16 layers, expected 48")]);
    const { status, err } = await plan("mixtral-8x7b", "--preset", "nvme-pcie4", "--sparsity", path);
    expect([status, err]).toEqual([1, expect.stringContaining("field hitShareByLayer is 16, expected 32 layers")]);
  });
  it("answers from a config.json alone, and says what it assumed", async () => {
    const { status, document } = await json(config, "--preset", "nvme-pcie4", "--dtype", "int8");
    expect([status, document.choice.dtype]).toEqual([0, "int8"]);
    expect(document.sparsitySource).toContain("assumed");
  });
  it("refuses an int8 model that is wider than its kernels, of a config.json alone", async () => {
    const wide = join(dir, "config.json");
    const text = JSON.parse(readFileSync(config, "utf8"));
    writeFileSync(wide, JSON.stringify({ ...text, hidden_size: 16640, word_embed_proj_dim: 16640 }));
    const refused = await json(wide, "--preset", "nvme-pcie4", "--dtype", "int8");
    expect([refused.status, refused.document.error.code]).toEqual([1, "UNSUPPORTED_FEATURE"]);
    expect(refused.document.error.message).toMatch(/token_embd\.weight: expected at most 16512 columns .* found 16640/);
    expect((await json(wide, "--preset", "nvme-pcie4", "--dtype", "f16")).status).toBe(0);
  });
  it("tells a person what binds", async () => {
    const { out } = await plan("opt-6.7b", "--preset", "sata-ssd", "--dram-budget", "6GiB");
    expect(out).toContain("bound by flash");
    expect(out).toContain("instead");
  });
  it("says that a budget does not fit, and which would; that one fits, one KiB less does not", async () => {
    const { status, document } = await json("opt-6.7b", "--preset", "paper-m1-max", "--dram-budget", "1GiB");
    expect([status, document.fits, document.choice]).toEqual([1, false, null]);
    const smallest = document.smallestBudgetBytes;
    const at = (bytes: number) => json("opt-6.7b", "--preset", "paper-m1-max", "--dram-budget", `${bytes}`);
    expect((await at(smallest)).document.fits).toBe(true);
    expect((await at(smallest - 1024)).document.fits).toBe(false);
  });
  it("draws speed over budget, with the same figures in the document", async () => {
    const file = join(dir, "plan.svg");
    const { document } = await json("opt-1.3b", "--preset", "nvme-pcie4", "--dram-budget", "50%", "--plot", file);
    expect(document.plot.budgets.length).toBeGreaterThan(20);
    const speeds = document.plot.budgets.map(({ tokensPerSec }: { tokensPerSec: number }) => tokensPerSec);
    expect(Math.max(...speeds)).toBeGreaterThan(speeds[0]);
    expect(readFileSync(file, "utf8")).toMatch(/^<svg[\s\S]*tokens per second[\s\S]*<\/svg>\s*$/);
  });
  it("estimates energy only from the user's figures", async () => {
    const without = await json("opt-1.3b", "--preset", "nvme-pcie4");
    const given = await json("opt-1.3b", "--preset", "nvme-pcie4", "--energy", "watts=10");
    expect(without.document.energyJoulesPerToken).toBeNull();
    const seconds = given.document.perToken.totalMs / 1000;
    expect(given.document.energyJoulesPerToken).toBeCloseTo(10 * seconds, 9);
  });

  describe("--lossless", () => {
    const paper = ["opt-6.7b", "--preset", "nvme-pcie4", "--dram-budget", "50%"];
    it("gives the drafts, their acceptance and the speed, between the dense run and the sparse one", async () => {
      const { document } = await json(...paper, "--lossless", "--acceptance", "90%");
      const { lossless } = document;
      for (const key of ["draftTokens", "tokensPerStep", "tokensPerSec", "draftMs", "verifyMs"]) {
        expect(lossless[key]).toBeGreaterThan(0);
      }
      expect(lossless).toMatchObject({ acceptance: 0.9, acceptanceSource: "as given" });
      expect(lossless.tokensPerSec).toBeGreaterThan(lossless.denseTokensPerSec);
      expect(lossless.tokensPerSec).toBeLessThan(lossless.sparseTokensPerSec);
      expect(lossless.draftShare + lossless.verifyShare).toBeCloseTo(1, 12);
      const step = lossless.draftTokens * lossless.draftMs + lossless.verifyMs;
      expect(lossless.tokensPerSec).toBeCloseTo((1000 * lossless.tokensPerStep) / step, 6);
    });
    it("says what acceptance it assumed, and shows a person the three runs", async () => {
      const { document } = await json(...paper, "--lossless");
      expect(document.lossless).toMatchObject({
        acceptance: 0.9,
        acceptanceSource: expect.stringContaining("assumed"),
      });
      const { out } = await plan(...paper, "--lossless");
      expect(out).toMatch(
        /dense +[\d.]+ +1\.00x[\s\S]*lossless +[\d.]+ +[\d.]+x +[\d.]+ % +[\d.]+ %[\s\S]*sparse +[\d.]+/,
      );
      expect(out).toMatch(/lossless: \d+ drafts? of .* ms and a dense pass of .* ms give .* tokens/);
    });
    it("is null where it is not asked for, and where there is no predictor", async () => {
      expect((await json(...paper)).document.lossless).toBeNull();
      expect((await json(...paper, "--lossless", "--dense")).document.lossless).toBeNull();
      expect((await plan(...paper, "--lossless", "--dense")).out).toContain("nothing can draft");
    });
    it("takes the agreement that calibration has written into the predictor's file", async () => {
      const file = join(dir, "calibrated.gguf");
      const source = await fileSource(demoModels["opt-demo"].predictorPath);
      const predictor = await readPredictorFile(source);
      await source.close();
      const training = { ...predictor.training, calibration: { measured: { top1Agreement: 0.97 } } };
      await writePredictorFile(await fileSink(file), { ...predictor, training });
      const { document } = await json(config, "--preset", "nvme-pcie4", "--predictor", file, "--lossless");
      expect(document.lossless).toMatchObject({
        acceptance: 0.97,
        acceptanceSource: expect.stringContaining("measured"),
      });
    });
    it.each([["1.5"], ["-1"], ["often"]])("is wrong usage with an acceptance of %s", async (acceptance) => {
      expect((await plan(...paper, "--lossless", "--acceptance", acceptance)).status).toBe(2);
    });
    it("is wrong usage to give an acceptance without it", async () => {
      expect((await plan(...paper, "--acceptance", "0.9")).status).toBe(2);
    });
  });

  const bad = (name: string, value: unknown) => {
    const file = join(dir, name);
    writeFileSync(file, typeof value === "string" ? value : JSON.stringify(value));
    return file;
  };
  const opt = JSON.parse(readFileSync(config, "utf8"));
  it.each<[string, () => string[], string, string]>([
    ["a profile that is none", () => ["opt-1.3b", "--device", bad("a.json", {})], "INPUT_INVALID", "schemaVersion"],
    ["a profile that is no JSON", () => ["opt-1.3b", "--device", bad("b.json", "{")], "INPUT_INVALID", "JSON"],
    ["an unknown device", () => ["opt-1.3b", "--preset", "floppy"], "INPUT_INVALID", "sata-ssd"],
    ["an unknown model", () => ["opt-9b", "--preset", "sata-ssd"], "INPUT_INVALID", "opt-6.7b"],
    [
      "an unknown architecture",
      () => [bad("c.json", { model_type: "mamba", architectures: ["MambaForCausalLM"] }), "--preset", "sata-ssd"],
      "UNSUPPORTED_ARCHITECTURE",
      "mamba",
    ],
    [
      "a missing field",
      () => [bad("d.json", { ...opt, hidden_size: undefined }), "--preset", "sata-ssd"],
      "CHECKPOINT_CONFIG",
      "hidden_size",
    ],
    [
      "statistics that make no sense",
      () => [
        "opt-1.3b",
        "--preset",
        "sata-ssd",
        "--sparsity",
        bad("e.json", { source: "x", unionTokens: [1], layers: [] }),
      ],
      "INPUT_INVALID",
      "layers",
    ],
  ])("refuses %s, naming it", async (_, argv, code, named) => {
    const { status, document } = await json(...argv());
    expect([status, document.error.code]).toEqual([1, code]);
    expect(document.error.message).toContain(named);
  });
  it("is wrong usage with two devices", async () => {
    expect((await plan("opt-1.3b", "--preset", "sata-ssd", "--device", "x.json")).status).toBe(2);
  });
});

describe("without a budget", () => {
  it("is planned within what this machine has free; of another device that is not known, and there is no ceiling", async () => {
    vi.stubEnv("FLASHWICK_CACHE_DIR", dir);
    const available = vi.spyOn(process, "availableMemory").mockReturnValue(8 * GiB);
    try {
      expect(keepProfile(".", devicePreset("nvme-pcie4"), new Date())).not.toBeNull();
      const here = await json("opt-6.7b");
      expect(here.document.memory.budget).toBe(8 * GiB - RESERVE_BYTES);
      const elsewhere = await json("opt-6.7b", "--preset", "nvme-pcie4");
      expect(elsewhere.document.memory.budget).toBeGreaterThan(12 * GiB);
    } finally {
      available.mockRestore();
      vi.unstubAllEnvs();
    }
  });
});
