/**
 * Neurons left out at conversion: a smaller file with a predictor pruned alike, what `inspect` says of it, and what is
 * refused.
 */
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { encodeTrace } from "@flashwick/dram-cache/simulate";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { flashwick, flashwickJson, makeWorkplace, TINY } from "./tiny-checkpoint.fixture.js";
import { writeTinyPredictor } from "./tiny-predictor.fixture.js";

let dir: string;
let checkpoint: string;
let plain: string;
let predictor: string;
let trace: string;
let text: string;
let fingerprint: string;
beforeAll(async () => {
  ({ dir, checkpoint } = makeWorkplace());
  plain = join(dir, "plain.gguf");
  predictor = join(dir, "plain.predictor.gguf");
  trace = join(dir, "plain.trace");
  text = join(dir, "text.txt");
  writeFileSync(text, "It is a truth universally acknowledged, that a single man is in want of a wife. ".repeat(8));
  ({ fingerprint } = (await flashwickJson(["convert", checkpoint, "-o", plain, "--dtype", "f32"])).document);
  await writeTinyPredictor(predictor, fingerprint);
  await flashwickJson(["trace", "record", plain, "--text", text, "-o", trace, "--window-tokens", "64"]);
});
afterAll(() => rmSync(dir, { recursive: true }));

const prune = (output: string, ...flags: string[]) =>
  flashwickJson(["convert", checkpoint, "-o", output, "--dtype", "f32", "--prune", trace, ...flags]);

