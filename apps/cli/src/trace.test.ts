/** `flashwick trace`: recording and replaying through the program, and what it refuses. */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { decodeTrace } from "@flashwick/dram-cache/simulate";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { flashwick, flashwickJson, makeWorkplace, TINY } from "./tiny-checkpoint.fixture.js";
import { writeTinyPredictor } from "./tiny-predictor.fixture.js";

let dir: string;
let model: string;
let trace: string;
let text: string;
beforeAll(async () => {
  const workplace = makeWorkplace();
  dir = workplace.dir;
  model = join(dir, "tiny.gguf");
  trace = join(dir, "tiny.trace");
  text = join(dir, "text.txt");
  writeFileSync(text, "It was a bright cold day in April, and the clocks were striking thirteen. ".repeat(8));
  const { document } = await flashwickJson(["convert", workplace.checkpoint, "-o", model]);
  await writeTinyPredictor(join(dir, "tiny.predictor.gguf"), document.fingerprint);
});
afterAll(() => rmSync(dir, { recursive: true }));

const record = (output: string, ...flags: string[]) =>
  flashwickJson(["trace", "record", model, "--text", text, "-o", output, "--window-tokens", "32", ...flags]);

describe("trace record", () => {
  it("writes whole windows of what the predictor names", async () => {
    const { status, document } = await record(trace, "--tokens", "100");
    expect(status).toBe(0);
    expect(document).toMatchObject({ of: "named", tokens: 96, windows: 3, nLayers: TINY.nLayers, dFf: TINY.dFf });
    const { tokens } = decodeTrace(readFileSync(trace));
    const neurons = tokens.flat().reduce((sum, { length }) => sum + length, 0);
    expect(document.neuronsPerToken).toBe(neurons / 96);
    expect(document.bytes).toBe(readFileSync(trace).length);
  });
  it("records the truly active neurons with --oracle, which others are", async () => {
    const path = join(dir, "oracle.trace");
    const { document } = await record(path, "--tokens", "32", "--oracle");
    expect(document).toMatchObject({ of: "active", tokens: 32 });
    expect(decodeTrace(readFileSync(path)).tokens[5]).not.toEqual(decodeTrace(readFileSync(trace)).tokens[5]);
  });
  it("refuses a text shorter than a window and a file that is there, and leaves nothing behind", async () => {
    const path = join(dir, "short.trace");
    const refused = await record(path, "--window-tokens", "100000");
    expect([refused.status, refused.document.error.code]).toEqual([1, "INPUT_INVALID"]);
    expect(existsSync(path)).toBe(false);
    const again = await record(trace);
    expect([again.status, again.document.error.code]).toEqual([1, "IO_EXISTS"]);
    expect(readdirSync(dir).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });
});

describe("trace simulate", () => {
  const simulate = (...flags: string[]) => flashwickJson(["trace", "simulate", trace, ...flags]);

  it("replays every policy at every size: hits and misses add up, the clairvoyant misses least", async () => {
    const { status, document } = await simulate("--slots", "40%,200", "--warm-up", "0", "--preset", "nvme-pcie4");
    expect(status).toBe(0);
    expect(document.rows).toHaveLength(12);
    for (const { slots, perToken, missShare, ...row } of document.rows) {
      expect([Math.round(0.4 * TINY.dFf), 200]).toContain(slots);
      expect(perToken.hits + perToken.misses).toBeCloseTo(perToken.named, 9);
      expect(perToken.flashBytes).toBe(perToken.misses * document.recordBytes);
      expect(perToken.readMs).toBeGreaterThan(0);
      expect(row.recordsPerRead).toBeGreaterThanOrEqual(1);
      expect(missShare).toBeCloseTo(perToken.misses / perToken.named, 9);
    }
    for (const slots of [Math.round(0.4 * TINY.dFf), 200]) {
      const alike = document.rows.filter((row: { slots: number }) => row.slots === slots);
      expect(alike).toHaveLength(6);
      const least = alike.find(({ policy }: { policy: string }) => policy === "clairvoyant");
      for (const { missShare } of alike) expect(least.missShare).toBeLessThanOrEqual(missShare);
    }
  });
  it("takes record size and layout from a model, and reading over gaps makes fewer, larger reads", async () => {
    const plain = await simulate("--model", model, "--policy", "window", "--slots", "50%");
    expect(plain.document).toMatchObject({ recordBytes: 512, readsPerNeuron: 1, device: null });
    const merged = await simulate("--model", model, "--policy", "window", "--slots", "50%", "--merge-gap", "16KiB");
    const [a, b] = [plain, merged].map(({ document }) => document.rows[0].perToken);
    expect(b.misses).toBe(a.misses);
    expect(b.flashReads).toBeLessThan(a.flashReads);
    expect(b.flashBytes).toBeGreaterThan(a.flashBytes);
    expect(a.readMs).toBeNull();
  });
  it("replays one cache of all layers, in which LRU and least-stale differ", async () => {
    const { document } = await simulate("--pool", "--slots", "10%,40%");
    expect(document).toMatchObject({ pool: true });
    const shares = (policy: string) =>
      document.rows
        .filter((row: { policy: string }) => row.policy === policy)
        .map((row: { missShare: number }) => row.missShare);
    expect(document.rows).toHaveLength(14);
    expect(document.rows[0].slots).toBe(Math.round(0.1 * TINY.nLayers * TINY.dFf));
    expect(shares("least-stale")).not.toEqual(shares("lru"));
    for (const policy of ["lru", "lfu", "least-stale"]) {
      for (const [i, share] of shares(policy).entries()) expect(share).toBeGreaterThanOrEqual(shares("clairvoyant")[i]);
    }
  });
  it("draws what it says", async () => {
    const plot = join(dir, "misses.svg");
    const { out } = await flashwick(["trace", "simulate", trace, "--slots", "30%,60%", "--plot", plot]);
    expect(out).toContain("clairvoyant");
    const svg = readFileSync(plot, "utf8");
    for (const policy of ["window", "lru", "pinned", "lfu", "s3-fifo", "clairvoyant"]) expect(svg).toContain(policy);
    expect(svg).not.toContain("NaN");
  });
  it("refuses a trace cut off in the middle, another model's file, and wrong usage", async () => {
    const cut = join(dir, "cut.trace");
    writeFileSync(cut, readFileSync(trace).subarray(0, 700));
    const broken = await flashwickJson(["trace", "simulate", cut]);
    expect([broken.status, broken.document.error.code]).toEqual([1, "FORMAT_TRUNCATED"]);
    expect(broken.document.error.message).toMatch(/at token \d+, layer \d/);
    expect((await flashwickJson(["trace", "simulate", join(dir, "none.trace")])).document.error.code).toBe(
      "INPUT_INVALID",
    );
    expect((await simulate("--policy", "fifo")).status).toBe(2);
    expect((await simulate("--slots", "0")).status).toBe(2);
    expect((await simulate("--model", model, "--record-bytes", "4KiB")).status).toBe(2);
    expect((await simulate("--warm-up", "96")).document.error.code).toBe("INPUT_INVALID");
  });
});
