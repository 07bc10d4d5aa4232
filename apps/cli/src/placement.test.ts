/** Neurons in an order of their own: the converted model computes the same, its predictor goes along, and nothing foreign is taken. */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openModelFile } from "@flashwick/flash-format";
import { fileSource } from "@flashwick/flash-format/node";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { flashwickJson, makeWorkplace } from "./tiny-checkpoint.fixture.js";
import { writeTinyPredictor } from "./tiny-predictor.fixture.js";

let dir: string;
let checkpoint: string;
let plain: string;
let predictor: string;
let trace: string;
beforeAll(async () => {
  ({ dir, checkpoint } = makeWorkplace());
  plain = join(dir, "plain.gguf");
  predictor = join(dir, "plain.predictor.gguf");
  trace = join(dir, "plain.trace");
  const text = join(dir, "text.txt");
  writeFileSync(
    text,
    "It is a truth universally acknowledged, that a single man in possession of a good fortune. ".repeat(6),
  );
  const { document } = await flashwickJson(["convert", checkpoint, "-o", plain]);
  await writeTinyPredictor(predictor, document.fingerprint);
  await flashwickJson(["trace", "record", plain, "--text", text, "-o", trace, "--window-tokens", "64"]);
});
afterAll(() => rmSync(dir, { recursive: true }));

const place = (output: string, ...flags: string[]) =>
  flashwickJson([
    "convert",
    checkpoint,
    "-o",
    output,
    "--placement",
    trace,
    "--preset",
    "nvme-pcie4",
    "--placement-slots",
    "60%",
    ...flags,
  ]);
const score = (model: string, ...flags: string[]) =>
  flashwickJson(["score", model, "--tokens", "2,17,101,64,9", ...flags]);

describe("convert --placement", () => {
  it.each(["bundled", "split"])("computes what the checkpoint's order computes: %s", async (layout) => {
    const placed = join(dir, `placed-${layout}.gguf`);
    const { status, document } = await place(placed, "--predictor", predictor, "--layout", layout);
    expect(status).toBe(0);
    expect(document).toMatchObject({ placement: "table", predictor: join(dir, `placed-${layout}.predictor.gguf`) });
    const { placementOrders: ms, placementOrder: order } = document;
    expect(ms[order]).toBeLessThan(0.98 * ms.identity);
    const verified = await flashwickJson(["verify", placed]);
    expect(verified.document).toMatchObject({ ok: true, badCount: 0 });
    for (const flags of [["--dense"], []]) {
      const [a, b] = [await score(plain, ...flags), await score(placed, ...flags)];
      expect(a.document.positions).toHaveLength(5);
      for (const [i, { logSumExp }] of a.document.positions.entries()) {
        expect(b.document.positions[i].logSumExp).toBeCloseTo(logSumExp, 3);
      }
    }
    // The two really are different files, and a predictor of the one names other neurons in the other.
    const refused = await score(placed, "--predictor", predictor);
    expect([refused.status, refused.document.error.code]).toEqual([1, "INTEGRITY_FINGERPRINT"]);
  });
  it("finds a flipped bit of the permutation", async () => {
    const placed = join(dir, "placed-bundled.gguf");
    const source = await fileSource(placed);
    const { header } = await openModelFile(source).finally(() => source.close());
    const bytes = readFileSync(placed);
    bytes[header.placement![1]!.offset + 8]! ^= 1;
    const broken = join(dir, "broken.gguf");
    writeFileSync(broken, bytes);
    const { status, document: verified } = await flashwickJson(["verify", broken]);
    expect([status, verified.badCount, verified.bad[0].tensor]).toEqual([1, 1, "blk.1.ffn_placement"]);
  });
  it("refuses a trace of another shape, one cut off, and two devices; and writes nothing", async () => {
    const output = join(dir, "refused.gguf");
    const cut = join(dir, "cut.trace");
    writeFileSync(cut, readFileSync(trace).subarray(0, 900));
    const truncated = await flashwickJson(["convert", checkpoint, "-o", output, "--placement", cut]);
    expect([truncated.status, truncated.document.error.code]).toEqual([1, "FORMAT_TRUNCATED"]);
    const foreign = join(dir, "foreign.trace");
    const bytes = readFileSync(trace);
    bytes.writeUInt32LE(512, 12);
    writeFileSync(foreign, bytes);
    expect((await flashwickJson(["convert", checkpoint, "-o", output, "--placement", foreign])).status).toBe(1);
    expect((await place(output, "--device", "x.json")).status).toBe(2);
    expect(existsSync(output)).toBe(false);
  });
});
