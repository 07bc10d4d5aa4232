/**
 * A GGUF file of llama.cpp: flashwick beside node-llama-cpp on the same file, in turns; writes docs/results/<out>.csv. All of it in memory,
 *
 *     npm install --prefix peer node-llama-cpp@3.22.1
 *     pnpm build && node tools/results/gguf-peers.mjs model.gguf --peer peer [--rounds 3] [--tokens 64] [--prefill 512] [--threads 2] [--out gguf-peers.csv]
 *
 * or each engine within a memory control group of a share of the file, page cache included, cold:
 *
 *     node tools/results/gguf-peers.mjs model.gguf --peer peer --memory 50 --peer-preload peer-without-repack.so --tokens 24 --peer-tokens 6 --prefill 64
 *
 * A mixture of experts decodes a text that is given, in both engines, so that both use the same experts (`--given`); then hits and bytes of decoding are in the table, too.
 *
 * With `--activation-bits 8` ours runs a second time in each turn, with activations of eight bits; that needs Node 22.
 *
 * Each run is a process of its own. Prefill is the time until the first token after a prompt of that many tokens; decoding is the tokens after it.
 * In a group, the peer needs src/peer-without-repack.c, which says why. Ours decodes three times: a text that goes on and repeats nothing, plainly, the same with drafts from the text, and one that
 * copies the prompt, with drafts. The text is given, whatever the logits are, so that a draft is accepted where the text copies, and all costs are real.
 */
import { execFileSync } from "node:child_process";
import { statSync } from "node:fs";
import { basename, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { inTurns, median, ratios } from "./src/in-turns.mjs";
import { machineName } from "./src/machine-name.mjs";
import { writeTable } from "./src/results-table.mjs";
import { scriptArguments } from "./src/script-arguments.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const { words, flags } = scriptArguments({
  usage: "gguf-peers.mjs <model.gguf> --peer <folder with node-llama-cpp> [--memory <percent of the file>]",
  words: 1,
  flags: {
    ...{ peer: null, rounds: "3", tokens: "64", "peer-tokens": null, prefill: "512", threads: "2", memory: null },
    ...{ given: false, "peer-preload": null, "activation-bits": null, out: "gguf-peers.csv" },
  },
  needed: ["peer"],
});
const [path] = words;
const threads = Number(flags.threads);
const prefill = Number(flags.prefill);
const tokens = Number(flags.tokens);
const groupBytes = flags.memory === undefined ? null : Math.floor((statSync(path).size * Number(flags.memory)) / 100);

/** What Node, the program and its threads take beside the budget: measured, 150 MiB in all; packages/runtime/README.md, "Memory". */
const OVERHEAD_BYTES = 144 * 2 ** 20;
const THREAD_BYTES = 3 * 2 ** 20;
const READERS = 8;

const ours = { path, threads, prefill, tokens };
const text = flags.given ? { text: "new" } : {};
const peers = { ...ours, ...text, peer: flags.peer, tokens: Number(flags["peer-tokens"] ?? tokens) };
const peer = { name: "node-llama-cpp", engine: "node-llama-cpp", run: peers };
const contenders = groupBytes === null ? [...inMemoryAlone(), peer] : [...inGroup(), peer];

function inMemoryAlone() {
  const plain = { name: flags.given ? "given" : "greedy", engine: "flashwick", run: { ...ours, ...text } };
  const bits = flags["activation-bits"];
  if (bits === undefined) return [plain];
  const run = { ...plain.run, activationBits: Number(bits) };
  return [plain, { ...plain, name: `${plain.name}, activations of ${bits} bits`, run }];
}

function inGroup() {
  const budget = groupBytes - OVERHEAD_BYTES - (READERS + threads) * THREAD_BYTES;
  const limited = { ...ours, budget, readers: READERS };
  if (flags.given) return [{ name: "given", engine: "flashwick", run: { ...limited, text: "new" } }];
  return [
    { name: "text that repeats nothing, plain", engine: "flashwick", run: { ...limited, text: "new" } },
    { name: "text that repeats nothing, drafts", engine: "flashwick", run: { ...limited, text: "new", lookup: true } },
    { name: "text that copies, drafts", engine: "flashwick", run: { ...limited, text: "copied", lookup: true } },
  ];
}

