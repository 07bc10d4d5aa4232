/**
 * A Hugging Face checkpoint folder becomes a model file, streaming.
 *
 * Invariants:
 * - memory: one down projection as stored, and of gated neurons the gate, with a placement the up projection as well, plus blocks of
 *   {@link BLOCK_BYTES}; nothing else grows with the model;
 * - each tensor's bytes are read once, in order, and their CRC-32C is that of the rows as stored, so the model's fingerprint
 *   does not depend on how it is cut into blocks, nor on the dtype or layout of the output;
 * - no weight is NaN or infinite;
 * - on any failure the writer is abandoned, on an abort suspended, and every file closed.
 */
import {
  type Activation,
  type Architecture,
  FormatError,
  ffnBytes,
  MiB,
  type OnProgress,
  type RecordDType,
  UnsupportedError,
  widestFfn,
} from "@flashwick/core";
import { crc32c } from "../crc32c.js";
import { type ModelHeader, recordLayout } from "../model-file.js";
import type { ModelSpec, ModelWriter } from "../model-writer.js";
import { readCheckpointConfig } from "./checkpoint-config.js";
import type { CheckpointFolder } from "./checkpoint-folder.js";
import { formatShape, type ReadableTensor, sourceElementBytes } from "./checkpoint-tensor.js";
import { type CheckpointWeights, openCheckpointWeights } from "./checkpoint-weights.js";
import { type ConversionPlan, type PlannedLayer, type PlannedTensor, planConversion } from "./conversion-plan.js";
import { decodeElements, firstNonFinite, gatherColumns, transposeColumns } from "./source-elements.js";
import { readTokenizerDocument } from "./tokenizer-document.js";

export interface ConvertOptions {
  /** Element type of the matrices. Default: what config.json says the checkpoint has, else f16. */
  readonly dtype?: RecordDType;
  /** Default `bundled`. */
  readonly layout?: "bundled" | "split";
  /** Record stride in bytes. Default `auto`. */
  readonly stride?: "auto" | number;
  /** By layer, at i: which neuron record i holds. Default: in the checkpoint's order. */
  readonly placement?: readonly Uint32Array[] | null;
  /** Aborts within one read of at most 8 MiB; what was finished is kept for the next run, if the writer has a journal. */
  readonly signal?: AbortSignal;
  /** Phase "convert", in bytes of the checkpoint. */
  readonly onProgress?: OnProgress;
}

/** What `flashwick convert --json` prints, without time and memory, which the caller measures. */
export interface ConversionResult {
  readonly architecture: Architecture;
  readonly nLayers: number;
  readonly dModel: number;
  /** Of the widest layer. */
  readonly dFf: number;
  /** Heads and activation of the first layer. */
  readonly nHeads: number;
  readonly nKvHeads: number;
  readonly vocabSize: number;
  readonly contextLength: number;
  readonly activation: Activation;
  readonly dtype: RecordDType;
  readonly layout: "bundled" | "split";
  readonly strideBytes: number;
  /** `table`: records stand in an order of their own. */
  readonly placement: "identity" | "table";
  readonly fileBytes: number;
  readonly residentBytes: number;
  readonly ffnBytes: number;
  readonly tokenizer: ModelHeader["tokenizerKind"];
  readonly fingerprint: string;
}

/**
 * Makes the writer of the output, once its spec is known.
 *
 * @param sourceIdentity Changes whenever the checkpoint may have: an unfinished output of another checkpoint must not be continued.
 */
export type CreateWriter = (spec: ModelSpec, sourceIdentity: string) => Promise<ModelWriter>;

/** Bytes of a block as stored in the checkpoint: large enough for full speed, small enough to abort and to hold several. */
const BLOCK_BYTES = 8 * MiB;
/** One typed array on Node 20. The down projection of OPT 66B has 0.68 GB in f16. */
const MAX_DOWN_BYTES = 2 ** 32 - 1;

/** What a layer that is written in an order of its own needs besides. */
interface Placed {
  readonly order: Uint32Array;
  readonly downRaw: Uint8Array;
}

/** f32 rows of neurons, as many as are converted at once. */
interface ValueRows {
  readonly gate: Float32Array | null;
  readonly up: Float32Array;
  readonly down: Float32Array;
}

/**
 * Converts a checkpoint.
 *
 * @throws {FormatError} `CHECKPOINT_*`, naming the file and the tensor or field. {UnsupportedError} `UNSUPPORTED_*`, naming the
 * feature. Whatever the writer throws. The signal's reason when aborted.
 * Cost: reads the checkpoint once; peak memory is the largest down projection as stored (with a placement: of the FFN) plus about 100 MiB.
 */
