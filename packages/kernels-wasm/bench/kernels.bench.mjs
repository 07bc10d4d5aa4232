/**
 * Every kernel on one thread, by type and shape. Check, then time: each runs the conformance table first; without it there is no number.
 *
 *   node bench/kernels.bench.mjs [--mib 192] [--csv]        (after a build)
 *
 * One thread. Weights are streamed from DRAM: each pass touches `--mib` MiB. GB/s counts weight bytes only; the share is of a
 * loop that only reads the same bytes, in sequence, measured beside each row; for scattered slots a row of its own says what the
 * same loop reaches slot by slot. Batches, gemm, crc32c and the optimiser work on operands that stay in the cache, and GFLOP/s count there.
 */
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { activationFunction, KV_PAGE_TOKENS, kvPartBytes } from "@flashwick/core";
import { Arena } from "@flashwick/kernels";
import { CONFORMANCE_ARENA_BYTES, conformanceCases, runConformanceCase, titleOf } from "@flashwick/kernels/conformance";
import { createReadLoop, createWasmKernels } from "../dist/index.js";

const { values: options } = parseArgs({
  options: { mib: { type: "string", default: "192" }, csv: { type: "boolean", default: false } },
});
const MiB = 1024 * 1024;
const WEIGHT_BYTES = Number(options.mib) * MiB;
const ELEMENT_BYTES = { f32: 4, f16: 2, bf16: 2, int8: 1 };
const RELU = activationFunction("relu");
/** Each row runs at least this often and this long. */
const REPEATS = 7;
const LEAST_MS = 300;

const arena = new Arena(WEIGHT_BYTES + 64 * MiB + CONFORMANCE_ARENA_BYTES);
const kernels = createWasmKernels(arena);
const readLoop = createReadLoop(arena);

checkEverything();
const weights = arena.allocate(WEIGHT_BYTES + 64, 4096);
fillWeights();
await warmUp();
printHead();
const DTYPES = Object.keys(ELEMENT_BYTES);
for (const cols of [256, 1024, 2048, 4096, 8192]) for (const dtype of DTYPES) benchLinear(dtype, cols, 1);
for (const nTokens of [2, 4, 8, 16, 128]) for (const dtype of DTYPES) benchLinear(dtype, 4096, nTokens);
for (const dModel of [2048, 4096]) for (const dtype of DTYPES) benchFfn(dtype, dModel);
for (const dtype of DTYPES) benchFfnBatch(dtype, 4096, 128);
for (const k of [32, 64, 128, 256]) benchGemm(512, 1024, k);
benchAttention("f32", 2048);
benchAttention("f16", 2048);
benchAttention("int8", 2048);
benchChecksum();
benchTraining();

function checkEverything() {
  for (const c of conformanceCases) {
    try {
      runConformanceCase(kernels, c);
    } catch (cause) {
      throw new Error(`no numbers: "${titleOf(c)}" fails`, { cause });
    }
  }
}

/** The engine compiles each kernel a second time, better and in the background: lets it notice and finish. */
async function warmUp() {
  const silent = { ...console };
  console.log = () => {};
  for (const dtype of Object.keys(ELEMENT_BYTES)) for (const nTokens of [1, 4, 16]) benchLinear(dtype, 4096, nTokens);
  console.log = silent.log;
  await new Promise((resolve) => setTimeout(resolve, 500));
}

/** Small numbers of either sign that are normal in every dtype. */
function fillWeights() {
  const words = arena.u32(weights, WEIGHT_BYTES / 4);
  let state = 1;
  for (let i = 0; i < words.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    words[i] = (state & 0x83ff83ff) | 0x38003800;
  }
}

function printHead() {
  const machine = `${cpus()[0]?.model ?? "?"}, Node ${process.version}, ${options.mib} MiB of weights a pass`;
  if (options.csv) console.log("kernel,shape,ms,gb_per_s,share_of_read_loop,gflop_per_s");
  else console.log(`${conformanceCases.length} conformance cases pass\n${machine}\n`);
}

