/** `flashwick calibrate` and `flashwick eval --tasks` through the program. */
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { flashwick, flashwickJson, makeWorkplace, TINY } from "./tiny-checkpoint.fixture.js";
import { writeTinyPredictor } from "./tiny-predictor.fixture.js";

let dir: string;
let model: string;
let text: string;
beforeAll(async () => {
  const workplace = makeWorkplace();
  dir = workplace.dir;
  model = join(dir, "tiny.gguf");
  text = join(dir, "text.txt");
  writeFileSync(text, "It was the best of times, it was the worst of times, it was the age of wisdom. ".repeat(30));
  const { document } = await flashwickJson(["convert", workplace.checkpoint, "-o", model]);
  await writeTinyPredictor(join(dir, "tiny.predictor.gguf"), document.fingerprint);
  await writeTinyPredictor(join(dir, "foreign.gguf"), "0".repeat(64));
});
afterAll(() => rmSync(dir, { recursive: true }));

const SHORT = ["--max-windows", "2"];
const calibrate = (output: string, ...flags: string[]) =>
  flashwickJson(["calibrate", model, "--text", text, "-o", output, ...SHORT, ...flags]);

describe("calibrate", () => {
  it("meets its target with fewer neurons than all, in a file that runs", async () => {
    const output = join(dir, "calibrated.gguf");
    const { status, document } = await calibrate(output, "--perplexity", "50%", "--agreement", "5%");
    expect(document.error).toBeUndefined();
    expect(status).toBe(0);
    expect(document.met).toBe(true);
    expect(document.perplexityRise).toBeLessThanOrEqual(0.5);
    expect(document.top1Agreement).toBeGreaterThanOrEqual(0.05);
    expect(document.layers).toHaveLength(TINY.nLayers);
    for (const { riseAlone, namedShare } of document.layers) {
      expect(riseAlone).toBeNull();
      expect(namedShare).toBeLessThanOrEqual(1);
    }
    const shares = document.layers.map(({ namedShare }: { namedShare: number }) => namedShare);
    expect(Math.min(...shares)).toBeLessThan(1);
    const run = await flashwickJson(["run", model, "--predictor", output, "--tokens", "2,17", "--max-tokens", "3"]);
    expect(run.document.stats.mode).toBe("predicted");
  });
  it("reports which layers hurt", async () => {
    const output = join(dir, "reported.gguf");
    const { document } = await calibrate(output, "--perplexity", "20%", "--layer-report");
    for (const { riseAlone } of document.layers) expect(Number.isFinite(riseAlone)).toBe(true);
    const { out } = await flashwick([
      ...[
        "calibrate",
        model,
        "--text",
        text,
        "-o",
        output,
        "--force",
        ...SHORT,
        "--perplexity",
        "20%",
        "--layer-report",
      ],
    ]);
    expect(out).toContain("alone");
  });
  it("refuses another model's predictor, no room for any, and a file that is there; and writes nothing", async () => {
    const output = join(dir, "refused.gguf");
    const foreign = await calibrate(output, "--predictor", join(dir, "foreign.gguf"));
    expect([foreign.status, foreign.document.error.code]).toEqual([1, "INTEGRITY_FINGERPRINT"]);
    const none = await calibrate(output, "--share", "0.0001");
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

describe("eval --tasks", () => {
  const tasks = () => join(dir, "tasks.jsonl");
  const line = (label: number) =>
    JSON.stringify({ context: "It was the best", endings: [" of times", " of cheese", " zzz"], label });

  it("scores, and compares with the dense run", async () => {
    writeFileSync(tasks(), `${line(0)}\n\n${line(1)}\n`);
    const { status, document } = await flashwickJson(["eval", model, "--tasks", tasks(), "--against", "dense"]);
    expect(status).toBe(0);
    expect(document).toMatchObject({ mode: "predicted", tasks: 2, chance: 1 / 3 });
    expect(document.choices).toHaveLength(2);
    // Alike but for the label: one choice for both, which is right for one of them at most.
    expect(document.choices[0]).toBe(document.choices[1]);
    expect(document.accuracyNorm).toBe(document.choices[0] === 2 ? 0 : 0.5);
    expect(document.against.sameChoice).toBeGreaterThanOrEqual(0);
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
