/** What runs where the flags leave it open. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { predictorChoice } from "./engine-flags.js";

const dir = mkdtempSync(join(tmpdir(), "flashwick-engine-flags-"));
const model = join(dir, "model.gguf");
writeFileSync(join(dir, "model.predictor.gguf"), "");
afterAll(() => rmSync(dir, { recursive: true }));

it("a lossless run of a file with resident gates and a predictor was planned gate first, and refused: nothing drafted", () => {
  expect(predictorChoice(model, { lossless: true }, "sidecar")).toEqual({ mode: "predicted", predictor: "auto" });
  expect(predictorChoice(model, {}, "sidecar")).toEqual({ predictor: "auto" });
  // The model says what a lossless run lacks.
  expect(predictorChoice(join(dir, "other.gguf"), { lossless: true }, "sidecar")).toEqual({ predictor: "auto" });
});
