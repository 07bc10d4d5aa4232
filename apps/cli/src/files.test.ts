import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { flashwick, flashwickJson, makeWorkplace, TINY } from "./tiny-checkpoint.fixture.js";

let dir: string;
let checkpoint: string;
let model: string;
beforeAll(async () => {
  ({ dir, checkpoint } = makeWorkplace());
  model = join(dir, "tiny.gguf");
  expect((await flashwick(["convert", checkpoint, "-o", model])).status).toBe(0);
});
afterAll(() => rmSync(dir, { recursive: true }));

describe("convert", () => {
  it("describes the file that it wrote", async () => {
    const output = join(dir, "int8.gguf");
    const { status, document } = await flashwickJson([
      "convert",
      checkpoint,
      "-o",
      output,
      "--dtype",
      "int8",
      "--layout",
      "split",
      "--stride",
      "1KiB",
    ]);
    expect(status).toBe(0);
    expect(document).toMatchObject({
      architecture: "opt",
      nLayers: TINY.nLayers,
      dModel: TINY.dModel,
      dFf: TINY.dFf,
      nHeads: 4,
      nKvHeads: 4,
      vocabSize: TINY.vocabSize,
      contextLength: TINY.contextLength,
      activation: "relu",
      dtype: "int8",
      layout: "split",
      strideBytes: 1024,
      fileBytes: statSync(output).size,
      ffnBytes: TINY.nLayers * TINY.dFf * 2 * 1024,
      tokenizer: "tokenizer.json",
    });
    expect(document.fingerprint).toMatch(/^[0-9a-f]{64}$/);
    expect(document.residentBytes).toBeGreaterThan(TINY.vocabSize * TINY.dModel);
    expect(document.seconds).toBeGreaterThan(0);
    expect(document.peakRssBytes).toBeGreaterThan(1024 * 1024);
  });
  it("takes the checkpoint's own dtype", async () => {
    const { document } = await flashwickJson(["inspect", model]);
    expect(document.weights).toMatchObject({ dtype: "f16", layout: "bundled" });
  });
  it("needs --force to replace a file", async () => {
    const before = readFileSync(model);
    const refused = await flashwickJson(["convert", checkpoint, "-o", model, "--dtype", "f32"]);
    expect([refused.status, refused.document.error.code]).toEqual([1, "IO_EXISTS"]);
    expect(readFileSync(model).equals(before)).toBe(true);
    const forced = await flashwickJson(["convert", checkpoint, "-o", model, "--force"]);
    expect(forced.status).toBe(0);
    expect(readFileSync(model).equals(before)).toBe(true);
  });
  it("refuses a folder that is not there", async () => {
    const { status, document } = await flashwickJson(["convert", join(dir, "none"), "-o", join(dir, "none.gguf")]);
    expect([status, document.error.code]).toEqual([1, "CHECKPOINT_NOT_FOUND"]);
    expect(document.error.details).toEqual({ folder: join(dir, "none") });
  });
  it("q4: neurons in blocks of four bits beside matrices of a type of their own, and what that lost", async () => {
    const output = join(dir, "four-bits.gguf");
    const argv = ["convert", checkpoint, "-o", output, "--dtype", "q4", "--force"];
    const { status, document } = await flashwickJson(argv);
    expect(status).toBe(0);
    expect(document).toMatchObject({ dtype: "q4", residentDtype: "q8_0", layout: "bundled", strideBytes: 512 });
    expect(Object.keys(document.loss).sort()).toEqual(["down", "resident", "up"]);
    expect(document.loss.up).toBeGreaterThan(document.loss.resident);
    expect(document.loss.up).toBeLessThan(0.12);
    expect((await flashwick(argv)).out).toMatch(/^loss +relative RMS error: .*up \d\.\d\d %, down \d\.\d\d %$/m);
    const { document: shown } = await flashwickJson(["inspect", output]);
    expect(shown.weights.dtype).toBe("q4");
    expect((await flashwickJson(["verify", output, "--quiet"])).document.ok).toBe(true);
    const run = ["run", output, "--dense", "--tokens", "2,3,4", "--max-tokens", "4", "--quiet"];
    expect((await flashwickJson(run)).document.tokens).toHaveLength(4);
    const finer = await flashwickJson([...argv, "--resident-dtype", "f16"]);
    expect(finer.document.residentDtype).toBe("f16");
    expect(finer.document.fingerprint).toBe(document.fingerprint);
    const planned = await flashwickJson(["plan", checkpoint, "--dtype", "q4", "--preset", "nvme-pcie4", "--dense"]);
    expect(planned.document.choice.dtype).toBe("q4");
  });
  it("leaves nothing after Ctrl-C before it began", async () => {
    const before = readdirSync(dir).sort();
    const argv = ["convert", checkpoint, "-o", join(dir, "late.gguf")];
    const { status, document, err } = await flashwickJson(argv, { signal: AbortSignal.abort() });
    expect([status, document.error.code, err]).toEqual([130, "ABORTED", ""]);
    expect(readdirSync(dir).sort()).toEqual(before);
  });
  it("Ctrl-C deleted the journal: now convert goes on where it stopped, and says so", async () => {
    const output = join(dir, "interrupted.gguf");
    const argv = ["convert", checkpoint, "-o", output];
    const interrupt = new AbortController();
    let now = 0;
    const stopped = await flashwick(argv, {
      signal: interrupt.signal,
      isTty: true,
      // A second a call, so that each step is drawn.
      clock: () => (now += 1000),
      onErr: (text) => text.includes("blk.1.ffn") && interrupt.abort(),
    });
    expect(stopped.status).toBe(130);
    expect(stopped.err).toContain(`${output}.partial; the same command continues from it`);
    expect(existsSync(output)).toBe(false);
    const journal = readFileSync(`${output}.partial.journal`, "utf8").trim().split("\n");
    expect(journal.length).toBeGreaterThan(10);

    expect((await flashwick(argv)).status).toBe(0);
    expect(readFileSync(output).equals(readFileSync(model))).toBe(true);
    expect(readdirSync(dir).filter((name) => /partial/.test(name))).toEqual([]);
  });
  it("tells a person what was made, on standard output alone", async () => {
    const { out, err } = await flashwick(["convert", checkpoint, "-o", join(dir, "person.gguf")]);
    expect(out).toContain("opt, 3 layers, d_model 64, d_ff 256");
    expect(err).toBe("");
  });
});

