import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { devicePreset } from "@flashwick/cost-model";
import { demoModels } from "@flashwick/demo-models";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { flashwick, flashwickJson, makeWorkplace, TINY } from "./tiny-checkpoint.fixture.js";
import { writeTinyPredictor } from "./tiny-predictor.fixture.js";

const STATS = [
  "backend",
  "ioMode",
  "mode",
  "prefillMs",
  "decodeMs",
  "tokensPerSec",
  "timeToFirstTokenMs",
  "tokenMs",
  "flashBytes",
  "flashReads",
  "flashBytesPerToken",
  "readsPerToken",
  "neuronsNamedPerToken",
  "neuronsLoadedPerToken",
  "cacheHits",
  "cacheMisses",
  "cacheHitShare",
  "msPerToken",
  "dramBytes",
];
const PHASES = ["predict", "cache", "check", "readWait", "attention", "ffn", "head", "other"];
const DRAM = ["budget", "resident", "predictor", "neuronCache", "kvCache", "activations", "readBuffers", "total"];

let dir: string;
let model: string;
let predictor: string;
beforeAll(async () => {
  const workplace = makeWorkplace();
  dir = workplace.dir;
  model = join(dir, "tiny.gguf");
  predictor = join(dir, "named.gguf");
  const { document } = await flashwickJson(["convert", workplace.checkpoint, "-o", model]);
  await writeTinyPredictor(predictor, document.fingerprint);
  await writeTinyPredictor(join(dir, "foreign.gguf"), "0".repeat(64));
  writeFileSync(join(dir, "text.txt"), "It was the best of times, it was the worst of times. ".repeat(4));
});
afterAll(() => rmSync(dir, { recursive: true }));

const run = (...argv: string[]) => flashwickJson(["run", model, "--max-tokens", "6", ...argv]);

