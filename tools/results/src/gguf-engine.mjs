/**
 * A process of its own around one engine, flashwick or node-llama-cpp, on a GGUF file of llama.cpp: a prompt, then some tokens. Prints one JSON
 * document, `{ firstMs, tokenMs: number[], readBytes, decodeReadBytes, hitShare }`: until the first token of the prompt, of each token after it, and what came from the
 * device, in all and while decoding. `hitShare` is ours alone, of a mixture's experts while decoding, else null.
 *
 *     node gguf-engine.mjs flashwick '{ "path": "model.gguf", "threads": 2, "prefill": 512, "tokens": 64 }'
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/**
 * @typedef {object} EngineRun
 * @property {string} path
 * @property {number} threads
 * @property {number} prefill  Tokens of the prompt.
 * @property {number} tokens  Decoded after the first.
 * @property {string} [peer]  Folder with node-llama-cpp.
 * @property {number} [budget]  Ours: bytes of DRAM; without it everything is in memory.
 * @property {number} [readers]  Ours.
 * @property {8} [activationBits]  Ours: beside blocks.
 * @property {"greedy" | "new" | "copied"} [text]  What decoding yields. Greedy tokens, or a given text, whatever the logits are: one that goes
 *   on and repeats nothing, or, ours alone, one that repeats the prompt.
 * @property {boolean} [lookup]  Ours: drafts from the text itself.
 */

const [engine, document] = process.argv.slice(2);
/** @type {EngineRun} */
const run = JSON.parse(document);
const text = readFileSync(
  fileURLToPath(new URL("../../../packages/demo-models/texts/evaluation.txt", import.meta.url)),
  "utf8",
);
const contextTokens = run.prefill + run.tokens + 8;
/** Bytes that had been read when decoding began. */
let beforeDecode = Number.NaN;
let hitShare = null;
const times = await (engine === "flashwick" ? measureOurs() : measurePeer());
const [firstMs, ...tokenMs] = times;
const readBytes = bytesRead();
const result = { firstMs, tokenMs, readBytes, decodeReadBytes: readBytes - beforeDecode, hitShare };
process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));

function bytesRead() {
  return Number(/^read_bytes: (\d+)$/m.exec(readFileSync("/proc/self/io", "utf8"))?.[1] ?? Number.NaN);
}

async function measureOurs() {
  const { openModel } = await import("@flashwick/runtime/node");
  const { threads, readers, budget, activationBits } = run;
  const limited = budget === undefined ? {} : { dramBudgetBytes: budget, kvPrecision: "f16" };
  const model = await openModel(run.path, {
    ...{ threads, readers, activationBits, contextTokens, mode: "dense" },
    ...limited,
  });
  const words = model.tokenizer.encode(text, {});
  const prompt = words.slice(0, run.prefill);
  // Weights are loaded by the first request.
  for await (const _ of model.generate(prompt.slice(0, 4), { maxTokens: 1, ignoreEos: true }));
  const measure = (run.text ?? "greedy") === "greedy" ? greedyTokens : givenTokens;
  const measured = await measure(model, prompt, words);
  await model.close();
  return measured;
}

async function greedyTokens(model, prompt) {
  const times = [];
  let last = performance.now();
  for await (const { token } of model.generate(prompt, { maxTokens: run.tokens + 1, ignoreEos: true })) {
    if (token === null) continue;
    const now = performance.now();
    times.push(now - last);
    last = now;
  }
  return times;
}

async function givenTokens(model, prompt, words) {
  const { decodeGiven } = await import("./given-text.mjs");
  // A text that copies begins again where the prompt began.
  const begin = run.text === "copied" ? 0 : run.prefill;
  const next = words.slice(begin, begin + run.tokens + 1);
  return await model.withSequence(prompt.length + run.tokens + 2, async (sequence) => {
    const start = performance.now();
    await sequence.prefill(prompt);
    const firstMs = performance.now() - start;
    beforeDecode = bytesRead();
    const counted = () => sequence.engine.caches.map(({ counters }) => ({ ...counters }));
    const before = counted();
    const steps = await decodeGiven(sequence, next, run.tokens + 1, run.lookup ? "auto" : "off");
    const used = counted().map(({ hits, misses }, i) => [hits - before[i].hits, misses - before[i].misses]);
    const [hits, misses] = used.reduce(([a, b], [c, d]) => [a + c, b + d], [0, 0]);
    if (hits + misses > 0) hitShare = hits / (hits + misses);
    return [firstMs, ...steps.flatMap(({ ms, tokens }) => Array(tokens).fill(ms / tokens))];
  });
}

async function measurePeer() {
  const entry = createRequire(join(resolve(run.peer), "package.json")).resolve("node-llama-cpp");
  const { getLlama } = await import(pathToFileURL(entry).href);
  const llama = await getLlama({ gpu: false, build: "never", maxThreads: run.threads, logLevel: "error" });
  const model = await llama.loadModel({ modelPath: run.path, gpuLayers: 0, useMmap: true, useDirectIo: false });
  const context = await model.createContext({
    ...{ contextSize: contextTokens, threads: run.threads, batchSize: Math.min(512, run.prefill + 8), sequences: 1 },
  });
  const sequence = context.getSequence();
  const prompt = model.tokenize(text).slice(0, run.prefill);
  const decode = async (tokens, most) => {
    const times = [];
    let last = performance.now();
    for await (const _ of sequence.evaluate(tokens, { temperature: 0 })) {
      const now = performance.now();
      times.push(now - last);
      last = now;
      if (times.length > most) break;
    }
    return times;
  };
  await decode(prompt.slice(0, 4), 1);
  await sequence.clearHistory();
  if ((run.text ?? "greedy") === "greedy") return await decode(prompt, run.tokens);
  const [firstMs] = await decode(prompt, 0);
  beforeDecode = bytesRead();
  const tokenMs = [];
  for (const token of model.tokenize(text).slice(run.prefill, run.prefill + run.tokens)) {
    const [ms] = await decode([token], 0);
    tokenMs.push(ms);
  }
  return [firstMs, ...tokenMs];
}
