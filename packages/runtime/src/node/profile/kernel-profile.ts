/**
 * What arithmetic costs: the engine's own ops, on vectors, over more weights than caches hold and over fewer, on one thread and on all.
 */
import {
  activationFunction,
  BLOCK_DTYPES,
  type DType,
  KV_PAGE_TOKENS,
  kvPartBytes,
  type OnProgress,
  Random,
  type RecordDType,
  rowBytes,
} from "@flashwick/core";
import type { BatchRate, KernelOp, KernelRate } from "@flashwick/cost-model";
import {
  Arena,
  type KvCache,
  type KvDType,
  type Matrix,
  type Ptr,
  type SlotMatrix,
  type TrainingKernels,
} from "@flashwick/kernels";
import { type ComputePool, createComputePool, measureHandOffUs } from "@flashwick/kernels-wasm/node";
import { type Effort, interleave, median, timeMs, turn, typicalMs } from "./figures.js";

export interface KernelMeasurement {
  readonly threads: number;
  readonly effort: Effort;
  readonly onProgress: OnProgress | undefined;
  readonly signal: AbortSignal | undefined;
}

export interface KernelFigures {
  readonly kernels: readonly KernelRate[];
  readonly batch: readonly BatchRate[];
  readonly dramBytesPerSec: number;
  readonly handOffUs: number;
  readonly opUs: number;
  /** Of choosing from a layer's scores, a score. */
  readonly nsPerScore: number;
}

const KiB = 1024;
const MiB = 1024 * KiB;
/** OPT-6.7B's width: rows of 4096 elements. */
const COLS = 4096;
/** What a token passes over: more than caches hold, and less. */
const WORKING_SETS = {
  full: { large: 192 * MiB, small: 8 * MiB },
  quick: { large: 192 * MiB, small: 8 * MiB },
  brief: { large: 48 * MiB, small: 4 * MiB },
  small: { large: 16 * MiB, small: 2 * MiB },
};
const PASSES = { full: 7, quick: 3, brief: 2, small: 3 };
/** Of records; neurons are measured for these alone. */
const RECORD_TYPES: readonly RecordDType[] = ["f32", "f16", "int8", "q4"];
const ALL_TYPES: readonly DType[] = ["f32", "f16", "int8", ...BLOCK_DTYPES];
const FEW_TYPES: readonly DType[] = ["f32", "f16", "int8", "q4_0", "q8_0", "q4_k", "q6_k"];
/** Of matrices. What is not measured is taken for its nearest in width. */
const TYPES: Readonly<Record<Effort, readonly DType[]>> = {
  full: ALL_TYPES,
  quick: ALL_TYPES,
  brief: FEW_TYPES,
  small: FEW_TYPES,
};
const KV_TYPES: readonly KvDType[] = ["f32", "f16", "int8"];
const RELU = activationFunction("relu");
/** Of the slots, those that a token names. */
const NAMED_SHARE = 0.12;
const SMALL_ROWS = [1, 4];
const BATCH_TOKENS = 64;
const BATCH_ROWS = { full: 1024, quick: 1024, brief: 64, small: 64 };
const BATCH_PASSES = { full: 5, quick: 2, brief: 2, small: 2 };
const SCORES = 16384;
/** Of a product as a small model has it, which is just worth splitting. */
const SPLIT_ROWS = 64;
const SPLIT_PASSES = { full: 9, quick: 9, brief: 3, small: 3 };
const SPLIT_CALLS = { full: 200, quick: 200, brief: 50, small: 50 };
const SPLIT_TYPES = ["f16", "int8", "q4_0"] as const;

/** A thing to time: what it passes over, and the passing. */
interface Job {
  readonly op: KernelOp | "read loop";
  readonly dtype: DType | null;
  readonly workingSetBytes: number;
  readonly bytes: number;
  readonly run: () => void;
}

