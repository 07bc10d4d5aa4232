/** `trace moments` and `convert --calibration`: a file of moments, what it makes of four bits and of pruning, and what is refused. */
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { flashwick, flashwickJson, makeWorkplace, TINY } from "./tiny-checkpoint.fixture.js";
import { writeTinyPredictor } from "./tiny-predictor.fixture.js";

let dir: string;
let checkpoint: string;
let whole: string;
let text: string;
let moments: string;
let fingerprint: string;
const at = (name: string) => join(dir, name);
const record = (output: string, ...flags: string[]) =>
  flashwickJson(["trace", "moments", whole, "--text", text, "-o", output, "--window-tokens", "64", ...flags]);
beforeAll(async () => {
  ({ dir, checkpoint } = makeWorkplace());
  [whole, text, moments] = [at("whole.gguf"), at("text.txt"), at("whole.moments.gguf")];
  writeFileSync(
    text,
    "Call me Ishmael. Some years ago, never mind how long precisely, I thought I would sail. ".repeat(9),
  );
  ({ fingerprint } = (await flashwickJson(["convert", checkpoint, "-o", whole, "--dtype", "f32"])).document);
});
afterAll(() => rmSync(dir, { recursive: true }));

describe("trace moments", () => {
  it("records whole windows, the same again, and a file that verify and inspect know", async () => {
    const { status, document } = await record(moments, "--tokens", "200");
    expect(status).toBe(0);
    expect(document).toMatchObject({ fingerprint, tokens: 192, windows: 3, bytes: statSync(moments).size });
    await record(at("again.moments.gguf"), "--tokens", "200");
    expect(readFileSync(at("again.moments.gguf"))).toEqual(readFileSync(moments));
    expect((await flashwickJson(["verify", moments])).document).toMatchObject({ ok: true });
    const { document: said } = await flashwickJson(["inspect", moments]);
    const dFf = new Array(TINY.nLayers).fill(TINY.dFf);
    expect(said).toMatchObject({
      kind: "moments",
      modelFingerprint: fingerprint,
      tokens: 192,
      dModel: TINY.dModel,
      dFf,
    });
    expect((await flashwick(["inspect", moments])).out).toMatch(/text +192 tokens/);
  });

  it("refuses a text shorter than a window, and a file that is there", async () => {
    const short = await record(at("short.gguf"), "--window-tokens", "128", "--tokens", "100");
    expect([short.status, short.document.error.code]).toEqual([1, "INPUT_INVALID"]);
    expect(existsSync(at("short.gguf"))).toBe(false);
    expect((await record(moments)).document.error.code).toBe("IO_EXISTS");
  });
});

describe("convert --calibration", () => {
  const convert = (output: string, ...flags: string[]) =>
    flashwickJson(["convert", checkpoint, "-o", at(output), "--calibration", moments, ...flags]);
  const divergence = async (name: string) =>
    (await flashwickJson(["eval", at(name), "--dense", "--text", text, "--window-tokens", "64", "--against", whole]))
      .document.against.meanKl as number;

  it("brings four bits closer to the model, in a file that says by what and takes the model's predictor", async () => {
    const { status, document } = await convert("calibrated.gguf", "--dtype", "q4");
    expect(status).toBe(0);
    await flashwickJson(["convert", checkpoint, "-o", at("plain.gguf"), "--dtype", "q4"]);
    expect(document).toMatchObject({ fingerprint, calibration: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(await divergence("calibrated.gguf")).toBeLessThan(0.9 * (await divergence("plain.gguf")));
    const { document: said } = await flashwickJson(["inspect", at("calibrated.gguf")]);
    expect(said.calibration).toBe(document.calibration);
    expect((await flashwick(["inspect", at("calibrated.gguf")])).out).toContain(
      `moments ${said.calibration.slice(0, 12)}`,
    );
    await writeTinyPredictor(at("calibrated.predictor.gguf"), fingerprint);
    const run = await flashwickJson(["run", at("calibrated.gguf"), "--tokens", "2,17,101", "--max-tokens", "2"]);
    expect(run.status).toBe(0);
    expect(run.document.stats.neuronsNamedPerToken).toBeGreaterThan(0);
  });

  it("makes up for neurons that are left out, in an order by the same trace", async () => {
    const trace = at("whole.trace");
    await flashwickJson(["trace", "record", whole, "--oracle", "--text", text, "-o", trace, "--window-tokens", "64"]);
    const pruned = ["--prune", trace, "--prune-share", "50%", "--dtype", "f32"];
    await convert("pruned.gguf", ...pruned);
    await flashwickJson(["convert", checkpoint, "-o", at("simply.gguf"), ...pruned]);
    expect(await divergence("pruned.gguf")).toBeLessThan(0.9 * (await divergence("simply.gguf")));
    const placed = await convert("placed.gguf", ...pruned, "--placement", trace, "--preset", "nvme-pcie4");
    expect([placed.status, placed.document.pruned.share]).toEqual([0, 0.5]);
    expect((await flashwickJson(["verify", at("placed.gguf")])).document.ok).toBe(true);
    expect(await divergence("placed.gguf")).toBeCloseTo(await divergence("pruned.gguf"), 4);
  });

  it("is refused where nothing is lost, for what is no file of moments, and for another model's; and writes nothing", async () => {
    const refusal = async (...flags: string[]) => (await convert("refused.gguf", ...flags)).document.error.code;
    expect(await refusal("--dtype", "f16")).toBe("INPUT_INVALID");
    expect(await refusal("--dtype", "q4", "--calibration", whole)).toBe("FORMAT_INVALID");
    expect(await refusal("--dtype", "q4", "--calibration", at("none.gguf"))).toMatch(/^IO_/);
    const other = makeWorkplace();
    const config = JSON.parse(readFileSync(join(other.checkpoint, "config.json"), "utf8"));
    writeFileSync(join(other.checkpoint, "config.json"), JSON.stringify({ ...config, num_hidden_layers: 2 }));
    const two = ["convert", other.checkpoint, "-o", at("refused.gguf"), "--dtype", "q4", "--calibration", moments];
    expect((await flashwickJson(two)).document.error.code).toBe("INPUT_INVALID");
    rmSync(other.dir, { recursive: true });
    expect(existsSync(at("refused.gguf"))).toBe(false);
  });
});