function measure({ name, engine, run }) {
  const command = [process.execPath, fileURLToPath(new URL("./src/gguf-engine.mjs", import.meta.url)), engine];
  const preload = engine === "flashwick" ? undefined : flags["peer-preload"];
  const env = { ...process.env, ...(preload && { LD_PRELOAD: resolve(preload) }) };
  const inMemory = groupBytes === null ? alone : grouped;
  const { firstMs, tokenMs, readBytes, decodeReadBytes, hitShare } = inMemory([...command, JSON.stringify(run)], env);
  const decode = (1000 * tokenMs.length) / tokenMs.reduce((sum, ms) => sum + ms, 0);
  const sorted = tokenMs.toSorted((a, b) => a - b);
  const result = {
    ...{ decode, prefill: (1000 * run.prefill) / firstMs, readBytes, hitShare },
    decodeBytes: decodeReadBytes / tokenMs.length,
    p50: sorted[Math.floor(sorted.length / 2)],
    p99: sorted[Math.floor(0.99 * sorted.length)],
  };
  console.error(`${engine}, ${name}: ${decode.toFixed(2)} tokens/s, prefill ${result.prefill.toFixed(1)}`);
  return result;
}

function alone([program, ...args], env) {
  return JSON.parse(execFileSync(program, args, { env, maxBuffer: 1 << 26 }).toString());
}

/** Cold, and within the group. `flashwick bench memory` prints what its command printed among its notes. */
function grouped(command, env) {
  execFileSync("/bin/sh", ["-c", "sync; echo 3 > /proc/sys/vm/drop_caches"]);
  const program = fileURLToPath(new URL("../../apps/cli/dist/flashwick.js", import.meta.url));
  const args = [program, "bench", "memory", "--limit", `${groupBytes}`, "--", ...command];
  const printed = execFileSync("/bin/sh", ["-c", '"$0" "$@" 2>&1', process.execPath, ...args], {
    env,
    maxBuffer: 1 << 26,
  });
  return JSON.parse(
    printed
      .toString()
      .split("\n")
      .findLast((line) => line.startsWith("{")),
  );
}

const results = await inTurns(
  contenders.map((contender) => () => measure(contender)),
  Number(flags.rounds),
);
const theirs = results.at(-1);
const machine = machineName();
const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root }).toString().trim();
const rows = contenders.slice(0, -1).flatMap(({ name, run }, index) =>
  ["decode", "prefill"].map((what) => {
    const of = (runs) => runs.map((one) => one[what]);
    const over = ratios(of(results[index]), of(theirs));
    return {
      file: basename(path),
      memory_bytes: groupBytes ?? "all",
      text: name,
      what,
      flashwick_tokens_per_s: median(of(results[index])),
      node_llama_cpp_tokens_per_s: median(of(theirs)),
      times: over.median,
      least: over.least,
      most: over.most,
      threads,
      tokens: what === "decode" ? run.tokens : prefill,
      peer_tokens: what === "decode" ? peers.tokens : prefill,
      rounds: Number(flags.rounds),
      ...(what === "decode" && flags.given ? given(results[index]) : {}),
      machine,
      node: process.version,
      commit,
    };
  }),
);
/** Medians of what is known of our decoding, and of the peer's bytes. */
function given(of) {
  const mean = (pick) => median(of.map(pick));
  return {
    hit_share: mean(({ hitShare }) => hitShare),
    bytes_a_token: mean(({ decodeBytes }) => decodeBytes),
    ...{ p50_ms: mean(({ p50 }) => p50), p99_ms: mean(({ p99 }) => p99) },
    peer_bytes_a_token: median(theirs.map(({ decodeBytes }) => decodeBytes)),
    peer_p99_ms: median(theirs.map(({ p99 }) => p99)),
  };
}

console.log(writeTable(flags.out, rows));
