/** Every command that takes a GGUF file of llama.cpp, as it lies; and what those say that need records. */
import { copyFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { flashwick, flashwickJson, makeWorkplace } from "./tiny-checkpoint.fixture.js";

const fixtures = fileURLToPath(new URL("../../../packages/runtime/fixtures/", import.meta.url));
const model = join(fixtures, "gguf/qwen2.gguf");
const golden = JSON.parse(readFileSync(join(fixtures, "goldens/gguf-qwen2.json"), "utf8"));

let dir: string;
beforeAll(() => {
  dir = makeWorkplace().dir;
});
afterAll(() => rmSync(dir, { recursive: true }));

const json = async (...argv: string[]) => {
  const { status, document } = await flashwickJson(argv);
  expect(status).toBe(0);
  return document;
};

describe("a GGUF file of llama.cpp", () => {
  it("is inspected: geometry, types of its own for every tensor, no checksums", async () => {
    const document = await json("inspect", model);
    expect(document).toMatchObject({
      kind: "model",
      geometry: { architecture: "qwen2" },
      weights: { layout: "matrices" },
    });
    expect(document.checksumBytes).toBe(0);
    const types = new Set(document.tensors.map(({ dtype }: { dtype: string }) => dtype));
    expect([...types].sort()).toEqual(["f32", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0"]);
    expect((await flashwick(["inspect", model])).out).toContain("as llama.cpp has them");
  });
  it("runs, and continues as the reference does", async () => {
    const { tokens, greedy } = golden.cases.at(-1);
    const argv = ["run", model, "--tokens", tokens.join(","), "--max-tokens", "4", "--quiet"];
    const document = await json(...argv);
    expect(document.tokens).toEqual(greedy.slice(0, 4));
    expect(document.stats.mode).toBe("dense");
  });
  it("is evaluated with activations of eight bits, against the default's on the same file", async () => {
    const text = join(dir, "short.txt");
    writeFileSync(text, "In the beginning was the word, and the word was with him. ".repeat(4));
    const argv = ["eval", model, "--text", text, "--window-tokens", "24", "--max-windows", "1", "--quiet"];
    const usual = await json(...argv, "--backend", "reference");
    expect(usual.activationBits).toBeNull();
    const rounded = await json(...argv, "--backend", "reference", "--activation-bits", "8", "--against", "dense");
    expect(rounded.activationBits).toBe(8);
    expect(rounded.against.perplexity).toBe(usual.perplexity);
    expect(rounded.perplexity).not.toBe(usual.perplexity);
    expect(rounded.against.meanKl).toBeGreaterThan(0);
    expect((await json("score", model, "--tokens", "1,2", "--quiet")).activationBits).toBeNull();
  });
  it("is scored, and evaluated within a budget that streams it", async () => {
    const { tokens, positions } = golden.cases[0];
    const { positions: scored } = await json("score", model, "--tokens", tokens.join(","), "--top", "1", "--quiet");
    expect(scored[0].top[0][0]).toBe(positions[0].top[0][0]);
    const text = join(dir, "text.txt");
    writeFileSync(text, "In the beginning was the word, and the word was with him. ".repeat(20));
    const flags = [
      "--window-tokens",
      "64",
      "--max-windows",
      "1",
      "--kv-precision",
      "f32",
      "--context",
      "64",
      "--quiet",
    ];
    const whole = await json("eval", model, "--text", text, ...flags);
    const refused = await flashwickJson(["eval", model, "--text", text, ...flags, "--dram-budget", "1KiB"]);
    const { smallestBudgetBytes } = refused.document.error.details;
    const streamed = await json(
      "eval",
      model,
      "--text",
      text,
      ...flags,
      "--dram-budget",
      `${smallestBudgetBytes + 65536}`,
    );
    expect(streamed.perplexity).toBe(whole.perplexity);
    expect(whole.flashBytesPerToken).toBe(0);
    expect(streamed.flashBytesPerToken).toBeGreaterThan(0);
  });
  it("is planned from its header", async () => {
    const document = await json("plan", model, "--dram-budget", "64MiB", "--preset", "nvme-pcie4");
    expect(document.fits).toBe(true);
    expect(document.tokensPerSec).toBeGreaterThan(0);
  });
  it("in several files is given by the first of them", async () => {
    const first = join(fixtures, "gguf/falcon-7b-00001-of-00003.gguf");
    const whole = join(fixtures, "gguf/falcon-7b.gguf");
    const run = ["--tokens", "5,9,11,40", "--max-tokens", "4", "--quiet"];
    expect((await json("run", first, ...run)).tokens).toEqual((await json("run", whole, ...run)).tokens);
    const document = await json("inspect", first);
    expect(document.geometry).toEqual((await json("inspect", whole)).geometry);
    expect((await json("plan", first, "--dram-budget", "64MiB", "--preset", "nvme-pcie4")).fits).toBe(true);
    const ids = await json("tokenize", first, "--text", "a");
    expect(ids).toEqual(await json("tokenize", whole, "--text", "a"));
  });
  it("in several files is not given by another, nor with one missing", async () => {
    const second = join(fixtures, "gguf/falcon-7b-00002-of-00003.gguf");
    const { status, err } = await flashwick(["inspect", second]);
    expect([status, err]).toEqual([1, expect.stringContaining("give falcon-7b-00001-of-00003.gguf")]);
    const alone = join(dir, "falcon-7b-00001-of-00003.gguf");
    copyFileSync(join(fixtures, "gguf/falcon-7b-00001-of-00003.gguf"), alone);
    const missing = await flashwick(["run", alone, "--tokens", "5"]);
    expect([missing.status, missing.err]).toEqual([1, expect.stringContaining("file 2 of 3 is missing")]);
  });
  it("is converted into records, which verify, run and continue as the file does", async () => {
    const output = join(dir, "records.gguf");
    const converted = await json("convert", model, "-o", output, "--quiet");
    expect(converted).toMatchObject({ architecture: "qwen2", dtype: "f16", layout: "bundled", placement: "identity" });
    expect((await json("verify", output, "--quiet")).ok).toBe(true);
    const { tokens, greedy } = golden.cases.at(-1);
    const argv = ["run", output, "--dense", "--tokens", tokens.join(","), "--max-tokens", "4", "--quiet"];
    expect((await json(...argv)).tokens).toEqual(greedy.slice(0, 4));
    const again = await flashwickJson(["convert", model, "-o", output]);
    expect([again.status, again.document.error.code]).toEqual([1, "IO_EXISTS"]);
    const twice = join(dir, "twice.gguf");
    await json("convert", output, "-o", twice, "--quiet");
    expect(readFileSync(twice).equals(readFileSync(output))).toBe(true);
  });
  it("is converted within Ctrl-C: the same command goes on to the same bytes", async () => {
    const [output, whole] = [join(dir, "stopped.gguf"), join(dir, "whole.gguf")];
    const interrupt = new AbortController();
    let now = 0;
    const stopped = await flashwick(["convert", model, "-o", output], {
      signal: interrupt.signal,
      isTty: true,
      // A second a call, so that each step is drawn.
      clock: () => (now += 1000),
      onErr: (text) => text.includes("blk.1.ffn") && interrupt.abort(),
    });
    expect([stopped.status, existsSync(output)]).toEqual([130, false]);
    expect(stopped.err).toContain(`${output}.partial; the same command continues from it`);
    for (const path of [output, whole]) expect((await flashwick(["convert", model, "-o", path])).status).toBe(0);
    expect(readFileSync(output).equals(readFileSync(whole))).toBe(true);
    expect(readdirSync(dir).filter((name) => /partial/.test(name))).toEqual([]);
  });
  it("is given checksums, which every command holds it against", async () => {
    const copy = join(dir, "checked.gguf");
    copyFileSync(model, copy);
    const run = ["run", copy, "--tokens", "5,9", "--max-tokens", "2"];
    expect((await flashwick(run)).err).toContain("no checksums");
    const written = await json("verify", copy, "--write");
    expect(written).toMatchObject({ checksumFile: join(dir, "checked.crc32c.gguf") });
    expect((await json("verify", copy)).ok).toBe(true);
    expect((await json("verify", written.checksumFile)).ok).toBe(true);
    expect((await json("inspect", copy)).checksumsBeside).toEqual({ groupBytes: 8192, checksums: written.checksums });
    expect((await json("inspect", written.checksumFile)).kind).toBe("checksums");
    expect((await flashwick(["inspect", copy])).out).toContain(`${written.checksums} checksums beside it`);
    expect((await flashwick(run)).err).not.toContain("no checksums");
    const again = await flashwick(["verify", copy, "--write"]);
    expect([again.status, again.err]).toEqual([1, expect.stringContaining("--force")]);

    const bytes = readFileSync(copy);
    bytes[bytes.length - 1000]! ^= 4;
    writeFileSync(copy, bytes);
    expect((await flashwick(["verify", copy])).status).toBe(1);
    const damaged = await flashwickJson([...run, "--quiet"]);
    expect(damaged.document.error.code).toBe("INTEGRITY_TENSOR");
    expect((await json("verify", copy, "--write", "--force")).checksums).toBe(written.checksums);
    expect((await json("verify", copy)).ok).toBe(true);
  });
  it("of a mixture shows its experts, and is checked expert by expert", async () => {
    const copy = join(dir, "mixture.gguf");
    copyFileSync(join(fixtures, "gguf/qwen3moe.gguf"), copy);
    const { experts, geometry } = await json("inspect", copy);
    expect([experts.length, geometry.layers[0].experts.chosen]).toEqual([geometry.layers.length, 2]);
    expect(experts[0].matrices[1]).toMatchObject({ tensor: "blk.0.ffn_up_exps.weight", dtype: "q4_k", rows: 128 });
    const { out } = await flashwick(["inspect", copy]);
    expect(out).toMatch(/experts +2 of 8 a token, 54\.0 KiB each, as llama.cpp has them; no checksums/);
    expect(out).toMatch(/blk\.0 experts, up +q4_k +8 × 128 × 256/);
    await json("verify", copy, "--write");
    expect((await flashwick(["inspect", copy])).out).toContain("one for 8.00 KiB or a matrix of an expert");
    expect((await json("verify", copy)).ok).toBe(true);
    const bytes = readFileSync(copy);
    const { offset, strideBytes } = experts[1].matrices[2];
    bytes[offset + 5 * strideBytes + 100]! ^= 4;
    writeFileSync(copy, bytes);
    const damaged = await flashwick(["verify", copy]);
    expect([damaged.status, damaged.out]).toEqual([1, expect.stringMatching(/expert +layer 1, expert 5 +at byte/)]);
  });
  it("with the checksums of another is refused, and told what to do", async () => {
    const copy = join(dir, "other.gguf");
    copyFileSync(model, copy);
    await json("verify", copy, "--write");
    copyFileSync(join(fixtures, "gguf/qwen3.gguf"), copy);
    const { status, err } = await flashwick(["run", copy, "--tokens", "5"]);
    expect([status, err]).toEqual([1, expect.stringContaining("--write --force")]);
  });
  it("in several files has its checksums beside the first", async () => {
    for (const i of [1, 2, 3]) {
      const name = `falcon-7b-0000${i}-of-00003.gguf`;
      copyFileSync(join(fixtures, "gguf", name), join(dir, name));
    }
    const first = join(dir, "falcon-7b-00001-of-00003.gguf");
    expect((await json("verify", first, "--write")).checksumFile).toBe(
      join(dir, "falcon-7b-00001-of-00003.crc32c.gguf"),
    );
    const second = join(dir, "falcon-7b-00002-of-00003.gguf");
    const bytes = readFileSync(second);
    bytes[bytes.length - 1000]! ^= 4;
    writeFileSync(second, bytes);
    const { status, err } = await flashwick(["run", first, "--tokens", "5"]);
    expect([status, err]).toEqual([1, expect.stringContaining("falcon-7b-00002-of-00003.gguf @")]);
  });
  it.each([
    ["verify", [model], "carries no checksums"],
    ["train", [model, "--text", model, "-o", "x.gguf"], "this model has silu"],
  ])("is refused by %s, which says why", async (command, argv, part) => {
    const { status, err } = await flashwick([command, ...argv]);
    expect(status).toBe(1);
    expect(err).toContain(part);
  });
});
