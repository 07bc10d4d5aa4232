/**
 * The matrices of one layer that lie row by row, as a GGUF file of llama.cpp has them: resident, or streamed by rows.
 *
 * A layer that is not resident passes through its arena's stage, one matrix after the other in the order in which they are used, each in chunks of
 * as many rows as fit. A row's product depends on that row and the vector alone, so that neither chunks nor residency change a bit.
 */
import { assert, paddedLength } from "@flashwick/core";
import { MATRIX_NAMES, type MatrixName, type MatrixTensors, type ResidentTensor } from "@flashwick/flash-format";
import type { FlashReader, FlashRun } from "@flashwick/flash-io";
import { type Kernels, type Matrix, type Ptr, TAIL_BYTES } from "@flashwick/kernels";
import type { StreamAhead, StreamChunk, StreamedLayer, StreamStage } from "./layer-stream.js";
import type { TokenMeter } from "./token-meter.js";
import type { Workspace } from "./workspace.js";

/** One read of a chunk: several are in flight at once. */
const STREAM_READ_BYTES = 128 * 1024;
/** A chunk is at least so long, or its layer's longest matrix: every chunk is waited for once. */
const LEAST_CHUNK_BYTES = 512 * 1024;

export interface LayerMatricesParts {
  readonly kernels: Kernels;
  readonly reader: FlashReader;
  readonly workspace: Workspace;
  readonly tensors: MatrixTensors;
  /** The matrices where they are resident, else null. */
  readonly resident: Readonly<Record<MatrixName, Matrix>> | null;
  /** What a layer that is not resident passes through. */
  readonly stage: StreamStage;
}

/** What a step asks of the stream. */
export interface StreamPass {
  readonly nTokens: number;
  readonly ahead: StreamAhead;
  readonly meter: TokenMeter;
  readonly signal?: AbortSignal | undefined;
}

/** Rows of one matrix in the stage. */
interface StagedRows {
  readonly matrix: Matrix;
  readonly runs: readonly FlashRun[];
}

export class LayerMatrices implements StreamedLayer {
  readonly #parts: LayerMatricesParts;
  readonly #chunks: readonly StreamChunk[];
  #issued: StagedRows | null = null;
  #landed: StagedRows | null = null;

  constructor(parts: LayerMatricesParts) {
    this.#parts = parts;
    this.#chunks = parts.resident ? [] : cutRows(parts.tensors, parts.stage.areaBytes);
  }

  get isStreamed(): boolean {
    return this.#parts.resident === null;
  }

  /**
   * out[t] = W · x[t] + bias. Matrices of a streamed layer are asked for in their order, each once a step.
   *
   * @param out  f32 `[nTokens, pad(rows)]`. Must not alias x.
   * @param bias f32 `[rows]`, or 0 for none.
   * @returns A promise only where the layer is streamed. It rejects as the reader's `wait`, or with the signal's own reason.
   */
  multiply(name: MatrixName, out: Ptr, x: Ptr, bias: Ptr, pass: StreamPass): void | Promise<void> {
    const { kernels, workspace, resident } = this.#parts;
    if (!resident) return this.#multiplyStreamed(name, out, x, bias, pass);
    kernels.linear(out, x, resident[name], bias, pass.nTokens, workspace.scratch);
  }

  streamChunks(): readonly StreamChunk[] {
    return this.#chunks;
  }

