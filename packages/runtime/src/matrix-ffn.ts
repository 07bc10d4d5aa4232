/**
 * One layer's FFN over all neurons from matrices that lie row by row, as a GGUF file of llama.cpp has them: resident, or streamed by rows.
 *
 * A layer that is not resident passes through its arena's stage in chunks of rows: those of gate and up first, each with as many neurons as fit, and
 * then those of down. A row's product depends on that row and the vector alone, so that neither chunks nor residency change a bit.
 */
import { type ActivationFunction, assert, paddedLength } from "@flashwick/core";
import type { MatrixTensors, ResidentTensor } from "@flashwick/flash-format";
import type { FlashReader, FlashRun } from "@flashwick/flash-io";
import { type Kernels, type Matrix, type Ptr, TAIL_BYTES } from "@flashwick/kernels";
import type { StreamAhead, StreamChunk, StreamedLayer, StreamStage } from "./layer-stream.js";
import type { OnActivations } from "./streamed-ffn.js";
import type { TokenMeter } from "./token-meter.js";
import type { Workspace } from "./workspace.js";

/** One read of a chunk. */
const STREAM_READ_BYTES = 2 ** 20;

export interface MatrixFfnParts {
  readonly kernels: Kernels;
  readonly reader: FlashReader;
  readonly workspace: Workspace;
  readonly layer: MatrixTensors;
  readonly activation: ActivationFunction;
  /** f32 of each neuron; 0 where there is none. */
  readonly gateBias: Ptr;
  readonly upBias: Ptr;
  /** The matrices where they are resident, else null. */
  readonly resident: { readonly gate: Matrix; readonly up: Matrix; readonly down: Matrix } | null;
  /** What a layer that is not resident passes through. */
  readonly stage: StreamStage;
}

export interface MatrixRequest {
  readonly nTokens: number;
  /** Called with all activations, before the down projection. */
  readonly onActivations?: OnActivations | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A stretch of a matrix in the stage. */
interface StagedRows {
  readonly matrix: Matrix;
  readonly run: { readonly offset: number; readonly sizeBytes: number; readonly ptr: Ptr };
}

/** What a chunk holds: rows of gate and up, or of down. */
interface StagedChunk {
  readonly gate: StagedRows | null;
  readonly rows: StagedRows;
}

export class MatrixFfn implements StreamedLayer {
  readonly #parts: MatrixFfnParts;
  readonly #dFf: number;
  readonly #dModel: number;
  readonly #chunks: readonly StreamChunk[];
  #issued: StagedChunk | null = null;
  #landed: StagedChunk | null = null;

  constructor(parts: MatrixFfnParts) {
    this.#parts = parts;
    this.#dFf = parts.layer.up.rows;
    this.#dModel = parts.layer.down.rows;
    this.#chunks = parts.resident ? [] : cutMatrixChunks(parts.layer, parts.stage.areaBytes);
  }

