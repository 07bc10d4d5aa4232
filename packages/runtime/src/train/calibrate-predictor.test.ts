/** What a calibration holds, and that its result does not depend on how much it may. */
import { readFileSync } from "node:fs";
import { memorySource, type Predictor } from "@flashwick/core";
import { readPredictorFile } from "@flashwick/flash-format";
import { createWasmKernels } from "@flashwick/kernels-wasm";
import { beforeAll, expect, it } from "vitest";
import { openFixture } from "../checkpoint.fixture.js";
import { Model } from "../model.js";
import { watchArenas } from "../watched-arenas.fixture.js";
import { calibratePredictor } from "./calibrate-predictor.js";

const demoModels = new URL("../../../demo-models/", import.meta.url);
const text = readFileSync(new URL("texts/calibration.txt", demoModels), "utf8");
const ARENA_PAGES_BYTES = 3 * 65536;

let predictor: Predictor;
beforeAll(async () => {
  const file = readFileSync(new URL("models/opt-demo/opt-demo.predictor.gguf", demoModels));
  predictor = await readPredictorFile(memorySource(file, "opt-demo.predictor.gguf"));
});

/** @param perplexityRise −1 is out of reach: nothing meets it: a single step. */
async function calibrate(perplexityRise: number, dramBudgetBytes?: number) {
  const opened = await openFixture("opt-demo", { dtype: "f16" });
  const watched = watchArenas(opened.parts);
  const model = new Model(watched.parts, { mode: "dense" });
  try {
    const result = await calibratePredictor(model, {
      predictors: [predictor],
      text,
      target: { perplexityRise },
      maxWindows: 1,
      kernels: createWasmKernels,
      dramBudgetBytes,
    });
    return { result, held: watched.held(), made: watched.made(), peakBytes: watched.peakBytes() };
  } finally {
    await opened.close();
  }
}

it("calibrating made two engines for every step and released none: it makes one, and releases it", async () => {
  const { result, held, made } = await calibrate(0.01);
  expect(result.steps.length).toBeGreaterThan(3);
  expect({ held, made }).toEqual({ held: 0, made: 1 });
});

it("within the smallest budget the calibration is the same, bit for bit", async () => {
  const refusal = await calibrate(-1, 1).catch((error: unknown) => error);
  expect(refusal).toMatchObject({ code: "BUDGET_TOO_SMALL" });
  const { smallestBudgetBytes } = (refusal as { details: { smallestBudgetBytes: number } }).details;
  const { result, peakBytes } = await calibrate(-1, smallestBudgetBytes);
  expect(peakBytes).toBeLessThan(smallestBudgetBytes + ARENA_PAGES_BYTES);
  expect(result).toEqual((await calibrate(-1)).result);
  await expect(calibrate(-1, smallestBudgetBytes - 1)).rejects.toMatchObject({ details: { smallestBudgetBytes } });
});