/** Best of many runs, in milliseconds. */
function time(run) {
  return timeEach([run])[0];
}

/** Best of many runs of each, in turns, so that a noisy neighbour meets them all. */
function timeEach(runs) {
  const begin = performance.now();
  const best = runs.map(() => Number.POSITIVE_INFINITY);
  for (let i = 0; i < REPEATS || performance.now() - begin < LEAST_MS * runs.length; i++) {
    for (const [which, run] of runs.entries()) {
      const start = performance.now();
      run(i);
      best[which] = Math.min(best[which], performance.now() - start);
    }
  }
  return best;
}

/** A run beside the loop that only reads `readBytes`; none for 0. */
function timeAndRead(run, readBytes) {
  const [ms, readMs] = timeEach(readBytes ? [run, () => readLoop(weights, readBytes)] : [run]);
  return { ms, ceiling: readBytes ? readBytes / readMs / 1e6 : 0 };
}

/** @param {{ kernel: string, shape: string, ms: number, bytes?: number, flop?: number, ceiling?: number }} row ceiling: GB/s of the read loop. */
function report({ kernel, shape, ms, bytes, flop, ceiling = 0 }) {
  const gbPerSec = bytes === undefined ? "" : (bytes / ms / 1e6).toFixed(1);
  const share = ceiling ? `${((100 * Number(gbPerSec)) / ceiling).toFixed(0)} %` : "";
  const gflop = flop === undefined ? "" : (flop / ms / 1e6).toFixed(1);
  if (options.csv)
    console.log([kernel, `"${shape}"`, ms.toFixed(3), gbPerSec, share.replace(" %", ""), gflop].join(","));
  else {
    const columns = [kernel.padEnd(22), shape.padEnd(30), `${ms.toFixed(3)} ms`.padStart(11)];
    if (gbPerSec) columns.push(`${gbPerSec} GB/s`.padStart(11));
    if (share) columns.push(`${share} of ${ceiling.toFixed(1)}`.padStart(14));
    if (gflop) columns.push(`${gflop} GFLOP/s`.padStart(15));
    console.log(columns.join(" "));
  }
}

function benchLinear(dtype, cols, nTokens) {
  const mark = arena.mark();
  // Batches do more work for each byte, so they get fewer bytes.
  const budget = nTokens === 1 ? WEIGHT_BYTES : WEIGHT_BYTES / 8;
  const rows = Math.floor(budget / cols / ELEMENT_BYTES[dtype] / 32) * 32;
  const scales = dtype === "int8" ? arena.allocate(4 * rows) : 0;
  const x = arena.allocate(4 * cols * nTokens);
  arena.f32(x, cols * nTokens).fill(0.5);
  const out = arena.allocate(4 * rows * nTokens);
  const scratch = arena.allocate(kernels.scratchBytes(cols, nTokens));
  const matrix = { dtype, data: weights, scales, rows, cols };
  const bytes = rows * cols * ELEMENT_BYTES[dtype];
  const readBytes = nTokens === 1 ? bytes - (bytes % 64) : 0;
  const { ms, ceiling } = timeAndRead(() => kernels.linear(out, x, matrix, 0, nTokens, scratch), readBytes);
  const shape = `[${rows}, ${cols}] x ${nTokens}`;
  report({ kernel: `linear ${dtype}`, shape, ms, bytes, flop: 2 * rows * cols * nTokens, ceiling });
  arena.rewind(mark);
}

/** Records without a gate, from `weights` on. */
function recordsOf(dtype, dModel) {
  const rowBytes = dModel * ELEMENT_BYTES[dtype];
  const strideBytes = Math.ceil((2 * rowBytes + 8) / 512) * 512;
  const places = { upOffsetBytes: 0, gate: null, downOffsetBytes: rowBytes };
  return {
    ...places,
    dtype,
    base: weights,
    strideBytes,
    scalesOffsetBytes: dtype === "int8" ? 2 * rowBytes : 0,
    dModel,
    bias: 0,
  };
}

