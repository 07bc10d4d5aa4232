/**
 * Neurons in scattered slots beside a matrix without gaps, both from DRAM, for one vector and for several.
 *
 *   node bench/neurons.bench.mjs [--threads 1] [--cols 4096] [--passes 60] [--dist ../dist]        (after a build)
 *
 * Check, then time: every conformance case runs first. All rows take turns and each counts with its best pass, and passes are short, so that
 * other work on the machine meets all alike. A layer is a quarter of 192 MiB, of which 12 % of the slots are read, chosen at random; each pass
 * reads the next layer. GB/s are of weight bytes; `neurons` is up and down, of which the down columns whose activation is zero, about
 * half, count but are not read. The share is of `linear` with one vector of the same dtype. `--dist` takes another build's kernels.
 */
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { activationFunction } from "@flashwick/core";
import { Arena } from "@flashwick/kernels";
import { CONFORMANCE_ARENA_BYTES, conformanceCases, runConformanceCase } from "@flashwick/kernels/conformance";

const { values: options } = parseArgs({
  options: {
    threads: { type: "string", default: "1" },
    cols: { type: "string", default: "4096" },
    passes: { type: "string", default: "60" },
    dist: { type: "string", default: "../dist" },
  },
});
const { createComputePool } = await import(`${options.dist}/node.js`);
const [COLS, PASSES] = [Number(options.cols), Number(options.passes)];
const WEIGHT_BYTES = 192 * 2 ** 20;
const LAYERS = 4;
const NAMED_SHARE = 0.12;
const ELEMENT_BYTES = { int8: 1, f16: 2, f32: 4 };
const RELU = activationFunction("relu");
/** Rows of a product with one vector, and with several. */
const ROWS = { one: 2048, several: 512 };
const TOKENS = [1, 2, 4, 8, 16];

const arena = new Arena(WEIGHT_BYTES + 32 * 2 ** 20 + CONFORMANCE_ARENA_BYTES, true);
const pool = await createComputePool({ threads: Number(options.threads) });
const kernels = pool.kernels(arena);
for (const c of conformanceCases) runConformanceCase(kernels, c);

let state = 1;
const random = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state;
};
const weights = arena.allocate(WEIGHT_BYTES, 4096);
// Small numbers of either sign that are normal in every dtype.
const words = arena.u32(weights, WEIGHT_BYTES / 4);
for (let i = 0; i < words.length; i++) words[i] = (random() & 0x83ff83ff) | 0x38003800;
const MOST_TOKENS = Math.max(...TOKENS);
const x = arena.allocate(4 * COLS * MOST_TOKENS, 64);
const values = arena.f32(x, COLS * MOST_TOKENS);
for (let i = 0; i < values.length; i++) values[i] = random() / 2 ** 32 - 0.5;
const out = arena.allocate(4 * Math.max(COLS, ROWS.one) * MOST_TOKENS, 64);
const [act, ones, slots, scales] = [64, 64, 4, 4].map((bytes) => arena.allocate(bytes * 8192, 64));
arena.f32(ones, 16 * 8192).fill(0.5);
const scratch = arena.allocate(kernels.scratchBytes(COLS, MOST_TOKENS), 64);

const jobs = Object.keys(ELEMENT_BYTES).flatMap((dtype) => [
  linear(dtype, 1),
  neurons(dtype, "neurons", 1),
  ...TOKENS.flatMap((nTokens) => [neurons(dtype, "ffnUp", nTokens), neurons(dtype, "ffnDown", nTokens)]),
  ...TOKENS.slice(1).map((nTokens) => linear(dtype, nTokens)),
]);
const best = jobs.map(() => Number.POSITIVE_INFINITY);
for (let pass = -1; pass < PASSES; pass++) {
  for (const [which, { run }] of jobs.entries()) {
    const begin = performance.now();
    run();
    if (pass >= 0) best[which] = Math.min(best[which], performance.now() - begin);
  }
  // Lets the engine put better compiled kernels in place.
  await new Promise((resolve) => setTimeout(resolve, 10));
}
await pool.close();
console.log(`${cpus()[0]?.model ?? "?"}, Node ${process.version}, ${pool.threads} threads, ${COLS} columns\n`);
const speed = (which) => jobs[which].bytes / best[which] / 1e6;
let dense = 0;
for (const [which, { name, dtype, nTokens }] of jobs.entries()) {
  if (name === "linear" && nTokens === 1) dense = speed(which);
  const gbPerSec = `${speed(which).toFixed(1)} GB/s`.padStart(10);
  const share = `${((100 * speed(which)) / dense).toFixed(0)} %`.padStart(6);
  const times = `${(dense / speed(which)).toFixed(2)} x`.padStart(8);
  console.log(`${`${name} ${dtype} x ${nTokens}`.padEnd(20)} ${gbPerSec} ${share} ${times}`);
}

function linear(dtype, nTokens) {
  const rows = nTokens === 1 ? ROWS.one : ROWS.several;
  const bytes = rows * COLS * ELEMENT_BYTES[dtype];
  let at = 0;
  const run = () => {
    at = at + 2 * bytes > WEIGHT_BYTES ? 0 : at + bytes;
    const matrix = { dtype, data: weights + at, scales: dtype === "int8" ? scales : 0, rows, cols: COLS };
    kernels.linear(out, x, matrix, 0, nTokens, scratch);
  };
  return { name: "linear", dtype, nTokens, bytes, run };
}

function neurons(dtype, name, nTokens) {
  const rowBytes = COLS * ELEMENT_BYTES[dtype];
  const strideBytes = Math.ceil((2 * rowBytes + 8) / 512) * 512;
  const slotCount = Math.floor(WEIGHT_BYTES / LAYERS / strideBytes);
  const n = Math.floor(slotCount * NAMED_SHARE);
  const chosen = Array.from({ length: 2 * LAYERS }, () => choose(n, slotCount));
  const layout = {
    dtype,
    strideBytes,
    downOffsetBytes: rowBytes,
    scalesOffsetBytes: dtype === "int8" ? 2 * rowBytes : 0,
  };
  let call = 0;
  const run = () => {
    const base = weights + (call % LAYERS) * slotCount * strideBytes;
    const matrix = { ...layout, base, upOffsetBytes: 0, dModel: COLS, bias: 0, gate: null };
    arena.u32(slots, n).set(chosen[call++ % chosen.length]);
    if (name !== "ffnDown") kernels.ffnUp(act, x, matrix, slots, n, nTokens, RELU, scratch);
    if (name !== "ffnUp") kernels.ffnDown(out, name === "ffnDown" ? ones : act, matrix, slots, n, nTokens);
  };
  return { name, dtype, nTokens, bytes: n * rowBytes * (name === "neurons" ? 2 : 1), run };
}

/** `count` distinct numbers below `below`, ascending. */
function choose(count, below) {
  const found = new Set();
  while (found.size < count) found.add(Math.floor((random() / 2 ** 32) * below));
  return Uint32Array.from([...found].sort((a, b) => a - b));
}
