import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { memorySource } from "@flashwick/core";
import { type ModelHeader, openModelFile, openPredictorFile } from "@flashwick/flash-format";
import { poolScratch } from "@flashwick/kernels-wasm";
import { beforeAll, describe, expect, it } from "vitest";
import { modelBytes } from "../checkpoint.fixture.js";
import type { PredictorShapes } from "../estimate.js";
import { profile } from "../profile.fixture.js";
import { planSettings, type SettingsWish } from "./planned-settings.js";

const sidecar = fileURLToPath(new URL("../../../demo-models/models/opt-demo/opt-demo.predictor.gguf", import.meta.url));
const MiB = 2 ** 20;
let header: ModelHeader;
let predictor: PredictorShapes;
beforeAll(async () => {
  header = (await openModelFile(memorySource(await modelBytes("opt-demo", "f16"), "opt-demo.gguf"))).header;
  predictor = await openPredictorFile(memorySource(new Uint8Array(readFileSync(sidecar)), "sidecar"));
});

const plan = (options: SettingsWish = {}, device: typeof profile | null = profile) =>
  planSettings(header, predictor, device, { dramBudgetBytes: 10 * MiB, ...options }, poolScratch);

describe("planSettings", () => {
  it("chooses what nobody has fixed", () => {
    expect(plan()!.settings).toMatchObject({ mode: "predicted", readers: 16 });
    const fixed = {
      readers: 1,
      threads: 1,
      mergeGapBytes: 512,
      windowTokens: 3,
      overlap: false,
      mode: "predicted",
    } as const;
    expect(plan({ ...fixed })!.settings).toEqual(fixed);
  });
  it("plans a dense run without a predictor", () => {
    const dense = planSettings(header, null, profile, {}, poolScratch);
    expect(dense!.settings.mode).toBe("dense");
  });
  it("a plan for two threads counted the scratch of one, and a layer too many was then streamed", () => {
    const activations = (threads: number) => plan({ threads })!.memory.dram.activations;
    expect(activations(2)).toBeGreaterThan(activations(1));
  });
  it.each<[string, SettingsWish]>([
    ["reads through the page cache", { io: "buffered" }],
    ["another threshold", { threshold: 0 }],
    ["the oracle", { mode: "oracle" }],
    ["a budget that is too small", { dramBudgetBytes: MiB }],
  ])("leaves alone what it knows nothing of: %s", (_, options) => expect(plan(options)).toBeNull());
  it("leaves alone a machine, or a predictor, that it knows nothing of", () => {
    expect(plan({}, null)).toBeNull();
    expect(planSettings(header, { ...predictor, sparsity: null }, profile, {}, poolScratch)).toBeNull();
  });
  it("predicted mode without a predictor was a fault inside the plan: now the model refuses it", () => {
    expect(planSettings(header, null, profile, { mode: "predicted" }, poolScratch)).toBeNull();
  });
  it("a file with resident gates is planned gate first where it streams, without statistics", async () => {
    const bytes = await modelBytes("llama-tiny-relu", "f16", "bundled", "q8_0");
    const gates = (await openModelFile(memorySource(bytes))).header;
    const slowFlash = { ...profile, flash: { ...profile.flash, sequentialBytesPerSec: 1e6 } };
    const settings = (mode?: "dense" | "gate-first") =>
      planSettings(gates, null, slowFlash, { dramBudgetBytes: 700_000, mode }, poolScratch)!.settings;
    expect(settings("gate-first").mode).toBe("gate-first");
    expect(settings("dense").mode).toBe("dense");
    expect(settings().mode).toBe("gate-first");
  });
});
