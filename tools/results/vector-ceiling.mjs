/**
 * How fast a model of Q4_K and Q6_K can be on this machine with vectors of 128 bits and exact activations, whoever writes the kernels, beside what a peer
 * with longer ones was measured at; writes docs/results/vector-ceiling.csv:
 *
 *     pnpm build && node tools/results/vector-ceiling.mjs llama-7b-q4_k_m.gguf [--peers llama-7b-peers.csv] [--threads 2]
 *
 * Needs gcc. The ceiling of decoding is the time of the model's matrices alone, each at the faster of C's rate (src/vector-ceiling.c) and of ours: attention,
 * norms, hand-overs and everything else take nothing. That of a prompt is the rate at which the processor multiplies and adds what is in registers.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { readGgufHeader } from "@flashwick/flash-format";
import { fileSource } from "@flashwick/flash-format/node";
import { measureKernels } from "@flashwick/kernels-wasm/node";
import { machineName } from "./src/machine-name.mjs";
import { markdownTable, writeTable } from "./src/results-table.mjs";
import { scriptArguments } from "./src/script-arguments.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const { words, flags } = scriptArguments({
  usage: "vector-ceiling.mjs <model.gguf> [--peers <file of docs/results>] [--threads 2]",
  words: 1,
  flags: { peers: "llama-7b-peers.csv", threads: "2" },
});
const [path] = words;
const threads = Number(flags.threads);
const TYPES = ["q4_k", "q6_k"];
const HEAD = /^output\.weight$/;

/** Weights of the matrices that every token passes over, by type, and those of the layers. */
async function weightsOf(file) {
  const source = await fileSource(file);
  try {
    const { tensors } = await readGgufHeader(source);
    const matrices = tensors.filter(({ name, shape }) => shape.length === 2 && !name.startsWith("token_embd"));
    const count = (of) => of.reduce((sum, { shape }) => sum + shape[0] * shape[1], 0);
    const byType = TYPES.map((type) => count(matrices.filter((tensor) => tensor.type.toLowerCase() === type)));
    const other = count(matrices) - byType[0] - byType[1];
    if (other > 0) throw new Error(`${file}: ${other} weights are neither Q4_K nor Q6_K`);
    return { byType, layers: count(matrices.filter(({ name }) => !HEAD.test(name))) };
  } finally {
    await source.close();
  }
}

/** @returns As the program prints it. */
function ceilingOfC() {
  const folder = mkdtempSync(join(tmpdir(), "vector-ceiling-"));
  try {
    const program = join(folder, "vector-ceiling");
    const source = join(root, "tools/results/src/vector-ceiling.c");
    execFileSync("gcc", ["-O3", "-mavx", "-mf16c", "-pthread", "-o", program, source, "-lm"]);
    return JSON.parse(execFileSync(program, [`${threads}`]).toString());
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** 10^9 weights a second by type, from DRAM, as engines have them. */
async function oursByType() {
  const rows = await measureKernels({ threads, dtypes: TYPES, leastMs: 1500 });
  return TYPES.map((type) => rows.find((row) => row.dtype === type && row.threads === threads).gweightsPerSec);
}

/** Tokens a second of the peer and of us, by what was measured. */
function measured(name) {
  const [head, ...lines] = readFileSync(join(root, "docs/results", name), "utf8")
    .trim()
    .split("\n");
  const columns = head.split(",");
  const rows = lines.map((line) => Object.fromEntries(line.split(",").map((cell, i) => [columns[i], cell])));
  return (what) => {
    const row = rows.find((one) => one.what === what);
    return { ours: Number(row.flashwick_tokens_per_s), peer: Number(row.node_llama_cpp_tokens_per_s) };
  };
}

const { byType, layers } = await weightsOf(path);
const c = ceilingOfC();
const ours = await oursByType();
const known = measured(flags.peers);
const seconds = (rates) => byType.reduce((sum, weights, i) => sum + weights / (1e9 * rates[i]), 0);
const ofC = [c.q4KGweights, c.q6KGweights];
const ceilings = {
  decode: 1 / seconds(ofC.map((rate, i) => Math.max(rate, ours[i]))),
  prefill: (1e9 * c.productsGflops) / (2 * layers),
};
const rows = Object.entries(ceilings).map(([what, ceiling]) => {
  const beside = known(what);
  return {
    ...{ file: basename(path), what, threads, ceiling_tokens_per_s: ceiling },
    kernels_alone_tokens_per_s: what === "decode" ? 1 / seconds(ours) : "",
    ...{ measured_tokens_per_s: beside.ours, peer_tokens_per_s: beside.peer, ceiling_over_peer: ceiling / beside.peer },
    ...{ c_q4_k_gweights: ofC[0], our_q4_k_gweights: ours[0], c_q6_k_gweights: ofC[1], our_q6_k_gweights: ours[1] },
    ...{
      products_gflops: c.productsGflops,
      machine: machineName(),
      node: process.version,
    },
  };
});
writeTable("vector-ceiling.csv", rows);
const shown = {
  what: "tokens/s",
  ceiling_tokens_per_s: "ceiling at 128 bits",
  kernels_alone_tokens_per_s: "our kernels alone",
  measured_tokens_per_s: "flashwick, measured",
  peer_tokens_per_s: "node-llama-cpp",
  ceiling_over_peer: "ceiling over the peer",
};
console.log(markdownTable(shown, rows));