/** A twentieth of the neurons, scattered, another twentieth each time, so that none is in the cache; then all of them. */
function benchFfn(dtype, dModel) {
  const mark = arena.mark();
  const matrix = recordsOf(dtype, dModel);
  const { strideBytes, downOffsetBytes: rowBytes } = matrix;
  const slotCount = Math.floor(WEIGHT_BYTES / strideBytes);
  const x = arena.allocate(4 * dModel);
  arena.f32(x, dModel).fill(0.5);
  const out = arena.allocate(4 * dModel);
  const act = arena.allocate(4 * slotCount + 64);
  const slots = arena.allocate(4 * slotCount + 64);
  const scratch = arena.allocate(kernels.scratchBytes(dModel, 1));
  for (const step of [20, 1]) {
    const n = Math.floor(slotCount / step);
    const choices = Array.from({ length: step }, (_, first) =>
      Uint32Array.from({ length: n }, (_, i) => i * step + first),
    );
    const choose = (run) => arena.u32(slots, n).set(choices[run % step]);
    const bytes = n * rowBytes;
    const shape = `${step === 1 ? "all" : "5 %"} of ${slotCount}, d ${dModel}`;
    if (step > 1) {
      const read = timeAndRead((run) => {
        for (const slot of choices[run % step]) readLoop(weights + slot * strideBytes, rowBytes);
      }, WEIGHT_BYTES);
      report({ kernel: `read loop, ${rowBytes} B`, shape, bytes, ...read });
    }
    const up = timeAndRead((run) => {
      choose(run);
      kernels.ffnUp(act, x, matrix, slots, n, 1, RELU, scratch);
    }, WEIGHT_BYTES);
    report({ kernel: `ffnUp ${dtype}`, shape, bytes, ...up });
    arena.f32(act, n).fill(0.5);
    const down = timeAndRead((run) => {
      choose(run);
      kernels.ffnDown(out, act, matrix, slots, n, 1);
    }, WEIGHT_BYTES);
    report({ kernel: `ffnDown ${dtype}`, shape, bytes, ...down });
  }
  arena.rewind(mark);
}

/** All neurons of a few slots with a batch, as in prefill; every activation counts. */
function benchFfnBatch(dtype, dModel, nTokens) {
  const mark = arena.mark();
  const n = 256;
  const matrix = recordsOf(dtype, dModel);
  const [x, out] = [arena.allocate(4 * dModel * nTokens), arena.allocate(4 * dModel * nTokens)];
  arena.f32(x, dModel * nTokens).fill(0.5);
  const act = arena.allocate(4 * n * nTokens);
  const slots = arena.allocate(4 * n);
  arena.u32(slots, n).set(Array.from({ length: n }, (_, i) => i));
  const scratch = arena.allocate(kernels.scratchBytes(dModel, nTokens));
  const shape = `${n} neurons, d ${dModel} x ${nTokens}`;
  const flop = 2 * n * dModel * nTokens;
  const upMs = time(() => kernels.ffnUp(act, x, matrix, slots, n, nTokens, RELU, scratch));
  report({ kernel: `ffnUp ${dtype}`, shape, ms: upMs, flop });
  arena.f32(act, n * nTokens).fill(0.5);
  report({
    kernel: `ffnDown ${dtype}`,
    shape,
    ms: time(() => kernels.ffnDown(out, act, matrix, slots, n, nTokens)),
    flop,
  });
  arena.rewind(mark);
}

