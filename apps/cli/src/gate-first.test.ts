/** Resident gates through the program: convert, run, eval, plan. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { flashwickJson, makeWorkplace } from "./tiny-checkpoint.fixture.js";

const SENTENCE = "Call me Ishmael. Some years ago, never mind how long precisely, I thought I would sail. ";
const TOKENS = ["--tokens", "2,9,77", "--max-tokens", "12"];

describe("a model with resident gates", () => {
  const { dir, checkpoint } = makeWorkplace("bamboo-tiny");
  const [plain, gates, text] = [join(dir, "plain.gguf"), join(dir, "gates.gguf"), join(dir, "text.txt")];
  beforeAll(async () => {
    writeFileSync(text, SENTENCE.repeat(30));
    expect((await flashwickJson(["convert", checkpoint, "-o", plain, "--dtype", "f16"])).status).toBe(0);
  });
  afterAll(() => rmSync(dir, { recursive: true }));

  it("is converted by --gate-first, in q8_0 unless a type is given, and says what its gates lost", async () => {
    const { status, document } = await flashwickJson([
      "convert",
      checkpoint,
      "-o",
      gates,
      "--dtype",
      "f16",
      "--gate-first",
    ]);
    expect(status).toBe(0);
    expect(document).toMatchObject({ gateDtype: "q8_0", dtype: "f16" });
    expect(Object.keys(document.loss)).toEqual(["gate"]);
    const other = join(dir, "other.gguf");
    const four = await flashwickJson(["convert", checkpoint, "-o", other, "--dtype", "f16", "--gate-first", "q4_0"]);
    expect(four.document.gateDtype).toBe("q4_0");
    expect(four.document.loss.gate).toBeGreaterThan(document.loss.gate);
    const before = await flashwickJson(["inspect", plain]);
    expect(document.fingerprint).toBe(before.document.fingerprint);
    expect((await flashwickJson(["inspect", gates])).document.parameters).toBe(before.document.parameters);
    expect((await flashwickJson(["verify", gates])).document.ok).toBe(true);
  });

  it("runs gate first by default, with the dense run's tokens, and reads less than it", async () => {
    const budget = ["--dram-budget", "70%"];
    const dense = await flashwickJson(["run", gates, "--dense", ...TOKENS, ...budget]);
    for (const mode of [[], ["--gate-first"], ["--oracle"]]) {
      const { status, document } = await flashwickJson(["run", gates, ...mode, ...TOKENS, ...budget]);
      expect(status).toBe(0);
      expect(document.tokens).toEqual(dense.document.tokens);
      expect(document.stats.mode).toBe(mode[0] === "--oracle" ? "oracle" : "gate-first");
    }
    const gateFirst = await flashwickJson(["run", gates, ...TOKENS, ...budget]);
    expect(gateFirst.document.stats.neuronsNamedPerToken).toBeLessThan(dense.document.stats.neuronsNamedPerToken);
  });

  it("is refused by --gate-first where records have the gates", async () => {
    const { status, document } = await flashwickJson(["run", plain, "--gate-first", ...TOKENS]);
    expect([status, document.error.code]).toEqual([1, "UNSUPPORTED_FEATURE"]);
  });

  it("is evaluated by --mode gate-first without a difference from dense; names at least what is active", async () => {
    const windows = ["--text", text, "--window-tokens", "64", "--max-windows", "2", "--against", "dense"];
    const { status, document } = await flashwickJson(["eval", gates, "--mode", "gate-first", ...windows]);
    expect(status).toBe(0);
    expect(document).toMatchObject({
      mode: "gate-first",
      recall: 1,
      missedMass: 0,
      against: { top1Agreement: 1, meanKl: 0 },
    });
    for (const [layer, named] of document.namedShareByLayer.entries()) {
      expect(named).toBeGreaterThan(document.activeShareByLayer[layer]);
      expect(named).toBeLessThan(1);
    }
    const statistics = join(dir, "gates.json");
    writeFileSync(statistics, JSON.stringify(document));
    const plan = ["plan", gates, "--preset", "nvme-pcie4", "--dram-budget", "80%", "--gate-sparsity", statistics];
    const planned = await flashwickJson([...plan, "--prompt-tokens", "8", "--decode-tokens", "8"]);
    expect(planned.document.gateSparsitySource).toContain("tokens of text");
  });

  it("plan prices every mode that file and predictor offer, fastest first, with what binds it", async () => {
    const length = ["--prompt-tokens", "8", "--decode-tokens", "8", "--preset", "nvme-pcie4", "--dram-budget", "85%"];
    const without = await flashwickJson(["plan", gates, ...length]);
    expect(without.document.modes.map(({ mode }: { mode: string }) => mode).sort()).toEqual(["dense", "gate-first"]);
    const predictor = join(dir, "p.gguf");
    const train = ["train", gates, "--text", text, "-o", predictor, "--rank", "8", "--epochs", "1", "--tokens", "1500"];
    expect((await flashwickJson([...train, "--workers", "0"])).status).toBe(0);
    const { document } = await flashwickJson([
      "plan",
      gates,
      "--predictor",
      predictor,
      "--lookup-acceptance",
      "0.5",
      ...length,
    ]);
    const modes: { mode: string; msPerToken: number | null; bound: string | null }[] = document.modes;
    expect(new Set(modes.map(({ mode }) => mode))).toEqual(
      new Set(["dense", "predicted", "gate-first", "lossless", "lookup"]),
    );
    const times = modes.flatMap(({ msPerToken }) => msPerToken ?? []);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(modes.filter(({ msPerToken }) => msPerToken !== null).every(({ bound }) => bound !== null)).toBe(true);
    const engine = modes.filter(({ mode }) => mode !== "lookup" && mode !== "lossless");
    expect(document.choice.mode).toBe(engine[0]!.mode);
  });

  it("a config.json can be planned for as a file with resident gates", async () => {
    const how = ["--preset", "paper-m1-max", "--dense", "--prompt-tokens", "8", "--decode-tokens", "8"];
    const { document } = await flashwickJson(["plan", checkpoint, "--gate-first", "q4_0", ...how]);
    expect(document.modes.map(({ mode }: { mode: string }) => mode).sort()).toEqual(["dense", "gate-first"]);
    expect(document.gateSparsitySource).toContain("assumed");
  });
});
