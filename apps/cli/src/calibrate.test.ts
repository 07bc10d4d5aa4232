/** `flashwick calibrate` and `flashwick eval --tasks` through the program. */
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readPredictorFile, writePredictorFile } from "@flashwick/flash-format";
import { fileSink, fileSource } from "@flashwick/flash-format/node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { percent } from "./table.js";
import { flashwick, flashwickJson, TINY } from "./tiny-checkpoint.fixture.js";
import { makeTrainingWorkplace, writeTinyPredictor } from "./tiny-predictor.fixture.js";

let dir: string;
let model: string;
let text: string;
beforeAll(async () => {
  ({ dir, model, text } = await makeTrainingWorkplace());
  await writeTinyPredictor(join(dir, "foreign.gguf"), "0".repeat(64));
});
afterAll(() => rmSync(dir, { recursive: true }));

const SHORT = ["--max-windows", "2"];
const calibrate = (output: string, ...flags: string[]) =>
  flashwickJson(["calibrate", model, "--text", text, "-o", output, ...SHORT, ...flags]);

/** What `eval` says of the text that was calibrated on. */
async function evaluate(predictor: string) {
  const windows = ["--window-tokens", `${TINY.contextLength}`, ...SHORT];
  const argv = ["eval", model, "--predictor", predictor, "--text", text, "--against", "dense", ...windows];
  return (await flashwickJson(argv)).document;
}

/** Of the perplexity, as `eval` measures it with a predictor that names every neuron of the other layers. */
async function riseWithOnlyLayerSparse(predictor: string, layer: number): Promise<number> {
  const source = await fileSource(predictor);
  const whole = await readPredictorFile(source).finally(() => source.close());
  const layers = whole.layers.map((of) => (of.layer === layer ? of : { ...of, threshold: Number.NEGATIVE_INFINITY }));
  const path = join(dir, `only-${layer}.gguf`);
  await writePredictorFile(await fileSink(path), { ...whole, layers });
  const { perplexity, against } = await evaluate(path);
  return perplexity / against.perplexity - 1;
}

interface Layer {
  readonly trueActiveShare: number;
  readonly namedShare: number;
  readonly riseAlone: number | null;
}

interface Step {
  readonly namedPerActive: number;
  readonly perplexityRise: number;
  readonly top1Agreement: number;
  readonly met: boolean;
}

describe("calibrate", () => {
  it("meets its target with the fewest neurons that do, in a file that keeps what was reported", async () => {
    const output = join(dir, "calibrated.gguf");
    const { status, document } = await calibrate(output, "--perplexity", "50%", "--agreement", "40%");
    expect(document.error).toBeUndefined();
    expect(status).toBe(0);
    const written = (await flashwickJson(["inspect", output])).document.training.calibration.measured;
    expect(written).toMatchObject({ top1Agreement: document.top1Agreement, perplexityRise: document.perplexityRise });
    expect(document.layers.map(({ riseAlone }: Layer) => riseAlone)).toEqual(Array(TINY.nLayers).fill(null));

    // The target binds: some choice named too few neurons for it, and the one taken names the fewest of those that did not.
    const steps: readonly Step[] = document.steps;
    for (const { met, perplexityRise, top1Agreement } of steps) {
      expect(met).toBe(perplexityRise <= 0.5 && top1Agreement >= 0.4);
    }
    const enough = steps.filter(({ met }) => met);
    expect(enough.length).toBeLessThan(steps.length);
    const fewest = enough.reduce((a, b) => (b.namedPerActive < a.namedPerActive ? b : a));
    expect(document).toMatchObject(fewest);
    const sum = (of: (layer: Layer) => number) => document.layers.reduce((total: number, l: Layer) => total + of(l), 0);
    const namedPerActive = sum(({ namedShare }) => namedShare) / sum(({ trueActiveShare }) => trueActiveShare);
    expect(namedPerActive).toBeLessThanOrEqual(document.namedPerActive);
    expect(namedPerActive).toBeGreaterThan(0.9 * document.namedPerActive);

    const { mode, perplexity, against } = await evaluate(output);
    expect(mode).toBe("predicted");
    expect(document.top1Agreement).toBe(against.top1Agreement);
    expect(document.perplexityRise).toBeCloseTo(perplexity / against.perplexity - 1, 9);
  });
  it("reports which layers hurt: none where all neurons are named, and each by itself elsewhere", async () => {
    const rises = async (name: string, target: string) => {
      const { document } = await calibrate(join(dir, name), "--agreement", target, "--layer-report");
      return document.layers.map(({ riseAlone }: Layer) => riseAlone);
    };
    expect(await rises("exact.gguf", "100%")).toEqual([0, 0, 0]);
    const hurt: readonly number[] = await rises("reported.gguf", "20%");
    expect(hurt).toHaveLength(TINY.nLayers);
    expect(hurt).not.toContain(0);
    const again = join(dir, "reported.gguf");
    expect(hurt[0]).toBeCloseTo(await riseWithOnlyLayerSparse(again, 0), 9);
    expect(hurt[2]).toBeCloseTo(await riseWithOnlyLayerSparse(again, 2), 9);
    const { out } = await flashwick([
      ...["calibrate", model, "--text", text, "-o", again, "--force", ...SHORT, "--agreement", "20%", "--layer-report"],
    ]);
    const column = out.split("alone\n")[1]!.trimEnd().split("\n");
    const signed = (rise: number) => `${rise < 0 ? "−" : "+"}${percent(Math.abs(rise))}`;
    expect(column.map((line) => line.trim().split(/ {2,}/).at(-1))).toEqual(hurt.map(signed));
  });
  it("refuses another model's predictor, no room for any, and a file that is there; and writes nothing", async () => {
    const output = join(dir, "refused.gguf");
    const foreign = await calibrate(output, "--predictor", join(dir, "foreign.gguf"));
    expect([foreign.status, foreign.document.error.code]).toEqual([1, "INTEGRITY_FINGERPRINT"]);
    const none = await calibrate(output, "--share-bytes", "0.0001");
    expect(none.status).toBe(1);
    expect(none.document.error.code).toBe("INPUT_INVALID");
    expect(existsSync(output)).toBe(false);
    const taken = await calibrate(text);
    expect([taken.status, taken.document.error.code]).toEqual([1, "IO_EXISTS"]);
  });
  it("refuses a text shorter than a window", async () => {
    const short = join(dir, "short.txt");
    writeFileSync(short, "Too short.");
    const { status, document } = await flashwickJson(["calibrate", model, "--text", short, "-o", join(dir, "no.gguf")]);
    expect([status, document.error.code]).toEqual([1, "INPUT_INVALID"]);
    expect(document.error.message).toContain("at least one window");
  });
});