describe("run", () => {
  it("gives the document of the contract", async () => {
    const { status, document } = await run("--tokens", "2,17,101");
    expect(status).toBe(0);
    expect(document).toMatchObject({ promptTokens: 3, finishReason: "length", text: expect.any(String) });
    expect(document.tokens).toHaveLength(6);
    const { stats } = document;
    expect(Object.keys(stats)).toEqual(expect.arrayContaining(STATS));
    expect(Object.keys(stats.msPerToken)).toEqual(expect.arrayContaining(PHASES));
    expect(Object.keys(stats.dramBytes)).toEqual(expect.arrayContaining(DRAM));
    expect(Object.keys(stats.tokenMs)).toEqual(expect.arrayContaining(["mean", "p50", "p90", "p99", "max"]));
    expect(stats.mode).toBe("dense");
  });
  it("puts the special token before a text, and none before token ids", async () => {
    const text = await run("--prompt", "Call me");
    expect(text.document.promptTokens).toBe(1 + "Call me".length);
    writeFileSync(join(dir, "prompt.txt"), "Call me");
    expect((await run("--prompt-file", join(dir, "prompt.txt"))).document.tokens).toEqual(text.document.tokens);
  });
  it("streams to a person what it gives to a program", async () => {
    const { document } = await run("--prompt", "Call me");
    const { out, err } = await flashwick(["run", model, "--max-tokens", "6", "--prompt", "Call me", "--dense"]);
    expect(out).toBe(`${document.text}\n`);
    expect(err).toContain("tokens/s");
    const quiet = await flashwick(["run", model, "--max-tokens", "6", "--prompt", "Call me", "--quiet"]);
    expect([quiet.out, quiet.err]).toEqual([out, ""]);
  });
  it("prints one JSON object a line with --stream, the result last", async () => {
    const { out } = await flashwick(["run", model, "--max-tokens", "6", "--tokens", "2,5", "--json", "--stream"]);
    const lines = out
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    const result = lines.pop();
    const whole = await run("--tokens", "2,5");
    expect(result).toMatchObject({ type: "result", tokens: whole.document.tokens, text: whole.document.text });
    const tokens = lines.filter(({ token }) => token !== null);
    expect(tokens.map(({ token }) => token)).toEqual(result.tokens);
    expect(lines.map(({ text }) => text).join("")).toBe(result.text);
  });
  it("says that it is dense, and why, unless that was asked for", async () => {
    expect((await run("--tokens", "2")).err).toMatch(/dense.*no predictor.*tiny\.predictor\.gguf/);
    expect((await run("--tokens", "2", "--dense")).err).toBe("");
    expect((await run("--tokens", "2", "--quiet")).err).toBe("");
  });
  it("finds the sidecar", async () => {
    const sidecar = join(dir, "tiny.predictor.gguf");
    renameSync(predictor, sidecar);
    try {
      const { document, err } = await run("--tokens", "2,17");
      expect([document.stats.mode, err]).toEqual(["predicted", ""]);
      expect((await run("--tokens", "2,17", "--dense")).document.stats.mode).toBe("dense");
    } finally {
      renameSync(sidecar, predictor);
    }
  });
  it("gives the dense tokens with the oracle, and with every neuron named", async () => {
    const dense = await run("--tokens", "2,17,101", "--dense");
    const oracle = await run("--tokens", "2,17,101", "--oracle");
    const all = await run("--tokens", "2,17,101", "--predictor", predictor, "--threshold", "-inf");
    expect(oracle.document.tokens).toEqual(dense.document.tokens);
    expect(all.document.tokens).toEqual(dense.document.tokens);
    expect([oracle.document.stats.mode, all.document.stats.mode]).toEqual(["oracle", "predicted"]);
    expect(all.document.stats.neuronsNamedPerToken).toBe(TINY.nLayers * TINY.dFf);
  });
  it("keeps a budget, given as bytes or as a share of the file, and refuses one that cannot do", async () => {
    const tight = await run("--tokens", "2", "--dram-budget", "1KiB");
    expect([tight.status, tight.document.error.code]).toEqual([1, "BUDGET_TOO_SMALL"]);
    const { smallestBudgetBytes } = tight.document.error.details;
    const enough = await run(
      "--tokens",
      "2",
      "--dram-budget",
      `${smallestBudgetBytes + 65536}`,
      "--kv-precision",
      "int8",
    );
    expect(enough.status).toBe(0);
    const { dramBytes, kvDType } = enough.document.stats;
    expect(dramBytes.total).toBeLessThanOrEqual(dramBytes.budget);
    expect([dramBytes.budget, kvDType]).toEqual([smallestBudgetBytes + 65536, "int8"]);
    const { document } = await flashwickJson(["inspect", model]);
    const share = await run("--tokens", "2", "--dram-budget", "500%");
    expect(share.document.stats.dramBytes.budget).toBe(5 * document.fileBytes);
  });
  it("reports window and policy", async () => {
    const windowed = await run("--tokens", "2", "--predictor", predictor, "--window", "3");
    expect(windowed.document.stats.policy).toBe("window 3");
    expect((await run("--tokens", "2", "--predictor", predictor, "--policy", "lru")).document.stats.policy).toBe("lru");
  });
  it("samples reproducibly", async () => {
    const sampled = (seed: string) => run("--tokens", "2", "--temperature", "5", "--seed", seed);
    const first = await sampled("1");
    expect((await sampled("1")).document.tokens).toEqual(first.document.tokens);
    expect((await sampled("2")).document.tokens).not.toEqual(first.document.tokens);
  });
  it.each([
    ["a predictor of another model", ["--tokens", "2", "--predictor", "foreign.gguf"], "INTEGRITY_FINGERPRINT"],
    ["a predictor that is not there", ["--tokens", "2", "--predictor", "none.gguf"], "IO_NOT_FOUND"],
    ["a token outside the vocabulary", ["--tokens", "2,512"], "INPUT_TOKEN_RANGE"],
    ["a prompt beyond the context", ["--tokens", new Array(129).fill(5).join(",")], "INPUT_CONTEXT_LENGTH"],
    ["a prompt file that is not there", ["--prompt-file", "none.txt"], "IO_NOT_FOUND"],
    ["a backend that this version has not", ["--tokens", "2", "--backend", "webgpu"], "UNSUPPORTED_FEATURE"],
  ])("refuses %s", async (_, argv, code) => {
    const at = argv.map((word) => (/\.(gguf|txt)$/.test(word) ? join(dir, word) : word));
    const { status, document } = await run(...at);
    expect([status, document.error.code]).toEqual([1, code]);
  });
  it("says that activations have eight bits, in the document and beside it, and refuses other numbers", async () => {
    const argv = ["run", model, "--max-tokens", "2", "--tokens", "2,17", "--backend", "reference"];
    const { out, err } = await flashwick([...argv, "--activation-bits", "8"]);
    expect(err).toContain("note: activations have 8 bits beside ggml's blocks");
    expect(out + err).toMatch(/reference kernels on 1 thread, activations of 8 bits beside blocks/);
    const { document } = await run("--tokens", "2,17", "--backend", "reference", "--activation-bits", "8");
    expect(document.stats.activationBits).toBe(8);
    expect((await run("--tokens", "2,17")).document.stats.activationBits).toBeNull();
    const refused = await flashwick([...argv, "--activation-bits", "7"]);
    expect([refused.status, refused.err]).toEqual([
      2,
      expect.stringMatching(/--activation-bits.*Allowed choices are 8/),
    ]);
  });
  it("ends with what it has after Ctrl-C, with status 130", async () => {
    const interrupt = new AbortController();
    const argv = ["run", model, "--tokens", "2", "--max-tokens", "100", "--json", "--stream"];
    const { status, out } = await flashwick(argv, { signal: interrupt.signal, onOut: () => interrupt.abort() });
    const result = JSON.parse(out.trimEnd().split("\n").at(-1)!);
    expect(status).toBe(130);
    expect(result.finishReason).toBe("aborted");
    expect(result.tokens.length).toBeLessThanOrEqual(2);
    expect(Object.keys(result.stats)).toEqual(expect.arrayContaining(STATS));
  });
});