export async function convertCheckpoint(
  folder: CheckpointFolder,
  createWriter: CreateWriter,
  options: ConvertOptions = {},
): Promise<ConversionResult> {
  const { signal } = options;
  signal?.throwIfAborted();
  const config = await readCheckpointConfig(folder, signal);
  const tokenizer = await readTokenizerDocument(folder, signal);
  const weights = await openCheckpointWeights(folder, signal);
  try {
    const spec: ModelSpec = {
      geometry: config.geometry,
      dtype: options.dtype ?? config.dtype ?? "f16",
      layout: options.layout ?? "bundled",
      strideBytes: options.stride ?? "auto",
      tokenizerJson: tokenizer?.json ?? null,
      tokenizerKind: tokenizer?.kind ?? null,
      name: baseName(folder.name),
      placement: options.placement ?? null,
    };
    const writer = await createWriter(spec, await identify(folder, weights));
    const header = await write(writer, options, () =>
      planConversion(config.family, config.geometry, writer.residentTensors, weights),
    );
    return describe(header);
  } finally {
    await weights.close();
  }
}

async function write(writer: ModelWriter, options: ConvertOptions, plan: () => ConversionPlan): Promise<ModelHeader> {
  try {
    await new Conversion(writer, plan(), options).run();
    return await writer.finish();
  } catch (error) {
    const end = options.signal?.aborted ? writer.suspend() : writer.abandon();
    // What went wrong first is what the caller must see, even if cleaning up fails too.
    await end.catch(() => {});
    throw error;
  }
}

/** One buffer for many uses, so that blocks do not wait for the garbage collector. What `take` gave is void at the next call. */
class ReusedBytes {
  #bytes = new Uint8Array(0);

  take(sizeBytes: number): Uint8Array {
    if (this.#bytes.byteLength < sizeBytes) this.#bytes = new Uint8Array(sizeBytes);
    return this.#bytes.subarray(0, sizeBytes);
  }

  takeFloats(count: number): Float32Array {
    return new Float32Array(this.take(count * Float32Array.BYTES_PER_ELEMENT).buffer, 0, count);
  }
}

/** The acting part: executes a {@link ConversionPlan}. */
class Conversion {
  readonly #writer: ModelWriter;
  readonly #plan: ConversionPlan;
  readonly #options: ConvertOptions;
  #loadedBytes = 0;
  /** Buffers that every tensor and layer uses again, grown to the largest that was needed. */
  readonly #raw = new ReusedBytes();
  readonly #gateRaw = new ReusedBytes();
  readonly #upRaw = new ReusedBytes();
  readonly #downRaw = new ReusedBytes();
  readonly #values = new ReusedBytes();
  readonly #gateValues = new ReusedBytes();
  readonly #downValues = new ReusedBytes();

  constructor(writer: ModelWriter, plan: ConversionPlan, options: ConvertOptions) {
    this.#writer = writer;
    this.#plan = plan;
    this.#options = options;
  }

  async run(): Promise<void> {
    for (const planned of this.#plan.tensors) {
      if (this.#isDone(planned)) continue;
      const convert = planned.isVector ? this.#convertVector(planned) : this.#convertTensor(planned);
      await this.#writer.complete(planned.name, await convert);
    }
    for (const planned of this.#plan.layers) {
      if (this.#isDone(planned)) continue;
      await this.#writer.complete(planned.name, await this.#convertLayer(planned));
    }
  }

  #isDone({ name, sizeBytes }: { readonly name: string; readonly sizeBytes: number }): boolean {
    if (!this.#writer.isComplete(name)) return false;
    this.#advance(sizeBytes, name);
    return true;
  }

  /** Norms and biases: small enough for one piece, gathered where they are fused with others. @returns As for matrices. */
  async #convertVector({ name, tensor, rows, cols, plus }: PlannedTensor): Promise<number> {
    const elementBytes = sourceElementBytes(tensor.dtype);
    const values = new Float32Array(cols);
    let crc = 0;
    let at = 0;
    for (const { first, count } of rows) {
      const raw = this.#raw.take(count * elementBytes);
      await this.#read(tensor, first * elementBytes, raw, name);
      crc = crc32c(raw, crc);
      const taken = values.subarray(at, at + count);
      decodeElements(tensor.dtype, raw, taken);
      checkFinite(taken, tensor, (i) => [0, first + i]);
      at += count;
    }
    if (plus !== 0) for (let i = 0; i < cols; i++) values[i] = values[i]! + plus;
    const order = this.#orderOfBias(name);
    await this.#writer.writeRows(name, order ? Float32Array.from(order, (neuron) => values[neuron]!) : values);
    return crc;
  }

  /** The order in which a vector's elements are written, if it goes with the neurons. */
  #orderOfBias(name: string): Uint32Array | null {
    const layer = /^blk\.(\d+)\.ffn_(?:gate|up)\.bias$/.exec(name)?.[1];
    return (layer !== undefined && this.#options.placement?.[Number(layer)]) || null;
  }

  /** @returns CRC-32C of the rows as stored. */
  async #convertTensor({ name, tensor, rows, cols }: PlannedTensor): Promise<number> {
    const rowBytes = cols * sourceElementBytes(tensor.dtype);
    const blockRows = Math.max(1, Math.floor(BLOCK_BYTES / rowBytes));
    let crc = 0;
    for (const { first, count } of rows) {
      for (let row = first; row < first + count; row += blockRows) {
        const n = Math.min(blockRows, first + count - row);
        const raw = this.#raw.take(n * rowBytes);
        await this.#read(tensor, row * rowBytes, raw, name);
        crc = crc32c(raw, crc);
        const values = this.#values.takeFloats(n * cols);
        decodeElements(tensor.dtype, raw, values);
        checkFinite(values, tensor, (i) => [row + Math.floor(i / cols), i % cols]);
        await this.#writer.writeRows(name, values);
      }
    }
    return crc;
  }

