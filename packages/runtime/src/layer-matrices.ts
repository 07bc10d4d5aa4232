/**
 * The matrices of one layer that lie row by row, as a GGUF file of llama.cpp has them: resident, or streamed by rows.
 *
 * A layer that is not resident passes through its arena's stage, one matrix after the other in the order in which they are used, in chunks of as many
 * rows as fit, of one matrix or of several. A row's product depends on that row and the vector alone, so that neither chunks nor residency change a bit.
 * Each chunk's rows are a range of `linear`'s output, which so stays where kernels compute.
 */
import { assert, type ByteSource } from "@flashwick/core";
import type { ByMatrix, MatrixName, MatrixTensors } from "@flashwick/flash-format";
import type { FlashReader } from "@flashwick/flash-io";
import type { Kernels, Matrix, Ptr } from "@flashwick/kernels";
import type { LayerChecks } from "./layer-checks.js";
import type { StreamAhead, StreamChunk, StreamedLayer, StreamStage } from "./layer-stream.js";
import { layerChunks, rowBases, type StagedChunk, stageChunk } from "./staged-rows.js";
import type { TokenMeter } from "./token-meter.js";
import type { Workspace } from "./workspace.js";

export interface LayerMatricesParts {
  readonly kernels: Kernels;
  readonly reader: FlashReader;
  /** The model's file, which no read goes beyond. */
  readonly source: Pick<ByteSource, "sizeBytes" | "parts">;
  readonly workspace: Workspace;
  readonly tensors: MatrixTensors;
  /** The matrices where they are resident, else null. */
  readonly resident: ByMatrix<Matrix> | null;
  /** What a layer that is not resident passes through. */
  readonly stage: StreamStage;
  /** Holds rows that have landed against the checksums beside the file; null where there are none. */
  readonly checks: LayerChecks | null;
}

/** What a step asks of the stream. */
export interface StreamPass {
  readonly nTokens: number;
  readonly ahead: StreamAhead;
  readonly meter: TokenMeter;
  readonly signal?: AbortSignal | undefined;
}

export class LayerMatrices implements StreamedLayer {
  readonly #parts: LayerMatricesParts;
  readonly #chunks: readonly StreamChunk[];
  readonly #bases: ByMatrix<number>;
  #issued: StagedChunk | null = null;
  #landed: StagedChunk | null = null;
  /** Index of the chunk that has landed, in this pass; -1 before the first. */
  #current = -1;

  constructor(parts: LayerMatricesParts) {
    this.#parts = parts;
    this.#chunks = parts.resident ? [] : layerChunks(parts.tensors, parts.stage.areaBytes);
    this.#bases = rowBases(parts.tensors);
  }

  get isStreamed(): boolean {
    return this.#parts.resident === null;
  }

  /** The matrices where they are in DRAM, else null. */
  get resident(): ByMatrix<Matrix> | null {
    return this.#parts.resident;
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
    kernels.linear(out, x, present(resident, name), bias, pass.nTokens, workspace.scratch);
  }

  streamChunks(): readonly StreamChunk[] {
    return this.#chunks;
  }

  startChunk(chunk: StreamChunk, _refill: boolean, signal?: AbortSignal): void {
    const { reader, kernels, source, stage, tensors } = this.#parts;
    this.#issued = stageChunk(tensors, chunk, stage.nextArea().ptr, { source, reader });
    reader.start(kernels.arena.bytes, this.#issued.runs, signal);
  }

  landChunk(): void | Promise<void> {
    this.#landed = this.#issued;
    const pending = this.#parts.reader.wait();
    if (pending) return pending.then(() => this.#put(this.#landed!));
    this.#put(this.#landed!);
  }

  #put({ ptr, sizeBytes }: StagedChunk): void {
    this.#parts.kernels.put(ptr, sizeBytes);
  }

  async #multiplyStreamed(name: MatrixName, out: Ptr, x: Ptr, bias: Ptr, pass: StreamPass): Promise<void> {
    const { kernels, workspace, tensors } = this.#parts;
    const { rows } = present(tensors, name);
    const base = present(this.#bases, name);
    // The first matrix begins a pass.
    if (base === 0) this.#current = -1;
    for (const [index, chunk] of this.#chunks.entries()) {
      if (chunk.first + chunk.count <= base || chunk.first >= base + rows) continue;
      await this.#take(index, PHASE_OF_MATRIX[name], pass);
      const { first, end, matrix } = this.#landed!.parts.find((part) => part.name === name)!;
      kernels.linear(out, x, matrix, bias, pass.nTokens, workspace.scratch, first, end);
    }
  }

  /** Waits for a chunk, unless it is the one that has landed: it may hold the end of one matrix and the beginning of the next. */
  async #take(index: number, phase: "attention" | "ffn", { ahead, meter, signal }: StreamPass): Promise<void> {
    if (index !== this.#current) {
      meter.enter("readWait");
      await ahead.take(this, this.#chunks, index, signal);
      this.#current = index;
      meter.countReads(this.#landed!.runs);
      this.#check(this.#landed!, meter);
    }
    meter.enter(phase);
  }

  /** @throws {IntegrityError} `INTEGRITY_TENSOR`. */
  #check({ parts }: StagedChunk, meter: TokenMeter): void {
    const { checks, kernels } = this.#parts;
    if (!checks) return;
    meter.enter("check");
    for (const part of parts) checks.take(part, kernels);
  }
}

/** A matrix that the layer has: who multiplies by a gate has asked its geometry. */
function present<T>(of: ByMatrix<T>, name: MatrixName): T {
  const matrix = of[name];
  assert(matrix !== undefined, `the layer has a matrix ${name}`);
  return matrix;
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