describe("run --limit", () => {
  const LIMIT = [
    "dramBytes",
    "dramBytesPerSec",
    "dramMs",
    "flashBytesPerSec",
    "flashMs",
    "togetherMs",
    "times",
    "leftMs",
  ];
  it("measures what the machine could have done, and says where the rest of the time went", async () => {
    const { document } = await run("--tokens", "2,17,101", "--limit", "on");
    const { limit, tokenMs } = document.stats;
    expect(Object.keys(limit)).toEqual(LIMIT);
    expect(Object.keys(limit.leftMs)).toEqual(["reads", "compute", "cache", "check", "other", "inTurns"]);
    expect(limit.times).toBeCloseTo(tokenMs.mean / limit.togetherMs, 9);
    const { err } = await flashwick([
      "run",
      model,
      "--max-tokens",
      "6",
      "--tokens",
      "2,17",
      "--dense",
      "--limit",
      "on",
    ]);
    expect(err).toMatch(
      /^limit +[\d.]+ ms a token: DRAM .* GB\/s\).*\nbeyond it +this run took [\d.e+]+ times that; left: /m,
    );
  });
  it("leaves small files alone, unless it is told to measure", async () => {
    for (const argv of [[], ["--limit", "auto"], ["--limit", "off"]]) {
      expect((await run("--tokens", "2,17,101", ...argv)).document.stats.limit).toBeNull();
    }
    const { err } = await flashwick(["run", model, "--max-tokens", "6", "--tokens", "2,17", "--dense"]);
    expect(err).not.toMatch(/^limit/m);
  });
  it("is null where nothing was decoded", async () => {
    const { document } = await flashwickJson(["run", model, "--max-tokens", "1", "--tokens", "2,17", "--limit", "on"]);
    expect(document.stats.limit).toBeNull();
  });
});

describe("bench ladder --limit", () => {
  const device = () => {
    const file = join(dir, "device.json");
    writeFileSync(file, JSON.stringify(devicePreset("nvme-pcie4")));
    return file;
  };
  const LADDER = [
    "--only",
    "half",
    "--prompt-tokens",
    "3",
    "--decode",
    "2",
    "--check-tokens",
    "2",
    "--dram-budget",
    "300%",
  ];
  const ladder = (...argv: string[]) => ["bench", "ladder", model, ...LADDER, "--device", device(), ...argv];
  it("gives each rung its limit, and shows a person how many times longer it took, and on what", async () => {
    const { document } = await flashwickJson(ladder("--limit", "on"));
    const [{ limit, totalMs }] = document.rungs;
    expect(limit.times).toBeCloseTo(totalMs / limit.togetherMs, 9);
    const { out } = await flashwick(ladder("--limit", "on"));
    expect(out).toMatch(/^rung .* limit +times /m);
    expect(out).toMatch(/^beyond the limit +ms a token\nhalf resident +\S/m);
  });
  it("leaves small files alone", async () => {
    const { document } = await flashwickJson(ladder());
    expect(document.rungs[0].limit).toBeNull();
    const { out } = await flashwick(ladder());
    expect(out).not.toContain("beyond the limit");
  });
});