  /** @returns CRC-32C of gate (of gated neurons), up and down projection as stored, one after the other. */
  async #convertLayer(planned: PlannedLayer): Promise<number> {
    const { name, layer, up, down } = planned;
    const [dFf, dModel] = up.shape as [number, number];
    const downRaw = await this.#readWhole(down, this.#downRaw, name);
    const order = this.#options.placement?.[layer];
    if (order) return await this.#convertPlaced(planned, { order, downRaw });
    const blockNeurons = Math.max(1, Math.floor(BLOCK_BYTES / (dModel * Float32Array.BYTES_PER_ELEMENT)));
    const tile = new Float32Array(16 * Math.min(blockNeurons, dFf));
    const gateRaw = planned.gate && (await this.#readWhole(planned.gate, this.#gateRaw, name));
    let crc = gateRaw ? crc32c(gateRaw) : 0;
    for (let first = 0; first < dFf; first += blockNeurons) {
      const n = Math.min(blockNeurons, dFf - first);
      const rows = this.#valueRows(planned, n);
      if (planned.gate && gateRaw && rows.gate) {
        const rowBytes = gateRaw.length / dFf;
        decodeElements(planned.gate.dtype, gateRaw.subarray(first * rowBytes, (first + n) * rowBytes), rows.gate);
      }
      const upRaw = this.#raw.take(n * dModel * sourceElementBytes(up.dtype));
      await this.#read(up, (first * upRaw.length) / n, upRaw, name);
      crc = crc32c(upRaw, crc);
      decodeElements(up.dtype, upRaw, rows.up);
      transposeColumns(down.dtype, downRaw, dModel, dFf, first, tile, rows.down);
      checkRows(planned, rows, (i) => first + i);
      await this.#writer.writeNeurons(layer, first, rows);
    }
    return crc32c(downRaw, crc);
  }

  /** As {@link #convertLayer}, record i from neuron `order[i]`. */
  async #convertPlaced(planned: PlannedLayer, { order, downRaw }: Placed): Promise<number> {
    const { name, layer, gate, up, down } = planned;
    const [dFf, dModel] = up.shape as [number, number];
    const gateRaw = gate && (await this.#readWhole(gate, this.#gateRaw, name));
    const upRaw = await this.#readWhole(up, this.#upRaw, name);
    const blockNeurons = Math.max(1, Math.floor(BLOCK_BYTES / (dModel * Float32Array.BYTES_PER_ELEMENT)));
    for (let first = 0; first < dFf; first += blockNeurons) {
      const neurons = order.subarray(first, Math.min(first + blockNeurons, dFf));
      const rows = this.#valueRows(planned, neurons.length);
      if (gate && gateRaw && rows.gate) gatherRows(gate, gateRaw, neurons, rows.gate);
      gatherRows(up, upRaw, neurons, rows.up);
      gatherColumns(down.dtype, downRaw, dModel, dFf, neurons, rows.down);
      checkRows(planned, rows, (i) => neurons[i]!);
      await this.#writer.writeNeurons(layer, first, rows);
    }
    return crc32c(downRaw, crc32c(upRaw, gateRaw ? crc32c(gateRaw) : 0));
  }

  #valueRows({ gate, up }: PlannedLayer, neurons: number): ValueRows {
    const count = neurons * up.shape[1]!;
    return {
      gate: gate && this.#gateValues.takeFloats(count),
      up: this.#values.takeFloats(count),
      down: this.#downValues.takeFloats(count),
    };
  }

