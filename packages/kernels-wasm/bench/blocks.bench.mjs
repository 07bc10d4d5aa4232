/**
 * Rows of ggml's blocks: one vector from DRAM, on one thread and on several, beside a loop that only reads the same bytes; then a batch, beside
 * that of f32. Every conformance case runs first; without it there is no number.
 *
 *   node bench/blocks.bench.mjs [--threads 2] [--mib 192] [--tokens 512] [--ms 300] [--csv]        (after a build)
 */
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { BLOCK_DTYPES, rowBytes } from "@flashwick/core";
import { Arena } from "@flashwick/kernels";
import { createWasmKernels } from "../dist/index.js";
import { measureKernels } from "../dist/node.js";

const { values: options } = parseArgs({
  options: {
    threads: { type: "string", default: "2" },
    mib: { type: "string", default: "192" },
    tokens: { type: "string", default: "512" },
    ms: { type: "string", default: "300" },
    csv: { type: "boolean", default: false },
  },
});
const MiB = 2 ** 20;
const ROWS = 512;
const COLS = 4096;
const nTokens = Number(options.tokens);
const leastMs = Number(options.ms);

if (options.csv) console.log("op,dtype,threads,ms,gb_per_s,gweights_per_s,share_of_read_loop,gflop_per_s");
else console.log(`${cpus()[0]?.model ?? "?"}, Node ${process.version}, ${options.mib} MiB of weights a pass\n`);
await measureKernels({
  threads: Number(options.threads),
  weightMiB: Number(options.mib),
  leastMs,
  dtypes: BLOCK_DTYPES,
  onRow: reportRow,
});
for (const dtype of BLOCK_DTYPES) reportBatch(dtype, ...batchGflops([dtype, "f32"]));

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

/** The best of several passes over matrices that stay in the cache, in turns. */
function batchGflops(dtypes) {
  const runs = dtypes.map(prepareBatch);
  const best = dtypes.map(() => Number.POSITIVE_INFINITY);
  for (const begin = performance.now(); performance.now() - begin < 2 * leastMs; ) {
    for (const [i, run] of runs.entries()) {
      const start = performance.now();
      run();
      best[i] = Math.min(best[i], performance.now() - start);
    }
  }
  return best.map((ms) => (2 * ROWS * COLS * nTokens) / ms / 1e6);
}

function prepareBatch(dtype) {
  const sizeBytes = ROWS * rowBytes(dtype, COLS);
  const arena = new Arena(sizeBytes + 8 * nTokens * (ROWS + 2 * COLS) + 8 * MiB);
  const kernels = createWasmKernels(arena);
  const data = arena.allocate(sizeBytes + 64, 64);
  const words = arena.u32(data, sizeBytes >> 2);
  // Small numbers of either sign: normal as f32 and as f16.
  for (let i = 0; i < words.length; i++) words[i] = (Math.imul(i + 1, 2654435761) & 0x83ff83ff) | 0x38003800;
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