describe("inspect", () => {
  it("shows header, sizes and tensors, without the tokenizer's text", async () => {
    const { status, document, out } = await flashwickJson(["inspect", model]);
    expect(status).toBe(0);
    expect(document).toMatchObject({ kind: "model", file: model, tokenizer: "tokenizer.json" });
    expect(document.geometry).toMatchObject({ architecture: "opt", ...TINY });
    expect(document.records).toHaveLength(TINY.nLayers);
    expect(document.metadata["flashwick.dtype"]).toBe("f16");
    const { headerBytes, residentBytes, ffnBytes, checksumBytes, paddingBytes, fileBytes } = document;
    expect(headerBytes + residentBytes + ffnBytes + checksumBytes + paddingBytes).toBe(fileBytes);
    expect(document.tensors.map(({ name }: { name: string }) => name)).toContain("blk.2.attn_q.weight");
    expect(out).not.toContain("unused300");
  });
  it("shows a person a table", async () => {
    const { out } = await flashwick(["inspect", model]);
    expect(out).toMatch(/^ {2}neurons +[\d.]+ KiB/m);
    expect(out).toMatch(/^blk\.0\.attn_q\.weight +f16 +64 × 64/m);
  });
  it.each([
    ["a file that is not there", "none.gguf", "IO_NOT_FOUND"],
    ["a file of another kind", "notes.txt", "FORMAT_NOT_GGUF"],
  ])("refuses %s", async (_, name, code) => {
    writeFileSync(
      join(dir, "notes.txt"),
      "once upon a time, there was a file that was no model at all, and it said so.\n",
    );
    const { status, document, err } = await flashwickJson(["inspect", join(dir, name)]);
    expect([status, document.error.code, err]).toEqual([1, code, ""]);
    expect(document.error.message).toContain(name);
  });
});

describe("verify", () => {
  it("finds a whole file good", async () => {
    const { status, document } = await flashwickJson(["verify", model]);
    expect(status).toBe(0);
    expect(document).toEqual({
      ok: true,
      recordsChecked: TINY.nLayers * TINY.dFf,
      bytesChecked: expect.any(Number),
      bad: [],
      badCount: 0,
    });
    expect((await flashwick(["verify", model])).out).toContain("good");
  });
  it("names the neuron of a flipped bit, with status 1", async () => {
    const { document: header } = await flashwickJson(["inspect", model]);
    const bytes = readFileSync(model);
    const offset = header.records[1].offset + 7 * header.weights.strideBytes;
    bytes[offset + 5]! ^= 1;
    const damaged = join(dir, "damaged.gguf");
    writeFileSync(damaged, bytes);
    const { status, document } = await flashwickJson(["verify", damaged]);
    expect(status).toBe(1);
    expect(document.ok).toBe(false);
    expect(document.bad).toEqual([{ kind: "record", layer: 1, neuron: 7, offset }]);
    expect((await flashwick(["verify", damaged])).out).toContain(`layer 1, neuron 7  at byte ${offset}`);
  });
  it("reports a flipped bit of the header", async () => {
    const bytes = readFileSync(model);
    const at = bytes.indexOf("general.name") + "general.name".length + 12;
    bytes[at]! ^= 1;
    const damaged = join(dir, "header.gguf");
    writeFileSync(damaged, bytes);
    const { status, document } = await flashwickJson(["verify", damaged]);
    expect(status).toBe(1);
    expect(document).toMatchObject({ ok: false, bad: [{ kind: "header", offset: 0 }] });
  });
  it("refuses a truncated file", async () => {
    const short = join(dir, "short.gguf");
    writeFileSync(short, readFileSync(model).subarray(0, statSync(model).size - 4096));
    const { status, document } = await flashwickJson(["verify", short]);
    expect([status, document.error.code]).toEqual([1, "FORMAT_TRUNCATED"]);
    expect(existsSync(short)).toBe(true);
  });
});
