/** The records of a layer as the matrices that they were made of, one behind the other: a conversion reads them as it reads a checkpoint's. */
import { assert, type ByteSource, type RecordRole, rowBytes } from "@flashwick/core";
import { type ModelFile, recordLayout } from "../model-file.js";
import type { CheckpointTensor, SourceDType } from "./checkpoint-tensor.js";

/** One read: large enough for full sequential bandwidth, small enough to cancel between. */
const READ_BYTES = 4 * 1024 * 1024;
const MATRIX_OF = { gate: "ffn_gate", up: "ffn_up", down: "ffn_down" } as const satisfies Record<RecordRole, string>;

/**
 * The tensors of a layer's FFN: gate (of gated neurons) and up `[dFf, dModel]`, down `[dModel, dFf]`.
 *
 * @param file Records of f32, f16 or bf16, whose bytes have been checked.
 * Cost: reading any byte reads the layer's records once; a layer's FFN in memory while its tensors are in use.
 */
export function matricesOfRecords(file: ModelFile, layer: number): CheckpointTensor[] {
  const { geometry } = file.header;
  const { dtype, parts } = recordLayout(file.header);
  const { dModel } = geometry;
  const { dFf } = geometry.layers[layer]!.ffn;
  const source = new MatrixSource(file, layer);
  const matrixBytes = dFf * rowBytes(dtype, dModel);
  return parts.map(({ role }, i) => ({
    name: `blk.${layer}.${MATRIX_OF[role]}.weight`,
    source,
    offset: i * matrixBytes,
    shape: role === "down" ? [dModel, dFf] : [dFf, dModel],
    dtype: dtype as SourceDType,
    storedDType: dtype,
    contiguous: true,
  }));
}

/** A layer's matrices as if they were a file. */
class MatrixSource implements ByteSource {
  readonly name: string;
  readonly sizeBytes: number;
  readonly #file: ModelFile;
  readonly #layer: number;
  #bytes: Uint8Array | null = null;
  /** Bytes of it that were asked for. */
  #read = 0;

  constructor(file: ModelFile, layer: number) {
    const { dtype, parts } = recordLayout(file.header);
    const { dModel, layers } = file.header.geometry;
    this.name = file.source.name;
    this.#file = file;
    this.#layer = layer;
    this.sizeBytes = parts.length * layers[layer]!.ffn.dFf * rowBytes(dtype, dModel);
  }

  async read(target: Uint8Array, offset: number, signal?: AbortSignal): Promise<void> {
    this.#bytes ??= await this.#gather(signal);
    target.set(this.#bytes.subarray(offset, offset + target.length));
    this.#read += target.length;
    // Each byte is asked for once.
    if (this.#read < this.sizeBytes) return;
    [this.#bytes, this.#read] = [null, 0];
  }

  async close(): Promise<void> {}

  async #gather(signal?: AbortSignal): Promise<Uint8Array> {
    const { header, source } = this.#file;
    const { dtype, parts, strideBytes, layout } = recordLayout(header);
    const { dModel, layers } = header.geometry;
    const { dFf } = layers[this.#layer]!.ffn;
    const { offset, downOffset } = header.records[this.#layer]!;
    const halves = layout === "split" ? [offset, downOffset!] : [offset];
    const stored: Uint8Array[] = [];
    for (const begin of halves) stored.push(await readAll(source, begin, dFf * strideBytes, signal));
    const vectorBytes = rowBytes(dtype, dModel);
    const elementBytes = vectorBytes / dModel;
    const bytes = new Uint8Array(this.sizeBytes);
    for (const [part, { role, offsetBytes }] of parts.entries()) {
      // In split layout offsets count from the slot's start, whose second half lies in a tensor of its own.
      const half = Math.floor(offsetBytes / strideBytes);
      const records = stored[half]!;
      const matrix = bytes.subarray(part * dFf * vectorBytes, (part + 1) * dFf * vectorBytes);
      for (let neuron = 0; neuron < dFf; neuron++) {
        const at = neuron * strideBytes + (offsetBytes % strideBytes);
        const vector = records.subarray(at, at + vectorBytes);
        if (role === "down") putColumn(matrix, vector, neuron, dFf, elementBytes);
        else matrix.set(vector, neuron * vectorBytes);
      }
    }
    return bytes;
  }
}

function putColumn(matrix: Uint8Array, column: Uint8Array, index: number, cols: number, elementBytes: number): void {
  assert(Number.isInteger(elementBytes), "elements are whole bytes");
  for (let at = 0, row = 0; at < column.length; row++) {
    const begin = (row * cols + index) * elementBytes;
    for (let i = 0; i < elementBytes; i++, at++) matrix[begin + i] = column[at]!;
  }
}

async function readAll(
  source: ByteSource,
  offset: number,
  sizeBytes: number,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(sizeBytes);
  for (let at = 0; at < sizeBytes; at += READ_BYTES) {
    await source.read(bytes.subarray(at, at + READ_BYTES), offset + at, signal);
  }
  return bytes;
}
