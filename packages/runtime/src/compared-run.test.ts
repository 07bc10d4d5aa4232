/** Comparing two runs of a text, and what they hold meanwhile. */
import { readFileSync } from "node:fs";
import { memorySource } from "@flashwick/core";
import { readPredictorFile } from "@flashwick/flash-format";
import { expect, it } from "vitest";
import { openFixture } from "./checkpoint.fixture.js";
import { evaluateText } from "./evaluate.js";
import { Model } from "./model.js";
import { watchArenas } from "./watched-arenas.fixture.js";

const demoModels = new URL("../../demo-models/", import.meta.url);
const text = readFileSync(new URL("texts/evaluation.txt", demoModels), "utf8");
const WINDOWS = { windowTokens: 64, maxWindows: 3 };

async function openPredicted() {
  const file = readFileSync(new URL("models/opt-demo/opt-demo.predictor.gguf", demoModels));
  const predictor = await readPredictorFile(memorySource(file, "opt-demo.predictor.gguf"));
  return await openFixture("opt-demo", { dtype: "f16", predictor });
}

it("dense in the same engine is the dense model, bit for bit, and makes no second engine", async () => {
  const model = await openPredicted();
  const dense = await openFixture("opt-demo", { dtype: "f16" });
  const watched = watchArenas(model.parts);
  const same = new Model(watched.parts, { mode: "predicted" });
  const result = await evaluateText(same, text, { ...WINDOWS, against: "dense" });
  expect(result).toEqual(await evaluateText(model, text, { ...WINDOWS, against: dense }));
  expect(result.against!.meanKl).toBeGreaterThan(0);
  expect(watched.made()).toBe(1);
  await model.close();
  await dense.close();
});

it("a comparison held two engines at once: taking turns, it holds one, and says the same", async () => {
  const first = await openPredicted();
  const second = await openFixture("opt-demo", { dtype: "int8" });
  const expected = await evaluateText(first, text, { ...WINDOWS, against: second });
  const watched = watchArenas(first.parts);
  const { kernels, releaseArena } = watched.parts;
  const model = new Model(watched.parts, { mode: "predicted" });
  const against = new Model({ ...second.parts, kernels, releaseArena: releaseArena! }, { mode: "dense" });
  const result = await evaluateText(model, text, { ...WINDOWS, against, windowsPerTurn: 2 });
  expect(result).toEqual(expected);
  // Two turns of each.
  expect(watched.made()).toBe(4);
  const largest = Math.max(model.plan(64).dram.total, against.plan(64).dram.total);
  expect(watched.peakBytes()).toBeLessThan(1.1 * largest);
  await first.close();
  await second.close();
});
