/** `run --report`: the page carries the run as it was; what it looks like is tested in a browser (tools/browser). */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { RunReport } from "@flashwick/drawings/run-page";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { flashwick, flashwickJson, TINY } from "./tiny-checkpoint.fixture.js";
import { makeTrainingWorkplace } from "./tiny-predictor.fixture.js";

const gguf = (name: string) =>
  fileURLToPath(new URL(`../../../packages/runtime/fixtures/gguf/${name}.gguf`, import.meta.url));

let dir: string;
let model: string;
beforeAll(async () => {
  ({ dir, model } = await makeTrainingWorkplace());
});
afterAll(() => rmSync(dir, { recursive: true }));

let pages = 0;
/** Runs with a page, and reads the run that it carries. */
async function report(path: string, ...argv: string[]) {
  const page = join(dir, `run-${pages++}.html`);
  const outcome = await flashwickJson(["run", path, "--max-tokens", "6", "--report", page, ...argv]);
  const json = /<script type="application\/json" id="run">(.*?)<\/script>/s.exec(readFileSync(page, "utf8"))![1]!;
  return { ...outcome, run: JSON.parse(json) as RunReport };
}

function unitsOf({ map, steps }: RunReport, step: number): number[] {
  const packed = atob(steps[step]!.states!);
  const states = Array.from(
    { length: map!.nLayers * map!.dFf },
    (_, i) => (packed.charCodeAt(i >> 2) >> (2 * (i & 3))) & 3,
  );
  return [0, 1, 2, 3].map((state) => states.filter((own) => own === state).length);
}

describe("the page of a run", () => {
  it("has a step for each decoded token, with its bytes and its neurons", async () => {
    const { document, run } = await report(model, "--prompt", "Call me", "--dram-budget", "80%");
    expect(run).toMatchObject({ title: "tiny.gguf", prompt: "Call me", text: document.text, stepsBefore: 0 });
    expect(run.steps.map(({ accepted }) => accepted)).toEqual([0, 0, 0, 0, 0]);
    expect(run.steps.reduce((sum, { flashBytes }) => sum + flashBytes, 0)).toBe(document.stats.flashBytes);
    expect(run.map).toEqual({ unit: "neuron", nLayers: TINY.nLayers, dFf: TINY.dFf, unitsByLayer: [256, 256, 256] });
    for (const [i, { hits, misses }] of run.steps.entries()) {
      const [, , awake, fetched] = unitsOf(run, i);
      expect([awake, fetched]).toEqual([hits, misses]);
    }
    expect(run.steps[0]!.spans.length).toBeGreaterThan(TINY.nLayers);
  });
  it("has what was predicted beside what was measured", async () => {
    const { document, run } = await report(model, "--tokens", "2,17", "--dense");
    const [predicted, measured] = run.comparison!;
    expect(predicted.tokenMs).toBeCloseTo(document.stats.predicted.tokenMs, 3);
    expect(measured.tokenMs).toBeCloseTo(document.stats.tokenMs.mean, 3);
    expect(run.comparisonText).toContain(document.stats.predicted.device);
  });
  it("says of a dense run that every neuron was used, and has no map of layers of matrices", async () => {
    const dense = await report(model, "--tokens", "2,17", "--dense");
    expect(dense.run.steps.every(({ isNamed, states }) => !isNamed && states === null)).toBe(true);
    expect((await report(gguf("qwen2"), "--tokens", "5,9")).run.map).toBeNull();
  });
  it("maps a mixture's experts", async () => {
    const { run } = await report(gguf("olmoe"), "--tokens", "5,9,40");
    expect(run.map).toMatchObject({ unit: "expert", nLayers: 2, unitsByLayer: [8, 8] });
    const [, , awake, fetched] = unitsOf(run, 0);
    expect(awake! + fetched!).toBe(2 * 3);
  });
  it("shows drafts with the steps that verified them", async () => {
    const { document, run } = await report(model, "--prompt", "Call me", "--lossless");
    const { steps, drafted } = document.stats.speculation;
    expect(run.steps).toHaveLength(steps);
    expect(run.steps.reduce((sum, { drafts }) => sum + drafts.length, 0)).toBe(drafted);
    expect(run.steps[0]!.passes.at(-1)).toMatchObject({ kind: "verify" });
    expect(run.comparison).toBeNull();
  });
  it("is refused before the run where a file of its name is there, unless that is to go", async () => {
    const page = join(dir, "taken.html");
    writeFileSync(page, "mine");
    const argv = ["run", model, "--tokens", "2", "--max-tokens", "2", "--report", page];
    const { status, document } = await flashwickJson(argv);
    expect([status, document.error.code, readFileSync(page, "utf8")]).toEqual([1, "IO_EXISTS", "mine"]);
    const forced = await flashwick([...argv, "--force"]);
    expect(forced.status).toBe(0);
    expect(forced.err).toContain(page);
    expect(readFileSync(page, "utf8")).toContain("<!doctype html>");
  });
  it("is not written where it was not asked for", async () => {
    await flashwick(["run", model, "--tokens", "2", "--max-tokens", "2"]);
    expect(existsSync("undefined")).toBe(false);
  });
});
