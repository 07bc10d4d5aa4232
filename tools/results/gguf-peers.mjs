/**
 * A GGUF file of llama.cpp, everything in memory: flashwick beside node-llama-cpp on the same file, in turns; writes docs/results/<out>.csv:
 *
 *     npm install --prefix peer node-llama-cpp@3.22.1
 *     pnpm build && node tools/results/gguf-peers.mjs model.gguf --peer peer [--rounds 3] [--tokens 64] [--prefill 512] [--threads 2] [--out gguf-peers.csv]
 *
 * Each run is a process of its own, warm: the file lies in the page cache. Prefill is the time until the first token after a prompt of that many
 * tokens; decoding is the tokens after it.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { basename, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { inTurns, median, ratios } from "./src/in-turns.mjs";
import { writeTable } from "./src/results-table.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    peer: { type: "string" },
    rounds: { type: "string", default: "3" },
    tokens: { type: "string", default: "64" },
    prefill: { type: "string", default: "512" },
    threads: { type: "string", default: "2" },
    out: { type: "string", default: "gguf-peers.csv" },
    /** Of this script itself: who is measured, in a process of its own. */
    engine: { type: "string" },
  },
});
const [path] = positionals;
if (!path || (!flags.engine && !flags.peer)) {
  console.error("usage: gguf-peers.mjs <model.gguf> --peer <folder with node-llama-cpp>");
  process.exit(2);
}
const threads = Number(flags.threads);
const count = Number(flags.tokens);
const text = readFileSync(join(root, "packages/demo-models/texts/evaluation.txt"), "utf8");

/** What both engines print of themselves: milliseconds until the first token, and of each token after it. */
async function measureOurs() {
  const { openModel } = await import("@flashwick/runtime/node");
  const contextTokens = Number(flags.prefill) + count + 1;
  const model = await openModel(path, { threads, contextTokens, mode: "dense" });
  const prompt = model.tokenizer.encode(text, {}).slice(0, Number(flags.prefill));
  // Weights are loaded by the first request.
  for await (const _ of model.generate(prompt.slice(0, 4), { maxTokens: 1, ignoreEos: true }));
  const times = [];
  let last = performance.now();
  for await (const { token } of model.generate(prompt, { maxTokens: count + 1, ignoreEos: true })) {
    if (token === null) continue;
    const now = performance.now();
    times.push(now - last);
    last = now;
  }
  await model.close();
  return times;
}

async function measurePeer() {
  const { createRequire } = await import("node:module");
  const entry = createRequire(join(resolve(flags.peer), "package.json")).resolve("node-llama-cpp");
  const { getLlama } = await import(pathToFileURL(entry).href);
  const llama = await getLlama({ gpu: false, build: "never", maxThreads: threads, logLevel: "error" });
  const model = await llama.loadModel({ modelPath: path, gpuLayers: 0 });
  const contextSize = Number(flags.prefill) + count + 8;
  const context = await model.createContext({ contextSize, threads, batchSize: 512, sequences: 1 });
  const sequence = context.getSequence();
  const prompt = model.tokenize(text).slice(0, Number(flags.prefill));
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
  return await decode(prompt, count);
}

if (flags.engine) {
  const times = await (flags.engine === "flashwick" ? measureOurs() : measurePeer());
  const [firstMs, ...tokenMs] = times;
  process.stdout.write(`${JSON.stringify({ firstMs, tokenMs })}\n`, () => process.exit(0));
} else {
  const run = (engine) => {
    const args = [fileURLToPath(import.meta.url), path, "--engine", engine, "--peer", flags.peer];
    for (const name of ["tokens", "prefill", "threads"]) args.push(`--${name}`, flags[name]);
    const { firstMs, tokenMs } = JSON.parse(execFileSync(process.execPath, args, { maxBuffer: 1 << 26 }).toString());
    const decode = (1000 * tokenMs.length) / tokenMs.reduce((sum, ms) => sum + ms, 0);
    const prefill = (1000 * Number(flags.prefill)) / firstMs;
    console.error(`${engine}: ${decode.toFixed(1)} tokens/s, prefill ${prefill.toFixed(1)}`);
    return { decode, prefill };
  };
  const engines = ["flashwick", "node-llama-cpp"];
  const results = await inTurns(
    engines.map((engine) => () => run(engine)),
    Number(flags.rounds),
  );
  const machine = `${cpus()[0].model.trim()} x${cpus().length}`;
  const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root }).toString().trim();
  const rows = ["decode", "prefill"].map((what) => {
    const [ours, peers] = results.map((runs) => runs.map((run) => run[what]));
    const over = ratios(ours, peers);
    return {
      file: basename(path),
      what,
      flashwick_tokens_per_s: median(ours),
      node_llama_cpp_tokens_per_s: median(peers),
      times: over.median,
      least: over.least,
      most: over.most,
      threads,
      tokens: what === "decode" ? count : Number(flags.prefill),
      rounds: Number(flags.rounds),
      machine,
      node: process.version,
      commit,
    };
  });
  console.log(writeTable(flags.out, rows));
}