  /**
   * out[t] = down · (f(gate · x[t]) ⊙ g(up · x[t])), or down · f(up · x[t]) without a gate; without the bias of down.
   *
   * @param out f32 `[nTokens, pad(dModel)]`, overwritten.
   * @param x   f32 `[nTokens, pad(dModel)]`.
   * @throws As the reader's `wait`; the signal's own reason.
   */
  async compute(out: Ptr, x: Ptr, request: MatrixRequest, ahead: StreamAhead, meter: TokenMeter): Promise<void> {
    meter.counters.named += this.#dFf * request.nTokens;
    if (this.#parts.resident) this.#computeResident(out, x, request, meter);
    else await this.#computeStreamed(out, x, request, ahead, meter);
  }

  streamChunks(): readonly StreamChunk[] {
    return this.#chunks;
  }

  startChunk(chunk: StreamChunk, _refill: boolean, signal?: AbortSignal): void {
    const { reader, kernels } = this.#parts;
    this.#issued = this.#stageChunk(chunk);
    reader.start(kernels.arena.bytes, runsOf(this.#issued), signal);
  }

  landChunk(): void | Promise<void> {
    this.#landed = this.#issued;
    return this.#parts.reader.wait();
  }

  #computeResident(out: Ptr, x: Ptr, { nTokens, onActivations }: MatrixRequest, meter: TokenMeter): void {
    const { kernels, workspace: w, resident } = this.#parts;
    const { gate, up, down } = resident!;
    meter.enter("ffn");
    kernels.linear(w.gate, x, gate, this.#parts.gateBias, nTokens, w.scratch);
    kernels.linear(w.act, x, up, this.#parts.upBias, nTokens, w.scratch);
    kernels.gate(w.act, w.gate, w.act, nTokens * paddedLength(this.#dFf), this.#parts.activation);
    onActivations?.(0, this.#dFf, w.act, nTokens);
    kernels.linear(out, w.act, down, 0, nTokens, w.scratch);
  }

  async #computeStreamed(
    out: Ptr,
    x: Ptr,
    { nTokens, onActivations, signal }: MatrixRequest,
    ahead: StreamAhead,
    meter: TokenMeter,
  ): Promise<void> {
    meter.counters.misses += this.#dFf;
    meter.counters.loaded += this.#dFf;
    for (const [index, chunk] of this.#chunks.entries()) {
      meter.enter("readWait");
      await ahead.take(this, this.#chunks, index, signal);
      meter.enter("ffn");
      meter.countReads(runsOf(this.#landed!));
      if (chunk.first < this.#dFf) this.#activateChunk(x, chunk, nTokens);
      else {
        if (chunk.first === this.#dFf) onActivations?.(0, this.#dFf, this.#parts.workspace.act, nTokens);
        this.#downChunk(out, chunk, nTokens);
      }
    }
  }

  /** act[t, first … first + count − 1] from rows of gate and up. */
  #activateChunk(x: Ptr, { first, count }: StreamChunk, nTokens: number): void {
    const { kernels, workspace: w, activation, gateBias, upBias } = this.#parts;
    const { gate, rows } = this.#landed!;
    const bias = (of: Ptr) => (of === 0 ? 0 : of + 4 * first);
    kernels.linear(w.gate, x, gate!.matrix, bias(gateBias), nTokens, w.scratch);
    kernels.linear(w.up, x, rows.matrix, bias(upBias), nTokens, w.scratch);
    kernels.gate(w.up, w.gate, w.up, nTokens * paddedLength(count), activation);
    this.#place(w.act, this.#dFf, w.up, first, count, nTokens);
  }

  /** out[t, row … row + count − 1] from rows of down. */
  #downChunk(out: Ptr, { first, count }: StreamChunk, nTokens: number): void {
    const { kernels, workspace: w } = this.#parts;
    kernels.linear(w.up, w.act, this.#landed!.rows.matrix, 0, nTokens, w.scratch);
    this.#place(out, this.#dModel, w.up, first - this.#dFf, count, nTokens);
  }

  /** Columns `first` … of `[nTokens, pad(width)]` = a chunk `[nTokens, pad(count)]`. What is beyond `width` stays zero. */
  #place(to: Ptr, width: number, chunk: Ptr, first: number, count: number, nTokens: number): void {
    const { arena } = this.#parts.kernels;
    const [toStride, fromStride] = [paddedLength(width), paddedLength(count)];
    const target = arena.f32(to, nTokens * toStride);
    const source = arena.f32(chunk, nTokens * fromStride);
    for (let t = 0; t < nTokens; t++) {
      target.set(source.subarray(t * fromStride, t * fromStride + count), t * toStride + first);
      if (first + count === width) target.fill(0, t * toStride + width, (t + 1) * toStride);
    }
  }

  #stageChunk({ first, count }: StreamChunk): StagedChunk {
    const { layer, stage } = this.#parts;
    const area = stage.nextArea().ptr;
    if (first >= this.#dFf) return { gate: null, rows: stageRows(layer.down, first - this.#dFf, count, area) };
    const up = stageRows(layer.up, first, count, area);
    return { gate: stageRows(layer.gate, first, count, area + stagedBytes(layer.up, count)), rows: up };
  }
}

/** A layer's chunks: neurons 0 … dFf − 1 by rows of gate and up, and then, numbered on from dFf, rows of down. */
export function cutMatrixChunks(layer: MatrixTensors, areaBytes: number): StreamChunk[] {
  const dFf = layer.up.rows;
  const neurons = chunkRows(neuronBytes(layer), areaBytes, 2);
  const rows = chunkRows(bytesOfRow(layer.down), areaBytes, 1);
  const down = cut(layer.down.rows, rows).map(({ first, count }) => ({ first: dFf + first, count }));
  return [...cut(dFf, neurons), ...down];
}

/** Bytes of the least area through which a layer can pass: one neuron, or one row of down. */
export function leastAreaBytes(layer: MatrixTensors): number {
  return Math.max(neuronBytes(layer) + 2 * PIECE_SLACK_BYTES, bytesOfRow(layer.down) + PIECE_SLACK_BYTES);
}

/** Zeros or whatever else behind rows that kernels may read, and alignment. */
const PIECE_ALIGNMENT = 64;
const PIECE_SLACK_BYTES = TAIL_BYTES + PIECE_ALIGNMENT;

function stagedBytes(tensor: ResidentTensor, rows: number): number {
  const bytes = rows * bytesOfRow(tensor) + TAIL_BYTES;
  return Math.ceil(bytes / PIECE_ALIGNMENT) * PIECE_ALIGNMENT;
}

function bytesOfRow({ sizeBytes, rows }: ResidentTensor): number {
  return sizeBytes / rows;
}

/** Rows of gate and up of one neuron. */
function neuronBytes({ gate, up }: MatrixTensors): number {
  return bytesOfRow(up) + bytesOfRow(gate);
}

function chunkRows(rowBytes: number, areaBytes: number, pieces: number): number {
  const rows = Math.floor((areaBytes - pieces * PIECE_SLACK_BYTES) / rowBytes);
  assert(rows >= 1, "an area holds a neuron, and a row of down");
  return rows;
}

function cut(rows: number, most: number): StreamChunk[] {
  return Array.from({ length: Math.ceil(rows / most) }, (_, i) => ({
    first: i * most,
    count: Math.min(most, rows - i * most),
  }));
}

function stageRows(tensor: ResidentTensor, first: number, count: number, ptr: Ptr): StagedRows {
  const rowBytes = bytesOfRow(tensor);
  return {
    matrix: { dtype: tensor.dtype, data: ptr, scales: 0, rows: count, cols: tensor.cols },
    run: { offset: tensor.offset + first * rowBytes, sizeBytes: count * rowBytes, ptr },
  };
}

function runsOf({ gate, rows }: StagedChunk): FlashRun[] {
  const stretches = gate ? [rows.run, gate.run] : [rows.run];
  return stretches.flatMap(({ offset, sizeBytes, ptr }) =>
    Array.from({ length: Math.ceil(sizeBytes / STREAM_READ_BYTES) }, (_, i) => {
      const at = i * STREAM_READ_BYTES;
      const size = Math.min(STREAM_READ_BYTES, sizeBytes - at);
      return { offset: offset + at, sizeBytes: size, pieces: [{ ptr: ptr + at, sizeBytes: size }], picks: 0 };
    }),
  );
}
