/** Every command of the sparse path on every family that leaves zeros by another rule than OPT: gates, a threshold, two ReLUs, a square, a block of its own. */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { flashwickJson, makeWorkplace } from "./tiny-checkpoint.fixture.js";

const FAMILIES = [
  ["llama-tiny-relu", "relu", 256],
  ["prosparse-tiny", "fatrelu", 256],
  ["bamboo-tiny", "relu", 192],
  ["phi-tiny-relu", "relu", 256],
  ["persimmon-tiny", "relu2", 256],
] as const;
const SENTENCE = "Call me Ishmael. Some years ago, never mind how long precisely, I thought I would sail. ";

describe.each(FAMILIES)("%s", (name, activation, dFf) => {
  let dir: string;
  let model: string;
  let predictor: string;
  let text: string;
  let byteShare: number;
  beforeAll(async () => {
    const workplace = makeWorkplace(name);
    dir = workplace.dir;
    [model, predictor, text] = [join(dir, "m.gguf"), join(dir, "m.predictor.gguf"), join(dir, "text.txt")];
    writeFileSync(text, SENTENCE.repeat(30));
    const converted = await flashwickJson(["convert", workplace.checkpoint, "-o", model, "--dtype", "f16"]);
    expect(converted).toMatchObject({ status: 0, document: { activation, dFf, layout: "bundled" } });
    const trained = await flashwickJson([
      ...["train", model, "--text", text, "-o", predictor, "--rank", "8", "--epochs", "1", "--tokens", "1500"],
      ...["--workers", "0"],
    ]);
    expect(trained.status).toBe(0);
    expect(trained.document.layers).toHaveLength(3);
    ({ byteShare } = trained.document);
  });
  afterAll(() => rmSync(dir, { recursive: true }));

  it("inspect counts a gate as a third part of a record", async () => {
    const { status, document } = await flashwickJson(["inspect", model]);
    expect(status).toBe(0);
    const { gated } = document.geometry.layers[0].ffn;
    expect(gated).toBe(!/phi|persimmon/.test(name));
    const { dModel } = document.geometry;
    expect(document.ffnBytes).toBeGreaterThanOrEqual(3 * dFf * (gated ? 3 : 2) * 2 * dModel);
  });

  it("a gated model's predictors were weighed against two thirds of its FFN", async () => {
    const { document } = await flashwickJson(["inspect", model]);
    // int8, a scale of four bytes for each row.
    const bytes = 3 * (8 * (document.geometry.dModel + dFf) + 4 * (8 + dFf));
    expect(byteShare).toBeCloseTo(bytes / (2 * document.parameters), 9);
  });

  it("runs predicted, and lossless with the dense run's tokens", async () => {
    const tokens = ["--tokens", "2,9,77", "--max-tokens", "12"];
    const predicted = await flashwickJson(["run", model, "--predictor", predictor, ...tokens]);
    expect(predicted).toMatchObject({ status: 0, document: { stats: { mode: "predicted" } } });
    const dense = await flashwickJson(["run", model, "--dense", ...tokens]);
    const lossless = await flashwickJson(["run", model, "--predictor", predictor, "--lossless", ...tokens]);
    expect(lossless.document.tokens).toEqual(dense.document.tokens);
    const lookup = await flashwickJson(["run", model, "--dense", "--speculate", "lookup", ...tokens]);
    expect(lookup.document.tokens).toEqual(dense.document.tokens);
  });

  it("evaluates the predictor against dense, and the oracle without a difference", async () => {
    const windows = ["--text", text, "--window-tokens", "64", "--max-windows", "2", "--against", "dense"];
    const predicted = await flashwickJson(["eval", model, "--predictor", predictor, ...windows]);
    expect(predicted.status).toBe(0);
    expect(predicted.document.recall).toBeGreaterThan(0);
    expect(predicted.document.namedOverActive).toBeGreaterThan(1);
    const oracle = await flashwickJson(["eval", model, "--oracle", ...windows]);
    expect(oracle.document).toMatchObject({ recall: 1, missedMass: 0, against: { top1Agreement: 1, meanKl: 0 } });
    // What the first layer sees depends on no neuron.
    expect(oracle.document.activeShareByLayer[0]).toBe(predicted.document.activeShareByLayer[0]);
  });

  it("calibrates, records a trace, and simulates a cache for it", async () => {
    const calibrated = join(dir, "calibrated.gguf");
    const target = ["--perplexity", "100%", "--text", text, "--max-windows", "1"];
    const result = await flashwickJson(["calibrate", model, "--predictor", predictor, ...target, "-o", calibrated]);
    expect(result.status).toBe(0);
    const trace = join(dir, "t.trace");
    const recorded = await flashwickJson(["trace", "record", model, "--text", text, "--tokens", "256", "-o", trace]);
    expect(recorded.status).toBe(0);
    const simulated = await flashwickJson(["trace", "simulate", trace]);
    expect(simulated.status).toBe(0);
  });

  it("plans with the bytes of all parts, whatever budget it is given", async () => {
    const device = ["--preset", "paper-m1-max", "--prompt-tokens", "8", "--decode-tokens", "8"];
    const { status, document } = await flashwickJson([
      "plan",
      model,
      "--predictor",
      predictor,
      ...device,
      "--dram-budget",
      "90%",
    ]);
    expect(status).toBe(0);
    expect(document).toMatchObject({ fits: true, units: "neurons" });
  });
});

it("imports predictors of PowerInfer's folder for a Llama, and those that TurboSparse's checkpoint brings along", async () => {
  const { dir, checkpoint } = makeWorkplace("bamboo-tiny");
  try {
    const [model, text] = [join(dir, "m.gguf"), join(dir, "text.txt")];
    writeFileSync(text, SENTENCE.repeat(12));
    expect((await flashwickJson(["convert", checkpoint, "-o", model])).status).toBe(0);
    const index = JSON.parse(readFileSync(join(checkpoint, "model.safetensors.index.json"), "utf8"));
    const files = [...new Set<string>(Object.values(index.weight_map))].map((file) => join(checkpoint, file));
    const output = join(dir, "merged.gguf");
    const merged = await flashwickJson([
      "predictor",
      "import",
      model,
      "--text",
      text,
      "-o",
      output,
      "--from",
      ...files,
    ]);
    expect(merged.status).toBe(0);
    expect(merged.document.layers.map(({ rank }: { rank: number }) => rank)).toEqual([8, 8, 8]);
    const out = join(dir, "out.safetensors");
    expect((await flashwickJson(["predictor", "export", output, "-o", out])).status).toBe(0);
    const again = join(dir, "again.gguf");
    const back = await flashwickJson(["predictor", "import", model, "--text", text, "-o", again, "--from", out]);
    expect(back.document.layers).toEqual(merged.document.layers);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