function benchGemm(m, n, k) {
  const mark = arena.mark();
  const [a, b, c] = [4 * m * k, 4 * n * k, 4 * m * n].map((bytes) => arena.allocate(bytes));
  const flop = 2 * m * n * k;
  const shape = `m ${m}, n ${n}, k ${k}`;
  report({ kernel: "gemm A·B", shape, ms: time(() => kernels.gemm(c, n, a, k, 1, b, n, m, n, k)), flop });
  report({ kernel: "gemm Aᵀ·B", shape, ms: time(() => kernels.gemm(c, n, a, 1, m, b, n, m, n, k)), flop });
  report({ kernel: "gemm A·Bᵀ", shape, ms: time(() => kernels.gemmTransposed(c, n, a, k, b, k, m, n, k)), flop });
  arena.rewind(mark);
}

function benchAttention(dtype, nKeys) {
  const mark = arena.mark();
  const [nHeads, headDim, nTokens] = [16, 64, 16];
  const bytes = nHeads * nKeys * headDim * ELEMENT_BYTES[dtype];
  const pageCount = Math.ceil(nKeys / KV_PAGE_TOKENS);
  const pages = arena.allocate(4 * pageCount);
  const page = () => arena.allocate(kvPartBytes(dtype, nHeads, headDim));
  arena.u32(pages, pageCount).set(Array.from({ length: pageCount }, page));
  const cache = { dtype, pages, offsetBytes: 0, nKvHeads: nHeads, headDim };
  const q = arena.allocate(4 * nHeads * headDim * nTokens);
  arena.f32(q, nHeads * headDim * nTokens).fill(0.5);
  const out = arena.allocate(4 * nHeads * headDim * nTokens);
  const scratch = arena.allocate(kernels.attentionScratchBytes(nKeys));
  const shape = { nHeads, scale: 0.125 };
  for (const count of [1, nTokens]) {
    const ms = time(() => kernels.attention(out, q, cache, shape, nKeys - count, count, scratch));
    const flop = 4 * nHeads * headDim * nKeys * count;
    report({
      kernel: `attention ${dtype}`,
      shape: `16 heads of 64, ${nKeys} keys x ${count}`,
      ms,
      bytes: 2 * bytes,
      flop,
    });
  }
  arena.rewind(mark);
}

function benchChecksum() {
  const mark = arena.mark();
  const [n, slotBytes] = [512, 16384];
  const slots = arena.allocate(4 * n);
  arena.u32(slots, n).set(Array.from({ length: n }, (_, i) => i));
  const sums = arena.allocate(4 * n);
  const slotsMs = time(() => kernels.crc32cSlots(sums, weights, slotBytes, slotBytes, slots, n));
  report({ kernel: "crc32cSlots", shape: `${n} of ${slotBytes} bytes`, ms: slotsMs, bytes: n * slotBytes });
  arena.rewind(mark);
  for (const sizeBytes of [512, 4096, 16384, MiB]) {
    const repeats = (8 * MiB) / sizeBytes;
    const ms = time(() => {
      for (let i = 0; i < repeats; i++) kernels.crc32c(weights, sizeBytes);
    });
    report({ kernel: "crc32c", shape: `${sizeBytes} bytes`, ms: ms / repeats, bytes: sizeBytes });
  }
}

function benchTraining() {
  const mark = arena.mark();
  const [m, n] = [256, 1024];
  const [w, g, mean, square] = [0, 1, 2, 3].map(() => arena.allocate(4 * m * n));
  const labels = arena.allocate((m * n) / 8);
  const bytes = 4 * m * n;
  const loss = time(() => kernels.crossEntropyGradient(g, n, labels, n / 8, m, n, 1, 0.1, 1));
  report({ kernel: "crossEntropyGradient", shape: `[${m}, ${n}]`, ms: loss, bytes });
  const step = time(() => kernels.adamW(w, g, mean, square, m * n, 1, 1e-3, 0.9, 0.999, 1e-8, 0.01));
  report({ kernel: "adamW", shape: `${m * n} parameters`, ms: step, bytes: 4 * bytes });
  arena.rewind(mark);
}
