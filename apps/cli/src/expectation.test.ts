/** Predicted beside measured, without anybody having measured a profile: the first run measures a brief one, later ones find it. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { devicePreset } from "@flashwick/cost-model";
import { keepProfile } from "@flashwick/runtime/node";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from "vitest";
import { flashwick, flashwickJson } from "./tiny-checkpoint.fixture.js";
import { makeTrainingWorkplace } from "./tiny-predictor.fixture.js";

let dir: string;
let model: string;
let cache: string;
beforeAll(async () => {
  ({ dir, model } = await makeTrainingWorkplace());
});
afterAll(() => rmSync(dir, { recursive: true }));
beforeEach(() => {
  cache = mkdtempSync(join(dir, "cache-"));
  vi.stubEnv("FLASHWICK_CACHE_DIR", cache);
});
afterEach(() => vi.unstubAllEnvs());

const run = (...argv: string[]) =>
  flashwickJson(["run", model, "--tokens", "2,17", "--max-tokens", "4", "--dense", ...argv]);

it("a first run measures a profile on the side and predicts by it; the next one finds it", async () => {
  const first = await run();
  expect(first.err).toBe("");
  const { predicted, tokenMs } = first.document.stats;
  expect(predicted).toMatchObject({ tokenMs: expect.any(Number), flashBytesPerToken: expect.any(Number) });
  expect(predicted.device).toMatch(/measured within a second$/);
  expect(tokenMs.mean).toBeGreaterThan(0);
  expect(readdirSync(cache).filter((name) => name.startsWith("brief-profile-"))).toHaveLength(1);
  // The same figures exactly: nothing was measured again.
  expect((await run()).document.stats.predicted).toEqual(predicted);
});

it("a profile that somebody measured is used before a brief one, and none is measured", async () => {
  keepProfile(model, devicePreset("sata-ssd"), new Date());
  expect((await run()).document.stats.predicted.device).toBe(devicePreset("sata-ssd").name);
  expect(readdirSync(cache).filter((name) => name.startsWith("brief-profile-"))).toEqual([]);
});

it("the table shows both, and how far they are from each other", async () => {
  const { err } = await flashwick(["run", model, "--tokens", "2,17", "--max-tokens", "4", "--dense"]);
  expect(err).toMatch(/^predicted +[\d.]+ ms a token \(.*\), .* of flash \(.*\); by .*measured within a second$/m);
});

it.each([
  ["a run that decodes nothing", ["--max-tokens", "1"]],
  ["the reference backend", ["--backend", "reference"]],
])("nothing is measured for %s", async (_, flags) => {
  expect((await run(...flags)).document.stats.predicted).toBeNull();
  expect(readdirSync(cache)).toEqual([]);
});