  /** A whole projection as stored. Valid until `into` is used again. */
  async #readWhole(tensor: ReadableTensor, into: ReusedBytes, name: string): Promise<Uint8Array> {
    const sizeBytes = tensor.shape[0]! * tensor.shape[1]! * sourceElementBytes(tensor.dtype);
    if (sizeBytes > MAX_DOWN_BYTES) {
      throw new UnsupportedError(
        "UNSUPPORTED_FEATURE",
        `${tensor.source.name}: tensor ${tensor.name}: expected at most 4 GiB, found ${sizeBytes} bytes`,
        { details: { file: tensor.source.name, tensor: tensor.name, sizeBytes } },
      );
    }
    const raw = into.take(sizeBytes);
    for (let at = 0; at < sizeBytes; at += BLOCK_BYTES) {
      await this.#read(tensor, at, raw.subarray(at, Math.min(at + BLOCK_BYTES, sizeBytes)), name);
    }
    return raw;
  }

  async #read(tensor: ReadableTensor, at: number, target: Uint8Array, name: string): Promise<void> {
    this.#options.signal?.throwIfAborted();
    await tensor.source.read(target, tensor.offset + at, this.#options.signal);
    this.#advance(target.byteLength, name);
  }

  #advance(bytes: number, detail: string): void {
    this.#loadedBytes += bytes;
    this.#options.onProgress?.({
      phase: "convert",
      loaded: this.#loadedBytes,
      total: this.#plan.totalBytes,
      unit: "bytes",
      detail,
    });
  }
}

/** The rows of neurons in a projection, decoded one by one. */
function gatherRows({ dtype, shape }: ReadableTensor, raw: Uint8Array, neurons: Uint32Array, out: Float32Array): void {
  const dModel = shape[1]!;
  const rowBytes = dModel * sourceElementBytes(dtype);
  for (const [i, neuron] of neurons.entries()) {
    const row = raw.subarray(neuron * rowBytes, (neuron + 1) * rowBytes);
    decodeElements(dtype, row, out.subarray(i * dModel, (i + 1) * dModel));
  }
}

/** @param neuronOf The neuron that row i is of. */
function checkRows({ gate, up, down }: PlannedLayer, rows: ValueRows, neuronOf: (row: number) => number): void {
  const dModel = up.shape[1]!;
  const inRow = (i: number): [number, number] => [neuronOf(Math.floor(i / dModel)), i % dModel];
  if (gate && rows.gate) checkFinite(rows.gate, gate, inRow);
  checkFinite(rows.up, up, inRow);
  checkFinite(rows.down, down, (i) => [i % dModel, neuronOf(Math.floor(i / dModel))]);
}

/** @param place Row and column, or for a vector row 0 and index, of element i. */
function checkFinite(values: Float32Array, tensor: ReadableTensor, place: (i: number) => [number, number]): void {
  const index = firstNonFinite(values);
  if (index < 0) return;
  const at = place(index).slice(tensor.shape.length === 1 ? 1 : 0);
  const found = String(values[index]);
  const file = tensor.source.name;
  throw new FormatError(
    "CHECKPOINT_TENSOR_VALUE",
    `${file}: tensor ${tensor.name}: expected finite weights, found ${found} at ${formatShape(at)}; the checkpoint is damaged or diverged in training`,
    { details: { file, tensor: tensor.name, at, found } },
  );
}

async function identify(folder: CheckpointFolder, { shardNames, fileName }: CheckpointWeights): Promise<string> {
  const names = [...new Set(["config.json", fileName, ...shardNames])];
  const identities = await Promise.all(names.map((name) => folder.identify(name)));
  return JSON.stringify(names.map((name, i) => [name, identities[i]]));
}

function baseName(path: string): string {
  return path.split(/[\\/]/).filter(Boolean).at(-1) ?? path;
}

function describe(header: ModelHeader): ConversionResult {
  const { geometry: g } = header;
  const weights = recordLayout(header);
  const { attention, ffn } = g.layers[0]!;
  let residentBytes = 0;
  for (const { sizeBytes, scales } of header.tensors.values()) residentBytes += sizeBytes + (scales?.sizeBytes ?? 0);
  return {
    architecture: g.architecture,
    nLayers: g.layers.length,
    dModel: g.dModel,
    dFf: widestFfn(g),
    nHeads: attention.nHeads,
    nKvHeads: attention.nKvHeads,
    vocabSize: g.vocabSize,
    contextLength: g.contextLength,
    activation: ffn.activation,
    dtype: weights.dtype,
    layout: weights.layout,
    strideBytes: weights.strideBytes,
    placement: header.placement ? "table" : "identity",
    fileBytes: header.fileBytes,
    residentBytes,
    ffnBytes: ffnBytes(g, weights),
    tokenizer: header.tokenizerKind,
    fingerprint: header.fingerprint,
  };
}