describe("score", () => {
  it("gives the document of the contract", async () => {
    const { status, document } = await flashwickJson([
      "score",
      model,
      "--tokens",
      "2,17,101",
      "--top",
      "4",
      "--probe",
      "7,511",
    ]);
    expect(status).toBe(0);
    expect(document.tokens).toEqual([2, 17, 101]);
    expect(document.positions).toHaveLength(3);
    for (const position of document.positions) {
      expect(position.top).toHaveLength(4);
      expect(position.probe.map(([id]: [number]) => id)).toEqual([7, 511]);
      expect(position.logSumExp).toBeGreaterThan(position.top[0][1]);
    }
    expect(document.positions[0].logprob).toBeNull();
    expect(document.positions[1].logprob).toBeLessThan(0);
  });
  it("scores a text with its special token, and shows it to a person", async () => {
    expect((await flashwickJson(["score", model, "--text", "Hi"])).document.tokens).toHaveLength(3);
    expect((await flashwick(["score", model, "--text", "Hi"])).out).toMatch(/^position +token +logprob/);
  });
  it("is dense, and the same with the oracle and with every neuron named", async () => {
    const score = (...argv: string[]) => flashwickJson(["score", model, "--tokens", "2,17,101", ...argv]);
    const dense = await score();
    expect((await score("--oracle")).document).toEqual(dense.document);
    expect((await score("--predictor", predictor, "--threshold", "-inf")).document).toEqual(dense.document);
    expect((await score("--predictor", predictor)).document).not.toEqual(dense.document);
  });
});

describe("eval", () => {
  const evaluate = (...argv: string[]) =>
    flashwickJson([
      "eval",
      model,
      "--text",
      join(dir, "text.txt"),
      "--window-tokens",
      "32",
      "--max-windows",
      "2",
      ...argv,
    ]);

  it("gives the document of the contract", async () => {
    const { status, document } = await evaluate("--predictor", predictor, "--against", "dense");
    expect(status).toBe(0);
    expect(document).toMatchObject({ tokens: 62, windows: 2, mode: "predicted" });
    expect(document.perplexity).toBeCloseTo(Math.exp(document.meanNll), 6);
    expect(Object.keys(document.against)).toEqual(
      expect.arrayContaining(["perplexity", "top1Agreement", "meanKl", "maxKl"]),
    );
    expect(document.against.meanKl).toBeGreaterThan(0);
    expect(document.activeShareByLayer).toHaveLength(TINY.nLayers);
    expect(document.namedShareByLayer).toHaveLength(TINY.nLayers);
    for (const key of ["recall", "missedMass", "flashBytesPerToken"]) expect(document[key]).toEqual(expect.any(Number));
  });
  it("agrees with itself", async () => {
    const { document } = await evaluate("--oracle", "--against", "dense");
    expect(document.against).toMatchObject({ top1Agreement: 1, meanKl: 0, maxKl: 0 });
    const file = await evaluate("--dense", "--against", model);
    expect(file.document.against).toMatchObject({ perplexity: document.perplexity, top1Agreement: 1 });
  });
  it("leaves out the comparison that nobody asked for", async () => {
    expect((await evaluate("--dense")).document).not.toHaveProperty("against");
  });
  it("shows a person a table by layer", async () => {
    const { out } = await flashwick([
      "eval",
      model,
      "--text",
      join(dir, "text.txt"),
      "--window-tokens",
      "32",
      "--max-windows",
      "1",
      "--dense",
      "--against",
      "dense",
    ]);
    expect(out).toMatch(/perplexity +\d/);
    expect(out).toMatch(/^layer +active/m);
  });
  it("refuses a text shorter than a window", async () => {
    writeFileSync(join(dir, "short.txt"), "Hi");
    const { status, document } = await flashwickJson(["eval", model, "--text", join(dir, "short.txt")]);
    expect([status, document.error.code]).toEqual([1, "INPUT_INVALID"]);
  });
});

describe("demo", () => {
  it("makes the model once, keeps to less than its file, and says what it cost", async () => {
    const models = join(dir, "models");
    const first = await flashwickJson(["demo", "--dir", models, "--max-tokens", "3"]);
    expect(first.status).toBe(0);
    expect(first.err).toContain("Converting");
    const { document } = first;
    expect(document).toMatchObject({ model: join(models, "opt-demo.gguf"), prompt: "In the beginning" });
    expect(document.tokens).toHaveLength(3);
    expect(document.stats.dramBytes.budget).toBe(Math.floor(0.7 * document.fileBytes));
    expect(document.stats.dramBytes.total).toBeLessThanOrEqual(document.stats.dramBytes.budget);
    const second = await flashwick(["demo", "--dir", models, "--max-tokens", "3", "--budget", "90%"]);
    expect(second.err).not.toContain("Converting");
    expect(second.out).toContain("In the beginning");
    expect(second.out).toMatch(/^flash +[\d.]+ \w+ in [\d.]+ reads per token; naive/m);
  });
});

