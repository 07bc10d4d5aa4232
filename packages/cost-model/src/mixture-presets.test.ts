import { isFlashwickError } from "@flashwick/core";
import { describe, expect, it } from "vitest";
import { devicePreset } from "./device-presets.js";
import { checkLocality, hitShare } from "./expert-locality.js";
import { planMemory } from "./memory-plan.js";
import { MIXTURE_PRESETS, mixturePreset } from "./mixture-presets.js";
import { chosenBytes, expertFlashBytes } from "./mixture-shape.js";
import { denseBytes, ffnFlashBytes } from "./model-shape.js";
import { planRun } from "./plan-run.js";

/** Weights as their makers count them, in all and of the experts that a token chooses. */
const PARAMETERS: Readonly<Record<string, readonly [all: number, chosen: number]>> = {
  "olmoe-1b-7b": [6.92e9, 805e6],
  "qwen1.5-moe-a2.7b": [14.3e9, 830e6],
  "qwen3-30b-a3b": [30.5e9, 1.81e9],
  "mixtral-8x7b": [46.7e9, 11.3e9],
  "gpt-oss-20b": [20.9e9, 2.39e9],
};

function planOf(model: string, budgetShare: number, warmUpTokens = 0) {
  const { shape, locality, memoryRequest } = mixturePreset(model, "q4");
  const budgetBytes = budgetShare * (denseBytes(shape) + shape.rowTableBytes);
  const wish = { budgetBytes, contextTokens: 384, kvPrecision: "f16" } as const;
  return planRun({
    shape,
    profile: devicePreset("nvme-pcie4"),
    sparsity: null,
    locality,
    length: { promptTokens: 128, decodeTokens: 256, warmUpTokens },
    memory: () => planMemory(memoryRequest(wish)),
  });
}

describe("mixture presets", () => {
  it.each(MIXTURE_PRESETS)("%s has the weights of its name, and of its chosen experts, within 1 %", (name) => {
    const { shape, locality, published } = mixturePreset(name, "f16");
    const [all, chosen] = PARAMETERS[name]!;
    expect((denseBytes(shape) + shape.rowTableBytes) / 2 / all).toBeCloseTo(1, 2);
    expect(chosenBytes(shape.mixture!) / 2 / chosen).toBeCloseTo(1, 1.5);
    checkLocality(locality, shape.mixture!);
    expect(published.source).toContain("locality");
  });
  it("are stored as published where nothing else is said: gpt-oss-20b in 12.8 GiB", () => {
    const { shape } = mixturePreset("gpt-oss-20b");
    expect((denseBytes(shape) + shape.rowTableBytes) / 2 ** 30).toBeCloseTo(12.82, 1);
    expect(shape.dtype).toBe("mxfp4");
    expect(mixturePreset("olmoe-1b-7b").shape.dtype).toBe("bf16");
    expect(mixturePreset("gpt-oss-20b", "q4").shape.headDtype).toBe("q8_0");
  });
  it("have one read an expert, aligned: 3.4 MiB of OLMoE's in four bits", () => {
    const { experts } = mixturePreset("olmoe-1b-7b", "q4").shape.mixture!.layers[0]!;
    expect(experts!.pieceBytes).toHaveLength(1);
    expect(expertFlashBytes(experts!) % 4096).toBe(0);
    expect(expertFlashBytes(experts!) / 2 ** 20).toBeCloseTo((3 * 2048 * 1024 * 18) / 32 / 2 ** 20, 2);
    expect(ffnFlashBytes(mixturePreset("olmoe-1b-7b", "q4").shape)).toBe(16 * 64 * expertFlashBytes(experts!));
  });
  it.each(MIXTURE_PRESETS)(
    "%s is planned without a file: more memory reads less, and all of it what no token has used",
    (name) => {
      const runs = [0.35, 0.5, 0.75, 1.05].map((share) => planOf(name, share));
      const bytes = runs.map(({ cost }) => cost.token.flashBytes);
      const speeds = runs.map(({ cost }) => cost.tokensPerSec);
      expect(bytes).toEqual([...bytes].sort((a, b) => b - a));
      expect(speeds).toEqual([...speeds].sort((a, b) => a - b));
      expect(bytes[3]).toBeLessThan(0.1 * bytes[0]!);
      expect(planOf(name, 1.05, 20_000).cost.token.flashBytes).toBeLessThan(1e-3 * bytes[0]!);
      const { memory, cost } = planOf(name, 0.5, 2000);
      const { mixture } = mixturePreset(name, "q4").shape;
      const { locality } = mixturePreset(name, "q4");
      const misses = mixture!.layers.map(
        ({ experts }, l) => experts!.chosen * (1 - hitShare(locality, l, memory.slotsByLayer[l]!)),
      );
      expect(cost.token.neuronsLoaded).toBeCloseTo(
        misses.reduce((sum, n) => sum + n, 0),
        6,
      );
    },
  );
  it("say what there is when asked for another", () => {
    try {
      mixturePreset("deepseek-v3");
      expect.unreachable();
    } catch (error) {
      expect(isFlashwickError(error) && error.message).toContain("olmoe-1b-7b, qwen1.5-moe-a2.7b");
    }
  });
});
