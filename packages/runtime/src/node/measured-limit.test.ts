/** The limit's measurement on a real file, with real threads: that it is made, and that it disturbs nothing. No figure is held to a value. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { MiB, type RunLimit } from "@flashwick/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { modelBytes } from "../checkpoint.fixture.js";
import type { Model } from "../model.js";
import type { RunSummary } from "../text-request.js";
import { measureLimit } from "./measured-limit.js";
import { type OpenModelOptions, openModel } from "./open-model.js";

let dir: string;
let path: string;
beforeAll(async () => {
  // Beside this file, since a temporary folder may be memory, where nothing can be read directly.
  dir = mkdtempSync(join(fileURLToPath(new URL(".", import.meta.url)), "limit-"));
  path = join(dir, "opt-demo.gguf");
  writeFileSync(path, await modelBytes("opt-demo", "f16"));
});
afterAll(() => rmSync(dir, { recursive: true }));

const PREDICTOR = fileURLToPath(
  new URL("../../../demo-models/models/opt-demo/opt-demo.predictor.gguf", import.meta.url),
);
const OPTIONS = { predictor: PREDICTOR, dramBudgetBytes: 11 * MiB, kvPrecision: "f16" } as const;
const PROMPT = [2, 300, 45, 7, 499];
const BRIEFLY = { seconds: 0.02 };

async function generate(model: Model, maxTokens = 6): Promise<RunSummary> {
  const run = model.generate(PROMPT, { maxTokens, ignoreEos: true });
  for (;;) {
    const step = await run.next();
    if (step.done) return step.value;
  }
}

async function withModel<T>(options: OpenModelOptions, work: (model: Model) => Promise<T>): Promise<T> {
  const model = await openModel(path, { ...OPTIONS, ...options });
  try {
    return await work(model);
  } finally {
    await model.close();
  }
}

const finished = ({ stats, promptTokens }: RunSummary) => ({ stats, tokensBefore: promptTokens });

function expectSound({ dramBytes, dramMs, flashMs, togetherMs, times, leftMs }: RunLimit, { stats }: RunSummary): void {
  expect(dramBytes).toBeGreaterThan(1e5);
  for (const ms of [dramMs, flashMs]) expect(ms).toBeGreaterThan(0);
  expect(togetherMs).toBeGreaterThanOrEqual(Math.max(dramMs, flashMs));
  expect(togetherMs).toBeLessThanOrEqual((dramMs + flashMs) * (1 + 1e-9));
  expect(times).toBeCloseTo(stats.tokenMs.mean / togetherMs, 9);
  const left = Object.values(leftMs).reduce((sum, ms) => sum + ms, 0);
  expect(left).toBeCloseTo(stats.tokenMs.mean - togetherMs, 1);
}

describe("measureLimit", () => {
  it.each([
    ["threads that read and threads that compute", { readers: 4, threads: 2 }],
    ["threads that read beside one that computes", { readers: 4, threads: 1 }],
    ["one thread that does both", { readers: 0, threads: 1 }],
  ] as const)("measures with %s, and the model gives the same tokens afterwards", async (_, options) => {
    await withModel(options, async (model) => {
      const before = await generate(model, 3);
      const limit = await measureLimit(model, finished(before), BRIEFLY);
      expectSound(limit!, before);
      expect((await generate(model, 3)).tokens).toEqual(before.tokens);
    });
  });
  it("does reads and arithmetic in turns where one thread does both", async () => {
    await withModel({ readers: 0, threads: 1 }, async (model) => {
      const { dramMs, flashMs, togetherMs } = (await measureLimit(model, finished(await generate(model)), BRIEFLY))!;
      expect(togetherMs).toBeCloseTo(dramMs + flashMs, 9);
    });
  });
  it("knows DRAM alone where nothing is read", async () => {
    await withModel({ readers: 4, threads: 2, dramBudgetBytes: 64 * MiB }, async (model) => {
      await generate(model);
      const run = await generate(model);
      expect(run.stats.flashReads).toBe(0);
      const limit = await measureLimit(model, finished(run), BRIEFLY);
      expect(limit).toMatchObject({ flashMs: 0, flashBytesPerSec: 0, togetherMs: limit!.dramMs });
    });
  });
  it("is null where nothing was decoded, for the oracle, and before and after an engine is there", async () => {
    await withModel({ readers: 0, threads: 1 }, async (model) => {
      const none = await generate(model, 1);
      expect(await measureLimit(model, finished(none), BRIEFLY)).toBeNull();
      const run = await generate(model);
      await model.close();
      expect(await measureLimit(model, finished(run), BRIEFLY)).toBeNull();
    });
    await withModel({ readers: 0, threads: 1, mode: "oracle", predictor: null }, async (model) => {
      expect(await measureLimit(model, finished(await generate(model)), BRIEFLY)).toBeNull();
    });
  });
  it.each([
    { readers: 4, threads: 2 },
    { readers: 0, threads: 1 },
  ])("ends when it is told to, with the signal's own reason, and the model works on: %o", async (options) => {
    await withModel(options, async (model) => {
      const before = await generate(model);
      const interrupt = new AbortController();
      const reason = new Error("enough");
      setTimeout(() => interrupt.abort(reason), 20);
      const measuring = measureLimit(model, finished(before), { seconds: 30, signal: interrupt.signal });
      await expect(measuring).rejects.toBe(reason);
      expect((await generate(model)).tokens).toEqual(before.tokens);
    });
  });
});