describe("train", () => {
  it("refuses an existing file before it trains", async () => {
    const argv = ["train", model, "--text", join(dir, "text.txt"), "-o", predictor];
    const { status, document } = await flashwickJson(argv);
    expect([status, document.error.code]).toEqual([1, "IO_EXISTS"]);
  });
  it.each([
    ["a text that is not there", "none.txt", "IO_NOT_FOUND"],
    ["a text that is too short", "text.txt", "INPUT_INVALID"],
  ])("refuses %s, and leaves nothing", async (_, text, code) => {
    const before = readdirSync(dir).sort();
    const argv = ["train", model, "--text", join(dir, text), "-o", join(dir, "new.gguf")];
    const { status, document, err } = await flashwickJson(argv);
    expect([status, document.error.code, err]).toEqual([1, code, ""]);
    expect(readdirSync(dir).sort()).toEqual(before);
  });
  it("deleted the samples of an interrupted training unasked: now it asks for --resume or --force", async () => {
    const output = join(dir, "samples.gguf");
    const samples = join(dir, ".samples.gguf.training");
    mkdirSync(samples);
    writeFileSync(join(samples, "samples.json"), "{}");
    const argv = ["train", model, "--text", join(dir, "text.txt"), "-o", output];
    const refused = await flashwickJson(argv);
    expect([refused.status, refused.document.error.code]).toEqual([1, "IO_EXISTS"]);
    expect(refused.document.error.message).toMatch(
      /\.samples\.gguf\.training: .* --resume, or drop them with --force$/,
    );
    expect(readdirSync(samples)).toEqual(["samples.json"]);
    expect(readdirSync(dir).filter((name) => name.includes("partial"))).toEqual([]);
    // Given up, and then the text is too short.
    expect((await flashwickJson([...argv, "--force"])).document.error.code).toBe("INPUT_INVALID");
    expect(existsSync(samples)).toBe(false);
  });
  it("left samples for ever when it was killed after its output was whole: the next call removes them", async () => {
    const output = join(dir, "whole.gguf");
    writeFileSync(output, "whole");
    mkdirSync(join(dir, ".whole.gguf.training.dropped"));
    const { status, document } = await flashwickJson(["train", model, "--text", join(dir, "text.txt"), "-o", output]);
    expect([status, document.error.code]).toEqual([1, "IO_EXISTS"]);
    expect(existsSync(join(dir, ".whole.gguf.training.dropped"))).toBe(false);
  });
  it("trains chosen layers into a file that it can run with; interrupted and resumed, into the same bytes", async () => {
    const trainee = join(dir, "trainee.gguf");
    const sidecar = join(dir, "trainee.predictor.gguf");
    const { checkpointDir, texts } = demoModels["opt-demo"];
    await flashwick(["convert", checkpointDir, "-o", trainee]);
    const wish = ["--tokens", "2048", "--epochs", "1", "--rank", "8", "--layers", "2-3", "--workers", "0"];
    const train = (output: string, ...more: string[]) => [
      "train",
      trainee,
      "--text",
      texts.calibration,
      "-o",
      output,
      ...wish,
      ...more,
    ];

    const { status, err, document } = await flashwickJson(train(sidecar, "--quiet"));
    expect([status, err, document.error]).toEqual([0, "", undefined]);
    type Layer = { layer: number; rank: number };
    expect(document.layers.map(({ layer, rank }: Layer) => [layer, rank])).toEqual([
      [2, 8],
      [3, 8],
    ]);
    expect(Object.keys(document.layers[0])).toEqual(
      expect.arrayContaining(["threshold", "trueActiveShare", "namedShare", "recall", "precision", "missedMass"]),
    );
    const header = await flashwickJson(["inspect", sidecar]);
    expect(header.document).toMatchObject({ kind: "predictor", fingerprint: document.fingerprint });
    expect(header.document.layers[2].recall).toBe(document.layers[0].recall);
    expect((await flashwickJson(["verify", sidecar])).document.ok).toBe(true);

    const { stats } = (await flashwickJson(["run", trainee, "--tokens", "2,263", "--max-tokens", "3"])).document;
    expect(stats.mode).toBe("predicted");
    expect(stats.neuronsNamedPerToken).toBeGreaterThanOrEqual(6 * 1024);
    expect(stats.neuronsNamedPerToken).toBeLessThan(8 * 1024);

    const again = join(dir, "again.gguf");
    const interrupt = new AbortController();
    const onErr = (text: string) => text.includes("record") && interrupt.abort();
    const stopped = await flashwick(train(again), { signal: interrupt.signal, isTty: true, onErr });
    expect(stopped.status).toBe(130);
    expect(stopped.err).toContain("--resume");
    expect(existsSync(again)).toBe(false);
    expect((await flashwick(train(again, "--resume"))).status).toBe(0);
    expect(readFileSync(again).equals(readFileSync(sidecar))).toBe(true);
    expect(readdirSync(dir).filter((name) => /training|partial/.test(name))).toEqual([]);
  });
});