/** Measures on one thread, and on `threads`. @throws The signal's own reason. */
export async function measureKernelFigures(measurement: KernelMeasurement): Promise<KernelFigures> {
  const { threads, effort, signal } = measurement;
  const { large, small } = WORKING_SETS[effort];
  const arena = new Arena(large + 24 * MiB, true);
  const kernels: KernelRate[] = [];
  const batch: BatchRate[] = [];
  let dramBytesPerSec = 0;
  let [opUs, nsPerScore, splitUs] = [0, 0, 0];
  const weights = arena.allocate(large, 4096);
  fill(arena.u32(weights, large / 4));
  for (const count of threads === 1 ? [1] : [1, threads]) {
    const pool = await createComputePool({ threads: count });
    const mark = arena.mark();
    try {
      const bench = new KernelBench(arena, pool, weights, effort);
      const jobs = [large, small].flatMap((bytes) => bench.jobs(bytes, effort !== "full" && bytes === small));
      const figures = await measureJobs(jobs, measurement, count === 1 ? 0 : 0.5);
      for (const [i, job] of jobs.entries()) {
        const bytesPerSec = figures[i]!;
        if (job.op === "read loop") dramBytesPerSec = job.workingSetBytes === large ? bytesPerSec : dramBytesPerSec;
        else
          kernels.push({
            op: job.op,
            dtype: job.dtype,
            threads: count,
            workingSetBytes: job.workingSetBytes,
            bytesPerSec,
          });
      }
      batch.push(...(await bench.batchRates(count, signal)));
      if (count === 1) [opUs, nsPerScore] = [await bench.opUs(), await bench.nsPerScore()];
      else splitUs = await bench.splitUs(kernels, count, opUs);
    } finally {
      arena.rewind(mark);
      await pool.close();
    }
  }
  const handOffUs = threads === 1 ? 0 : Math.max(splitUs, await measureHandOffUs(threads));
  return { kernels, batch, dramBytesPerSec, handOffUs, opUs, nsPerScore };
}

/** Something that keeps all threads of a pool busy; see `FlashMeasurement.compute`. */
export function busyWork(pool: ComputePool, effort: Effort): { readonly compute: (bytes: number) => number } {
  const workingSet = effort === "full" || effort === "quick" ? 64 * MiB : 32 * MiB;
  const arena = new Arena(workingSet + 16 * MiB, true);
  const weights = arena.allocate(workingSet, 4096);
  fill(arena.u32(weights, workingSet / 4));
  const bench = new KernelBench(arena, pool, weights, effort);
  const jobs = new Map<number, () => void>();
  const compute = (bytes: number) => {
    const rows = Math.max(1, Math.floor(bytes / (2 * COLS)));
    const job = jobs.get(rows) ?? bench.linear("f16", rows, workingSet);
    jobs.set(rows, job);
    job();
    return rows * COLS * 2;
  };
  return { compute };
}

async function measureJobs(
  jobs: readonly Job[],
  { effort, onProgress, signal }: KernelMeasurement,
  doneShare: number,
): Promise<number[]> {
  for (const job of jobs) {
    job.run();
    await turn(signal);
  }
  const passes = PASSES[effort];
  let done = 0;
  const total = jobs.length * passes;
  const times = await interleave(
    jobs,
    passes,
    async ({ run }) => {
      const ms = await timeMs(run);
      onProgress?.({
        phase: "kernels",
        loaded: Math.round(1000 * (doneShare + ++done / total / 2)),
        total: 1000,
        unit: "steps",
      });
      return ms;
    },
    signal,
  );
  return jobs.map(({ bytes }, i) => (1000 * bytes) / typicalMs(times[i]!, effort));
}

/** The ops of an engine over one area of weights. */
class KernelBench {
  readonly #arena: Arena;
  readonly #pool: ComputePool;
  readonly #kernels: TrainingKernels;
  readonly #weights: Ptr;
  readonly #random = new Random(7);
  readonly #x: Ptr;
  readonly #out: Ptr;
  readonly #scratch: Ptr;
  readonly #slots: Ptr;
  readonly #act: Ptr;
  readonly #effort: Effort;