/** Places with the same number in both. */
function shareAlike(a: readonly number[], b: readonly number[]): number {
  return a.filter((one, i) => one === b[i]).length / a.length;
}

describe("eval --tasks", () => {
  const tasks = () => join(dir, "tasks.jsonl");
  const line = (label: number) =>
    JSON.stringify({ context: "It was the best", endings: [" of times", " of cheese", " zzz"], label });

  it("scores, and compares with the dense run", async () => {
    const contexts = ["It was the best", "It was the age", "times, it was", "of wisdom."];
    const endings = [" of times", " of cheese", " zzz"];
    const lines = contexts.map((context) => JSON.stringify({ context, endings, label: 1 }));
    // The same again but for the label: one choice for both, which is right for one of them at most.
    writeFileSync(tasks(), `${line(0)}\n\n${line(1)}\n${lines.join("\n")}\n`);
    const { status, document } = await flashwickJson(["eval", model, "--tasks", tasks(), "--against", "dense"]);
    expect(status).toBe(0);
    expect(document).toMatchObject({ mode: "predicted", tasks: 6, chance: 1 / 3 });
    const labels = [0, 1, 1, 1, 1, 1];
    const { choices } = document as { choices: readonly number[] };
    expect(choices[0]).toBe(choices[1]);
    expect(document.accuracyNorm).toBe(shareAlike(choices, labels));
    const dense = (await flashwickJson(["eval", model, "--tasks", tasks(), "--dense"])).document;
    expect(document.against).toEqual({
      accuracy: dense.accuracy,
      accuracyNorm: shareAlike(dense.choices, labels),
      sameChoice: shareAlike(dense.choices, choices),
    });
    // Neither always alike nor never: a constant would be seen.
    expect([0, 1]).not.toContain(document.against.sameChoice);
  });
  it("names the lines that are wrong", async () => {
    writeFileSync(tasks(), `${line(0)}\nnot json\n${line(7)}\n`);
    const { status, document } = await flashwickJson(["eval", model, "--tasks", tasks()]);
    expect([status, document.error.code]).toEqual([1, "INPUT_INVALID"]);
    expect(document.error.message).toMatch(/line 2: .*line 3: /);
  });
  it("wants tasks or a text, not both", async () => {
    writeFileSync(tasks(), line(0));
    expect((await flashwickJson(["eval", model, "--tasks", tasks(), "--text", text])).status).toBe(2);
  });
});
