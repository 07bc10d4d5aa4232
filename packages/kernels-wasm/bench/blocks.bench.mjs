/**
 * Rows of ggml's blocks: one vector from DRAM, on one thread and on several, beside a loop that only reads the same bytes; then a batch, beside
 * that of f32. Every conformance case runs first; without it there is no number.
 *
 *   node bench/blocks.bench.mjs [--threads 2] [--mib 192] [--tokens 512] [--ms 300] [--csv]        (after a build)
 *   node bench/blocks.bench.mjs --activation-bits 8 …      the same with activations of eight bits, in turns with the default's
 */
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { BLOCK_DTYPES, rowBytes } from "@flashwick/core";
import { Arena } from "@flashwick/kernels";
import {
  byteVectorCases,
  CONFORMANCE_ARENA_BYTES,
  conformanceCases,
  runConformanceCase,
} from "@flashwick/kernels/conformance";
import { compileByteVectorKernels, createByteVectorKernels, createWasmKernels } from "../dist/index.js";
import { createComputePool, measureKernels } from "../dist/node.js";

const { values: options } = parseArgs({
  options: {
    threads: { type: "string", default: "2" },
    mib: { type: "string", default: "192" },
    tokens: { type: "string", default: "512" },
    ms: { type: "string", default: "300" },
    csv: { type: "boolean", default: false },
    "activation-bits": { type: "string" },
  },
});
const MiB = 2 ** 20;
const ROWS = 512;
const COLS = 4096;
const nTokens = Number(options.tokens);
const leastMs = Number(options.ms);

if (options["activation-bits"]) await compareActivations();
else await measureBlocks();

async function measureBlocks() {
  if (options.csv) console.log("op,dtype,threads,ms,gb_per_s,gweights_per_s,share_of_read_loop,gflop_per_s");
  else console.log(`${cpus()[0]?.model ?? "?"}, Node ${process.version}, ${options.mib} MiB of weights a pass\n`);
  await measureKernels({
    threads: Number(options.threads),
    weightMiB: Number(options.mib),
    leastMs,
    dtypes: BLOCK_DTYPES,
    onRow: reportRow,
  });
  for (const dtype of BLOCK_DTYPES) reportBatch(dtype, ...batchGflops([dtype, "f32"].map((one) => prepareBatch(one))));
}

/** Activations of 15 bits and of eight, in turns: one vector on one thread and on several, then a batch on one. */
async function compareActivations() {
  await compileByteVectorKernels();
  console.log(`${cpus()[0]?.model ?? "?"}, Node ${process.version}, ${options.mib} MiB of weights a pass\n`);
  console.log("one vector, Gweights/s with 15 bits -> with 8 (GB/s), and times the former");
  for (const threads of new Set([1, Number(options.threads)])) await compareVectors(threads);
  console.log(`\n${nTokens} vectors on one thread, GFLOP/s`);
  for (const dtype of BLOCK_DTYPES) {
    const [former, latter] = batchGflops([prepareBatch(dtype), prepareBatch(dtype, createByteVectorKernels)]);
    console.log(`${dtype.padEnd(8)} ${former.toFixed(1)} -> ${latter.toFixed(1)}  ${(latter / former).toFixed(2)} x`);
  }
}

async function compareVectors(threads) {
  const sizeBytes = Number(options.mib) * MiB;
  const pools = [await createComputePool({ threads }), await createComputePool({ threads, activationBits: 8 })];
  const arena = new Arena(sizeBytes + CONFORMANCE_ARENA_BYTES + 4 * MiB + sizeBytes / 256, true);
  for (const [i, cases] of [conformanceCases, byteVectorCases].entries()) {
    for (const c of cases) if (c.op === "linear") runConformanceCase(pools[i].kernels(arena), c);
  }
  const data = arena.allocate(sizeBytes + 64, 4096);
  fillWords(arena.u32(data, sizeBytes >> 2));
  for (const dtype of BLOCK_DTYPES) {
    const rows = Math.floor(sizeBytes / rowBytes(dtype, COLS));
    const mark = arena.mark();
    const [x, out] = [arena.allocate(4 * COLS, 64), arena.allocate(4 * rows, 64)];
    arena.f32(x, COLS).set(Float32Array.from({ length: COLS }, (_, i) => Math.sin(i)));
    const w = { dtype, data, scales: 0, rows, cols: COLS };
    const scratch = arena.allocate(pools[0].kernels.scratchBytes(COLS, 1), 64);
    const [former, latter] = bestOf(
      pools.map((pool) => () => pool.kernels(arena).linear(out, x, w, 0, 1, scratch)),
    ).map((ms) => (rows * COLS) / ms / 1e6);
    const gbPerSec = (latter * rowBytes(dtype, COLS)) / COLS;
    console.log(
      `${threads} thread${threads > 1 ? "s" : " "} ${dtype.padEnd(8)} ${former.toFixed(1)} -> ${latter.toFixed(1)} (${gbPerSec.toFixed(1)})  ${(latter / former).toFixed(2)} x`,
    );
    arena.rewind(mark);
  }
  for (const pool of pools) await pool.close();
}