  startChunk({ first, count }: StreamChunk, _refill: boolean, signal?: AbortSignal): void {
    const { reader, kernels, stage, tensors } = this.#parts;
    const { tensor, row } = locate(tensors, first);
    this.#issued = stageRows(tensor, row, count, stage.nextArea().ptr);
    reader.start(kernels.arena.bytes, this.#issued.runs, signal);
  }

  landChunk(): void | Promise<void> {
    this.#landed = this.#issued;
    return this.#parts.reader.wait();
  }

  async #multiplyStreamed(name: MatrixName, out: Ptr, x: Ptr, bias: Ptr, pass: StreamPass): Promise<void> {
    const { kernels, workspace: w, tensors } = this.#parts;
    const { nTokens, ahead, meter, signal } = pass;
    const { rows } = tensors[name];
    const base = rowBase(tensors, name);
    const phase = PHASE_OF_MATRIX[name];
    for (const [index, chunk] of this.#chunks.entries()) {
      const first = chunk.first - base;
      if (first < 0 || first >= rows) continue;
      meter.enter("readWait");
      await ahead.take(this, this.#chunks, index, signal);
      meter.enter(phase);
      const { matrix, runs } = this.#landed!;
      meter.countReads(runs);
      kernels.linear(w.chunk, x, matrix, bias === 0 ? 0 : bias + 4 * first, nTokens, w.scratch);
      this.#place(out, rows, first, chunk.count, nTokens);
    }
  }

  /** out[t, first … first + count − 1] = the chunk's product, `[nTokens, pad(count)]`. What is beyond `width` becomes zero with the last one. */
  #place(out: Ptr, width: number, first: number, count: number, nTokens: number): void {
    const { kernels, workspace } = this.#parts;
    const [outStride, chunkStride] = [paddedLength(width), paddedLength(count)];
    const target = kernels.arena.f32(out, nTokens * outStride);
    const source = kernels.arena.f32(workspace.chunk, nTokens * chunkStride);
    for (let t = 0; t < nTokens; t++) {
      target.set(source.subarray(t * chunkStride, t * chunkStride + count), t * outStride + first);
      if (first + count === width) target.fill(0, t * outStride + width, (t + 1) * outStride);
    }
  }
}

const PHASE_OF_MATRIX: Readonly<Record<MatrixName, "attention" | "ffn">> = {
  query: "attention",
  key: "attention",
  value: "attention",
  output: "attention",
  gate: "ffn",
  up: "ffn",
  down: "ffn",
};

/** What kernels may read behind a stretch of rows, and alignment. */
const AREA_SLACK_BYTES = TAIL_BYTES;

/** Bytes of the least area that a layer passes through: for its longest row, and for reads that are worth waiting for. */
export function leastAreaBytes(tensors: MatrixTensors): number {
  const all = MATRIX_NAMES.map((name) => tensors[name]);
  const longest = Math.max(...all.map(({ sizeBytes }) => sizeBytes));
  return Math.max(...all.map(bytesOfRow), Math.min(LEAST_CHUNK_BYTES, longest)) + AREA_SLACK_BYTES;
}

/** The rows of all matrices, numbered on from one to the next, in chunks of one matrix each. */
function cutRows(tensors: MatrixTensors, areaBytes: number): StreamChunk[] {
  return MATRIX_NAMES.flatMap((name) => {
    const { rows } = tensors[name];
    const most = Math.floor((areaBytes - AREA_SLACK_BYTES) / bytesOfRow(tensors[name]));
    assert(most >= 1, "an area holds a row");
    const base = rowBase(tensors, name);
    return Array.from({ length: Math.ceil(rows / most) }, (_, i) => ({
      first: base + i * most,
      count: Math.min(most, rows - i * most),
    }));
  });
}

/** Rows of the matrices before one. */
function rowBase(tensors: MatrixTensors, name: MatrixName): number {
  const before = MATRIX_NAMES.slice(0, MATRIX_NAMES.indexOf(name));
  return before.reduce((sum, earlier) => sum + tensors[earlier].rows, 0);
}

/** The matrix in which a row of all stands. */
function locate(tensors: MatrixTensors, first: number): { readonly tensor: ResidentTensor; readonly row: number } {
  const name = MATRIX_NAMES.findLast((candidate) => rowBase(tensors, candidate) <= first)!;
  return { tensor: tensors[name], row: first - rowBase(tensors, name) };
}

function bytesOfRow({ sizeBytes, rows }: ResidentTensor): number {
  return sizeBytes / rows;
}

function stageRows(tensor: ResidentTensor, row: number, count: number, ptr: Ptr): StagedRows {
  const { dtype, cols } = tensor;
  const rowBytes = bytesOfRow(tensor);
  const sizeBytes = count * rowBytes;
  const runs = Array.from({ length: Math.ceil(sizeBytes / STREAM_READ_BYTES) }, (_, i): FlashRun => {
    const at = i * STREAM_READ_BYTES;
    const size = Math.min(STREAM_READ_BYTES, sizeBytes - at);
    return {
      offset: tensor.offset + row * rowBytes + at,
      sizeBytes: size,
      pieces: [{ ptr: ptr + at, sizeBytes: size }],
      picks: 0,
    };
  });
  return { matrix: { dtype, data: ptr, scales: 0, rows: count, cols }, runs };
}