  constructor(arena: Arena, pool: ComputePool, weights: Ptr, effort: Effort) {
    this.#effort = effort;
    this.#arena = arena;
    this.#pool = pool;
    this.#kernels = pool.kernels(arena);
    this.#weights = weights;
    this.#x = arena.allocate(4 * COLS * BATCH_TOKENS, 64);
    this.#out = arena.allocate(4 * 65536 + 4 * BATCH_TOKENS * BATCH_ROWS[effort], 64);
    const scratch = Math.max(
      this.#kernels.scratchBytes(COLS, BATCH_TOKENS),
      this.#kernels.attentionScratchBytes(KV_TOKENS),
    );
    this.#scratch = arena.allocate(scratch, 64);
    this.#slots = arena.allocate(4 * 65536, 64);
    this.#act = arena.allocate(4 * 65536, 64);
    const x = arena.f32(this.#x, COLS * BATCH_TOKENS);
    for (let i = 0; i < x.length; i++) x[i] = this.#random.uniform() - 0.5;
  }

  /** Every op over a working set of so many bytes. */
  jobs(bytes: number, fewer: boolean): Job[] {
    const set = { workingSetBytes: bytes };
    const readLoop: Job = {
      ...set,
      op: "read loop",
      dtype: null,
      bytes,
      run: () => this.#pool.readLoop(this.#arena, this.#weights, bytes),
    };
    const linear = TYPES[this.#effort].map(
      (dtype): Job => ({ ...set, op: "linear", dtype, ...this.#linearOver(dtype, bytes) }),
    );
    const neurons = RECORD_TYPES.map(
      (dtype): Job => ({ ...set, op: "neurons", dtype, ...this.#neurons(dtype, bytes) }),
    );
    const checksum: Job = { ...set, op: "checksum", dtype: null, ...this.#checksum(bytes) };
    if (fewer) return [...linear.slice(1), ...neurons.slice(1), checksum];
    const attention = KV_TYPES.map(
      (dtype): Job => ({ ...set, op: "attention", dtype, ...this.#attention(dtype, bytes) }),
    );
    return [readLoop, ...linear, ...neurons, checksum, ...attention];
  }

  async batchRates(threads: number, signal: AbortSignal | undefined): Promise<BatchRate[]> {
    const rows = BATCH_ROWS[this.#effort];
    const jobs = TYPES[this.#effort].map((dtype) => ({
      dtype,
      run: () => this.#linear(this.#matrix(dtype, 0, rows), BATCH_TOKENS),
    }));
    for (const { run } of jobs) run();
    const times = await interleave(jobs, BATCH_PASSES[this.#effort], ({ run }) => timeMs(run), signal);
    const flop = 2 * BATCH_TOKENS * rows * COLS;
    return jobs.map(({ dtype }, i) => ({
      dtype,
      threads,
      flopPerSec: (1000 * flop) / typicalMs(times[i]!, this.#effort),
    }));
  }

  /**
   * What a split product costs beyond its call and the time that its weights take in large ones: a thread is handed its part, and the caller waits for the
   * last.
   */
  async splitUs(kernels: readonly KernelRate[], threads: number, opUs: number): Promise<number> {
    const calls = SPLIT_CALLS[this.#effort];
    const { small } = WORKING_SETS[this.#effort];
    const us: number[] = [];
    for (const dtype of SPLIT_TYPES) {
      const run = this.linear(dtype, SPLIT_ROWS, small);
      const runAll = () => {
        for (let i = 0; i < calls; i++) run();
      };
      runAll();
      const times: number[] = [];
      for (let pass = 0; pass < SPLIT_PASSES[this.#effort]; pass++) times.push(await timeMs(runAll));
      const isSame = (rate: KernelRate) =>
        rate.op === "linear" && rate.dtype === dtype && rate.threads === threads && rate.workingSetBytes === small;
      const bytes = SPLIT_ROWS * rowBytes(dtype, COLS);
      us.push(
        (1000 * typicalMs(times, this.#effort)) / calls - (1e6 * bytes) / kernels.find(isSame)!.bytesPerSec - opUs,
      );
    }
    return Math.max(0, median(us));
  }

  /** What a call costs beside its weights: of a product so small that it is not split, half of the time on a quantised vector. */
  async opUs(): Promise<number> {
    const calls = 500;
    const small = SMALL_ROWS.flatMap((rows) => RECORD_TYPES.slice(1).map((dtype) => this.#matrix(dtype, 0, rows)));
    const run = () => {
      for (let i = 0; i < calls; i++) this.#linear(small[i % small.length]!, 1);
    };
    run();
    const us: number[] = [];
    for (let pass = 0; pass < 5; pass++) us.push((1000 * (await timeMs(run))) / calls);
    // The weights, some KiB, come from the processor's own cache.
    return typicalMs(us, this.#effort);
  }

  async nsPerScore(): Promise<number> {
    const scores = this.#arena.f32(this.#out, SCORES);
    for (let i = 0; i < SCORES; i++) scores[i] = this.#random.uniform();
    const rounds = 20;
    const run = () => {
      for (let i = 0; i < rounds; i++) this.#kernels.selectAbove(this.#slots, this.#out, SCORES, 1 - NAMED_SHARE);
    };
    run();
    const times: number[] = [];
    for (let pass = 0; pass < 3; pass++) times.push(await timeMs(run));
    return (1e6 * typicalMs(times, this.#effort)) / rounds / SCORES;
  }

  /** A product of `rows` rows, at another place of the area with each call. */
  linear(dtype: DType, rows: number, bytes: number): () => void {
    const each = rows * rowBytes(dtype, COLS);
    let at = 0;
    return () => {
      this.#linear(this.#matrix(dtype, at, rows), 1);
      at = at + 2 * each > bytes ? 0 : at + each;
    };
  }

  /** Matrices of 4096 rows at most, one after the other, as layers have them. */
  #linearOver(dtype: DType, bytes: number): Pick<Job, "bytes" | "run"> {
    const rows = Math.min(4096, Math.floor(bytes / 4 / rowBytes(dtype, COLS)));
    const each = rows * rowBytes(dtype, COLS);
    const matrices = Array.from({ length: Math.floor(bytes / each) }, (_, i) => this.#matrix(dtype, i * each, rows));
    const run = () => {
      for (const matrix of matrices) this.#linear(matrix, 1);
    };
    return { bytes: matrices.length * each, run };
  }

  #matrix(dtype: DType, offset: number, rows: number): Matrix {
    return { dtype, data: this.#weights + offset, scales: dtype === "int8" ? this.#act : 0, rows, cols: COLS };
  }

  #linear(matrix: Matrix, nTokens: number): void {
    this.#kernels.linear(this.#out, this.#x, matrix, 0, nTokens, this.#scratch);
  }

  /** Up and down of chosen slots; about half of the activations are zero, as for a predictor that names twice what fires. */
  #neurons(dtype: RecordDType, bytes: number): Pick<Job, "bytes" | "run"> {
    const scaleBytes = dtype === "int8" ? 512 : 0;
    const record = 2 * rowBytes(dtype, COLS);
    const strideBytes = record + scaleBytes;
    const slotCount = Math.floor(bytes / strideBytes);
    const layers = 4;
    const perLayer = Math.floor(slotCount / layers);
    const named = Math.max(
      1,
      Math.floor(perLayer * NAMED_SHARE * (bytes === WORKING_SETS[this.#effort].large ? 1 : 4)),
    );
    const sets = Array.from({ length: 8 }, () => this.#ascending(named, perLayer));
    let call = 0;
    const run = () => {
      for (let layer = 0; layer < layers; layer++) {
        const matrix: SlotMatrix = {
          dtype,
          base: this.#weights + layer * perLayer * strideBytes,
          strideBytes,
          upOffsetBytes: 0,
          downOffsetBytes: rowBytes(dtype, COLS),
          scalesOffsetBytes: dtype === "int8" ? record : 0,
          dModel: COLS,
          bias: 0,
          gate: null,
        };
        this.#arena.u32(this.#slots, named).set(sets[call++ % sets.length]!);
        this.#kernels.ffnUp(this.#act, this.#x, matrix, this.#slots, named, 1, RELU, this.#scratch);
        this.#kernels.ffnDown(this.#out, this.#act, matrix, this.#slots, named, 1);
      }
    };
    return { bytes: layers * named * record, run };
  }

  #checksum(bytes: number): Pick<Job, "bytes" | "run"> {
    const stride = 16 * KiB;
    const slotCount = bytes / stride;
    const slots = this.#ascending(Math.floor(slotCount * NAMED_SHARE * 4), slotCount);
    const run = () => {
      this.#arena.u32(this.#slots, slots.length).set(slots);
      this.#kernels.crc32cSlots(this.#act, this.#weights, stride, stride, this.#slots, slots.length);
    };
    return { bytes: slots.length * stride, run };
  }

  #attention(dtype: KvDType, bytes: number): Pick<Job, "bytes" | "run"> {
    const partBytes = kvPartBytes(dtype, KV_HEADS, HEAD_DIM);
    const pageCount = KV_TOKENS / KV_PAGE_TOKENS;
    const layers = Math.max(1, Math.floor(bytes / 8 / (pageCount * partBytes)));
    const pages = this.#arena.allocate(4 * pageCount);
    const table = Uint32Array.from({ length: pageCount }, (_, i) => this.#weights + i * layers * partBytes);
    this.#arena.u32(pages, pageCount).set(table);
    const cacheOf = (layer: number): KvCache => ({
      dtype,
      pages,
      offsetBytes: layer * partBytes,
      nKvHeads: KV_HEADS,
      headDim: HEAD_DIM,
    });
    const shape = { nHeads: KV_HEADS, scale: 1 / Math.sqrt(HEAD_DIM) };
    const position = KV_TOKENS - 1;
    const run = () => {
      for (let layer = 0; layer < layers; layer++) {
        this.#kernels.attention(this.#out, this.#x, cacheOf(layer), shape, position, 1, this.#scratch);
      }
    };
    // Without scales, as the cost model counts.
    return { bytes: layers * 2 * KV_HEADS * KV_TOKENS * rowBytes(dtype, HEAD_DIM), run };
  }

  /** `count` of `below` numbers, ascending. */
  #ascending(count: number, below: number): Uint32Array {
    const chosen = new Set<number>();
    while (chosen.size < Math.min(count, below)) chosen.add(this.#random.below(below));
    return Uint32Array.from([...chosen].sort((a, b) => a - b));
  }
}

const KV_HEADS = 32;
const HEAD_DIM = COLS / KV_HEADS;
const KV_TOKENS = 256;

/** Small numbers of either sign that are normal in every dtype. */
function fill(words: Uint32Array): void {
  let state = 1;
  for (let i = 0; i < words.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    words[i] = (state & 0x83ff83ff) | 0x38003800;
  }
}