/** Small numbers of either sign: normal as f32 and as f16. */
function fillWords(words) {
  for (let i = 0; i < words.length; i++) words[i] = (Math.imul(i + 1, 2654435761) & 0x83ff83ff) | 0x38003800;
}

/** @param {import("../dist/node.js").KernelRow} row */
function reportRow({ kernel, dtype, threads, ms, gbPerSec, gweightsPerSec, ceilingGbPerSec, share }) {
  if (options.csv) {
    console.log(
      [
        kernel,
        dtype ?? "",
        threads,
        ms.toFixed(3),
        gbPerSec.toFixed(1),
        gweightsPerSec.toFixed(1),
        share.toFixed(3),
        "",
      ].join(),
    );
    return;
  }
  const name = `${kernel} ${dtype ?? ""}`.padEnd(15);
  const weights = dtype === null ? "" : `${gweightsPerSec.toFixed(1).padStart(6)} Gweights/s`;
  const part = dtype === null ? "" : `${(100 * share).toFixed(0).padStart(4)} % of ${ceilingGbPerSec.toFixed(1)}`;
  console.log(
    `${threads} thread${threads > 1 ? "s" : " "} ${name} ${gbPerSec.toFixed(1).padStart(6)} GB/s ${weights} ${part}`,
  );
}

/** Milliseconds of the best of several passes of each, in turns. */
function bestOf(runs) {
  const best = runs.map(() => Number.POSITIVE_INFINITY);
  for (const begin = performance.now(); performance.now() - begin < 2 * leastMs; ) {
    for (const [i, run] of runs.entries()) {
      const start = performance.now();
      run();
      best[i] = Math.min(best[i], performance.now() - start);
    }
  }
  return best;
}

/** Over matrices that stay in the cache. */
function batchGflops(runs) {
  return bestOf(runs).map((ms) => (2 * ROWS * COLS * nTokens) / ms / 1e6);
}

function prepareBatch(dtype, factory = createWasmKernels) {
  const sizeBytes = ROWS * rowBytes(dtype, COLS);
  const arena = new Arena(sizeBytes + 8 * nTokens * (ROWS + 2 * COLS) + 8 * MiB);
  const kernels = factory(arena);
  const data = arena.allocate(sizeBytes + 64, 64);
  fillWords(arena.u32(data, sizeBytes >> 2));
  const [x, out] = [arena.allocate(4 * nTokens * COLS), arena.allocate(4 * nTokens * ROWS)];
  arena.f32(x, nTokens * COLS).set(Float32Array.from({ length: nTokens * COLS }, (_, i) => Math.sin(i)));
  const scratch = arena.allocate(kernels.scratchBytes(COLS, nTokens), 64);
  const w = { dtype, data, scales: 0, rows: ROWS, cols: COLS };
  return () => kernels.linear(out, x, w, 0, nTokens, scratch);
}

function reportBatch(dtype, gflops, baseline) {
  const times = gflops / baseline;
  if (options.csv) console.log(["batch", dtype, 1, "", "", "", times.toFixed(2), gflops.toFixed(1)].join());
  else {
    console.log(
      `${nTokens} vectors ${dtype.padEnd(8)} ${gflops.toFixed(1).padStart(6)} GFLOP/s ${times.toFixed(2)} x f32 (${baseline.toFixed(1)})`,
    );
  }
}