describe("convert --prune", () => {
  it("makes the file 10 % smaller by default, says what was left out, and runs with the predictor beside it", async () => {
    const output = join(dir, "pruned.gguf");
    const { status, document } = await prune(output, "--predictor", predictor);
    expect(status).toBe(0);
    expect(document.pruned.from).toBe(fingerprint);
    expect(document.predictor).toBe(join(dir, "pruned.predictor.gguf"));
    const shrunk = 1 - statSync(output).size / statSync(plain).size;
    expect(shrunk).toBeGreaterThanOrEqual(0.1);
    expect(shrunk).toBeLessThan(0.2);
    const { document: said } = await flashwickJson(["inspect", output]);
    expect(said.pruned).toMatchObject({ neurons: [256, 256, 256], from: fingerprint, trace: document.pruned.trace });
    expect(said.pruned.share).toBeCloseTo(document.pruned.share);
    expect((await flashwick(["inspect", output])).out).toMatch(/left out +\d+\.\d+ % of the neurons/);
    expect((await flashwickJson(["verify", output])).document).toMatchObject({ ok: true, badCount: 0 });
    const evaluated = await flashwickJson([
      "eval",
      output,
      "--text",
      text,
      "--window-tokens",
      "32",
      "--against",
      plain,
    ]);
    expect([evaluated.status, evaluated.document.mode]).toEqual([0, "predicted"]);
    const run = await flashwickJson(["run", output, "--tokens", "2,17,101,64,9", "--max-tokens", "4"]);
    expect(run.status).toBe(0);
    expect(run.document.stats.neuronsNamedPerToken).toBeGreaterThan(0);
    const refused = await flashwickJson(["run", output, "--tokens", "2", "--predictor", predictor]);
    expect([refused.status, refused.document.error.code]).toEqual([1, "INTEGRITY_FINGERPRINT"]);
  });

  it("orders the neurons that stay by a placement, predictor and all", async () => {
    // Every sixteenth neuron fires together, which the checkpoint's order does not bring together.
    const clumped = join(dir, "clumped.trace");
    const tokens = Array.from({ length: 200 }, (_, t) =>
      Array.from({ length: TINY.nLayers }, () =>
        Uint32Array.from({ length: TINY.dFf / 16 }, (_, k) => ((t >> 1) % 16) + 16 * k),
      ),
    );
    writeFileSync(clumped, encodeTrace({ nLayers: TINY.nLayers, dFf: TINY.dFf, tokens }));
    const flags = ["--predictor", predictor, "--prune-share", "25%"];
    const [placed, unplaced] = [join(dir, "placed.gguf"), join(dir, "unplaced.gguf")];
    const { document } = await prune(placed, ...flags, "--placement", clumped, "--preset", "ufs-4.0");
    expect(document).toMatchObject({ pruned: { share: 0.25 }, predictor: join(dir, "placed.predictor.gguf") });
    expect(document.placementOrder).toMatch(/^co-/);
    const { document: plain } = await prune(unplaced, ...flags);
    expect(document.fingerprint).not.toBe(plain.fingerprint);
    const evaluated = async (path: string) =>
      (await flashwickJson(["eval", path, "--text", text, "--window-tokens", "32"])).document;
    const [of, before] = [await evaluated(placed), await evaluated(unplaced)];
    expect(of.perplexity).toBeCloseTo(before.perplexity, 2);
    expect([of.recall, of.namedShareByLayer]).toEqual([before.recall, before.namedShareByLayer]);
  });

  it("leaves out the share that is asked for, and the same again", async () => {
    const [first, second] = [join(dir, "half.gguf"), join(dir, "again.gguf")];
    const { document } = await prune(first, "--prune-share", "50%");
    expect(document.pruned.share).toBe(0.5);
    await prune(second, "--prune-share", "0.5");
    expect(Buffer.compare(readFileSync(first), readFileSync(second))).toBe(0);
    const { out } = await flashwick(["convert", checkpoint, "-o", join(dir, "told.gguf"), "--prune", trace]);
    expect(out).toMatch(/left out +\d+\.\d+ % of all neurons/);
  });

  it.each(["0", "100%"])("refuses a share of %s", async (share) => {
    const { status, document } = await prune(join(dir, "no.gguf"), "--prune-share", share);
    expect([status, document.error.code]).toEqual([1, "INPUT_INVALID"]);
    expect(existsSync(join(dir, "no.gguf"))).toBe(false);
  });

  const importance = (...shares: number[]) => shares.map((value) => new Float32Array(TINY.dFf).fill(value));
  const made = (path: string, of: string, ...values: number[]) => {
    const origin = { fingerprint: of, named: false, importance: importance(...values) };
    writeFileSync(path, encodeTrace({ nLayers: values.length, dFf: TINY.dFf, tokens: [], origin }));
    return path;
  };
  it("refuses a trace of another model, of another shape, without importances, and one that would empty a layer; and writes nothing", async () => {
    const output = join(dir, "refused.gguf");
    const refusal = async (path: string) =>
      (await flashwickJson(["convert", checkpoint, "-o", output, "--prune", path, "--prune-share", "40%"])).document
        .error;
    expect((await refusal(made(join(dir, "a.trace"), "ab".repeat(32), 1, 2, 2))).code).toBe("INPUT_INVALID");
    const foreign = join(dir, "b.trace");
    const origin = {
      ...{ fingerprint: "ab".repeat(32), named: false },
      importance: importance(1, 1, 1).map((row) => row.map((_, i) => i)),
    };
    writeFileSync(foreign, encodeTrace({ nLayers: 3, dFf: TINY.dFf, tokens: [], origin }));
    expect((await refusal(foreign)).code).toBe("INTEGRITY_FINGERPRINT");
    expect((await refusal(made(join(dir, "c.trace"), fingerprint, 1, 2))).message).toMatch(/2 layers of 256 neurons/);
    const bare = join(dir, "d.trace");
    writeFileSync(bare, encodeTrace({ nLayers: 3, dFf: TINY.dFf, tokens: [] }));
    expect((await refusal(bare)).message).toMatch(/record it again/);
    expect(existsSync(output)).toBe(false);
  });

  it("refuses a predictor of another model before it converts", async () => {
    const foreign = join(dir, "another.predictor.gguf");
    await writeTinyPredictor(foreign, "cd".repeat(32));
    const output = join(dir, "foreign.gguf");
    const { document } = await prune(output, "--predictor", foreign);
    expect(document.error.code).toBe("INTEGRITY_FINGERPRINT");
    expect(existsSync(output)).toBe(false);
  });
});
