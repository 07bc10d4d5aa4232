/**
 * Weights become a model file, streaming, whatever holds them.
 *
 * Invariants:
 * - memory: one down projection as stored, and of gated neurons the gate, with a placement or pruned the up projection
 *   as well, by columns all of a layer's projections, of fused experts one of them, with a calibration a layer's neurons in f32 and a matrix of f64 as wide as it has neurons,
 *   plus blocks of {@link BLOCK_BYTES}; nothing else grows with the model;
 * - each tensor's bytes are read once, in order, and their CRC-32C is that of the rows as stored, so the model's fingerprint
 *   does not depend on how it is cut into blocks, nor on the dtype or layout of the output;
 * - no weight is NaN or infinite;
 * - on any failure the writer is abandoned, on an abort suspended, and every file closed.
 */
import {
  blockElements,
  type ConvertDType,
  MiB,
  type ModelGeometry,
  type OnProgress,
  type RecordDType,
  type ResidentDType,
  rowBytes,
  UnsupportedError,
} from "@flashwick/core";
import { crc32c } from "../crc32c.js";
import type { ModelHeader } from "../model-file.js";
import type { ModelSpec, ModelWriter, NeuronRows } from "../model-writer.js";
import { gateName } from "../resident-tensors.js";
import { type Calibration, calibrationSpec, checkCalibrates } from "./calibration.js";
import type { CheckpointTensor, ReadableTensor } from "./checkpoint-tensor.js";
import type { CheckpointWeights } from "./checkpoint-weights.js";
import { compensateLayer } from "./compensation/compensated-layer.js";
import {
  type ConversionPlan,
  matrixBytes,
  type PlannedLayer,
  type PlannedTensor,
  planConversion,
} from "./conversion-plan.js";
import { type ConversionResult, describeConversion } from "./conversion-result.js";
import { ExpertConversion } from "./expert-conversion.js";
import type { WeightNames } from "./families/family.js";
import { checkFinite } from "./finite-check.js";
import { type NeuronPruning, prunedGeometry, prunedSpec } from "./neuron-pruning.js";
import { ReusedBytes } from "./reused-bytes.js";
import { decodeElements, gatherColumns, takeEvery, transposeColumns } from "./source-elements.js";

/** How a conversion stores what it reads. */
export interface ConvertOptions {
  /** Type of the records. Default: what the source says it has, else f16. */
  readonly dtype?: ConvertDType;
  /** Type of resident matrices. Default: `dtype`, or q8_0 beside q4. */
  readonly residentDtype?: ResidentDType | null;
  /** Gates stay in DRAM in this type, a matrix a layer, and records have none: the gate of a ReLU names the neurons. Default: gates are in the records. */
  readonly gateDtype?: ResidentDType | null;
  /** Default `bundled`. `columns`: what a pruned FFN reads, of models whose FFNs leave no zeros. */
  readonly layout?: "bundled" | "split" | "columns";
  /** Record stride in bytes. Default `auto`. */
  readonly stride?: "auto" | number;
  /** By layer, at i: which neuron record i holds. Default: in the checkpoint's order. */
  readonly placement?: readonly Uint32Array[] | null;
  /** Leaves neurons out. Default: all stay. Not beside a placement. */
  readonly prune?: NeuronPruning | null;
  /** Makes up for what records of q4, and neurons that are left out, lose. Default: nothing does. */
  readonly calibration?: Calibration | null;
  /** Aborts within one read of at most 8 MiB; what was finished is kept for the next run, if the writer has a journal. */
  readonly signal?: AbortSignal;
  /** Phase "convert", in bytes of the source. */
  readonly onProgress?: OnProgress;
}

/**
 * Makes the writer of the output, once its spec is known.
 *
 * @param sourceIdentity Changes whenever the source may have: an unfinished output of another one must not be continued.
 */
export type CreateWriter = (spec: ModelSpec, sourceIdentity: string) => Promise<ModelWriter>;

/** Bytes of a block as stored in the source: large enough for full speed, small enough to abort and to hold several. */
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

/** What is converted, whatever holds it. */
export interface ConversionSource {
  readonly geometry: ModelGeometry;
  readonly names: WeightNames;
  readonly weights: CheckpointWeights;
  /** Changes whenever the weights may have. */
  readonly identity: string;
  /** What the matrices are stored as, where that is a type of records; null otherwise. */
  readonly dtype: RecordDType | null;
  /** Types that experts keep unless another is asked for: as `expertDTypes` of the spec. Null: none in particular. */
  readonly expertDTypes?: ModelSpec["expertDTypes"];
  /** Of matrices beside such experts. Null: as the records. */
  readonly residentDtype?: ResidentDType | null;
  /** Of the checkpoint, if the weights are a model file's that was made of it. */
  readonly fingerprint?: string | null;
  readonly labels: Pick<ModelSpec, "tokenizerJson" | "tokenizerKind" | "tokenizerMetadata" | "name">;
}

/**
 * Converts weights that are open.
 *
 * @throws As `convertCheckpoint`.
 */
export async function convertWeights(
  { geometry, names, weights, identity, dtype, labels, fingerprint = null, ...kept }: ConversionSource,
  createWriter: CreateWriter,
  options: ConvertOptions,
): Promise<ConversionResult> {
  const { expertDTypes = null, residentDtype = null } = options.dtype ? {} : kept;
  const { prune = null, calibration = null } = options;
  const spec: ModelSpec = {
    geometry: prune ? prunedGeometry(geometry, prune) : geometry,
    dtype: options.dtype ?? dtype ?? "f16",
    expertDTypes,
    residentDtype: options.residentDtype ?? residentDtype,
    gateDtype: options.gateDtype ?? null,
    layout: options.layout ?? "bundled",
    strideBytes: options.stride ?? "auto",
    placement: prune?.kept ?? options.placement ?? null,
    pruned: prune && prunedSpec(geometry, prune),
    calibration: calibration && calibrationSpec(calibration),
    fingerprint,
    ...labels,
  };
  if (calibration) checkCalibrates(calibration, geometry, spec);
  const writer = await createWriter(spec, identity);
  const plan = () => planConversion(names, geometry, weights);
  const header = await write(writer, spec, options, plan);
  return describeConversion(header, writer.loss);
}

async function write(
  writer: ModelWriter,
  spec: ModelSpec,
  options: ConvertOptions,
  plan: () => ConversionPlan,
): Promise<ModelHeader> {
  try {
    await new Conversion(writer, plan(), spec, options).run();
    return await writer.finish();
  } catch (error) {
    const end = options.signal?.aborted ? writer.suspend() : writer.abandon();
    // What went wrong first is what the caller must see, even if cleaning up fails too.
    await end.catch(() => {});
    throw error;
  }
}

/** The acting part: executes a {@link ConversionPlan}. */
class Conversion {
  readonly #writer: ModelWriter;
  readonly #plan: ConversionPlan;
  readonly #expertDTypes: NonNullable<ModelSpec["expertDTypes"]> | null;
  readonly #placement: ModelSpec["placement"];
  readonly #residentGate: boolean;
  readonly #byColumns: boolean;
  readonly #dtype: ModelSpec["dtype"];
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

  constructor(writer: ModelWriter, plan: ConversionPlan, spec: ModelSpec, options: ConvertOptions) {
    this.#writer = writer;
    this.#plan = plan;
    this.#expertDTypes = spec.expertDTypes ?? null;
    this.#placement = spec.placement;
    this.#residentGate = (spec.gateDtype ?? null) !== null;
    this.#byColumns = spec.layout === "columns";
    this.#dtype = spec.dtype;
    this.#options = options;
  }

  async run(): Promise<void> {
    for (const planned of this.#plan.tensors) {
      if (this.#isDone(planned)) continue;
      const convert = planned.isVector ? this.#convertVector(planned) : this.#convertTensor(planned);
      await this.#writer.complete(planned.name, await convert);
    }
    for (const planned of this.#plan.layers) {
      const parts = [...(this.#residentGate ? [gateName(planned.layer)] : []), planned.name];
      const missing = parts.filter((name) => !this.#writer.isComplete(name));
      if (missing.length === 0) {
        this.#advance(planned.sizeBytes, planned.name);
        continue;
      }
      const crc = await this.#convertLayer(planned, new Set(missing));
      for (const name of missing) await this.#writer.complete(name, crc);
    }
    const experts = new ExpertConversion(this.#writer, (...range) => this.#readAt(...range), this.#expertDTypes);
    for (const planned of this.#plan.experts) {
      if (this.#isDone(planned)) continue;
      await this.#writer.complete(planned.name, await experts.convert(planned));
    }
  }

  #isDone({ name, sizeBytes }: { readonly name: string; readonly sizeBytes: number }): boolean {
    if (!this.#writer.isComplete(name)) return false;
    this.#advance(sizeBytes, name);
    return true;
  }

  /** Norms and biases: small enough for one piece, gathered where they are fused with others. @returns As for matrices. */
  async #convertVector({ name, tensor, rows, cols, plus }: PlannedTensor): Promise<number> {
    const values = new Float32Array(cols);
    let crc = 0;
    let at = 0;
    for (const { first, count } of rows) {
      const raw = this.#raw.take(rowBytes(tensor.dtype, count));
      await this.#read(tensor, rowBytes(tensor.dtype, first), raw, name);
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
    return (layer !== undefined && this.#placement?.[Number(layer)]) || null;
  }

  /** @returns CRC-32C of the rows as stored. */
  async #convertTensor({ name, tensor, rows, columns }: PlannedTensor): Promise<number> {
    const cols = tensor.shape.at(-1)!;
    const stride = rowBytes(tensor.dtype, cols);
    // Blocks of four bits are eight times as large when they are read.
    const blockRows = Math.max(1, Math.floor(BLOCK_BYTES / Math.max(stride, 2 * cols)));
    let crc = 0;
    for (const { first, count } of rows) {
      for (let row = first; row < first + count; row += blockRows) {
        const n = Math.min(blockRows, first + count - row);
        const raw = this.#raw.take(n * stride);
        await this.#read(tensor, row * stride, raw, name);
        crc = crc32c(raw, crc);
        const values = this.#values.takeFloats(n * cols);
        decodeElements(tensor.dtype, raw, values);
        checkFinite(values, tensor, (i) => [row + Math.floor(i / cols), i % cols]);
        await this.#writer.writeRows(name, takeEvery(values, columns));
      }
    }
    return crc;
  }

  /**
   * @param missing What of the layer is to be written: its records, its resident gate, or both.
   * @returns CRC-32C of gate (of gated neurons), up and down projection as stored, one after the other.
   */
  async #convertLayer(planned: PlannedLayer, missing: ReadonlySet<string>): Promise<number> {
    const { name, layer, up, down } = planned;
    const [dFf, dModel] = up.shape as [number, number];
    const downRaw = await this.#readWhole(down, this.#downRaw, name);
    const order = this.#placement?.[layer];
    const { calibration } = this.#options;
    if (calibration)
      return await this.#convertCalibrated(planned, calibration, { order: order ?? null, downRaw }, missing);
    if (order) return await this.#convertPlaced(planned, { order, downRaw }, missing);
    if (this.#byColumns) return await this.#convertColumns(planned, downRaw);
    const blockNeurons = neuronsAtOnce(dModel, blockElements(down.dtype));
    const tile = new Float32Array(16 * Math.min(blockNeurons, dFf));
    const gateRaw = planned.gate && (await this.#readWhole(planned.gate, this.#gateRaw, name));
    let crc = gateRaw ? crc32c(gateRaw) : 0;
    for (let first = 0; first < dFf; first += blockNeurons) {
      const n = Math.min(blockNeurons, dFf - first);
      const rows = this.#valueRows(planned, n);
      if (planned.gate && gateRaw && rows.gate) {
        const stride = gateRaw.length / dFf;
        decodeElements(planned.gate.dtype, gateRaw.subarray(first * stride, (first + n) * stride), rows.gate);
      }
      const upRaw = this.#raw.take(n * rowBytes(up.dtype, dModel));
      await this.#read(up, (first * upRaw.length) / n, upRaw, name);
      crc = crc32c(upRaw, crc);
      decodeElements(up.dtype, upRaw, rows.up);
      transposeColumns(down.dtype, downRaw, dModel, dFf, first, tile, rows.down);
      checkRows(planned, rows, (i) => first + i);
      await this.#writeNeurons(planned, first, rows, missing);
    }
    return crc32c(downRaw, crc);
  }

  /** As {@link #convertLayer}, by columns of every projection. */
  async #convertColumns({ name, layer, gate, up, down }: PlannedLayer, downRaw: Uint8Array): Promise<number> {
    const gateRaw = gate && (await this.#readWhole(gate, this.#gateRaw, name));
    const upRaw = await this.#readWhole(up, this.#upRaw, name);
    const inputs = [
      ...(gate && gateRaw ? [{ role: "gate", tensor: gate, raw: gateRaw, into: this.#gateValues } as const] : []),
      { role: "up", tensor: up, raw: upRaw, into: this.#values } as const,
    ];
    const outputs = [{ role: "down", tensor: down, raw: downRaw, into: this.#downValues } as const];
    for (const [stage, matrices] of [["inputs", inputs] as const, ["outputs", outputs] as const]) {
      const [height, columns] = matrices[0]!.tensor.shape as [number, number];
      const unit = Math.max(...matrices.map(({ tensor }) => blockElements(tensor.dtype)));
      const most = neuronsAtOnce(height, unit);
      const tile = new Float32Array(16 * Math.min(most, columns));
      for (let first = 0; first < columns; first += most) {
        const n = Math.min(most, columns - first);
        const rows = matrices.map(({ role, tensor, raw, into }) => {
          const values = into.takeFloats(n * height);
          transposeColumns(tensor.dtype, raw, height, columns, first, tile, values);
          checkFinite(values, tensor, (i) => [i % height, first + Math.floor(i / height)]);
          return [role, values] as const;
        });
        await this.#writer.writeColumns(layer, stage, Object.fromEntries(rows));
      }
    }
    return crc32c(downRaw, crc32c(upRaw, gateRaw ? crc32c(gateRaw) : 0));
  }

  /** As {@link #convertLayer}, record i from neuron `order[i]`. */
  async #convertPlaced(
    planned: PlannedLayer,
    { order, downRaw }: Placed,
    missing: ReadonlySet<string>,
  ): Promise<number> {
    const { name, gate, up, down } = planned;
    const [all, dModel] = up.shape as [number, number];
    const gateRaw = gate && (await this.#readWhole(gate, this.#gateRaw, name));
    const upRaw = await this.#readWhole(up, this.#upRaw, name);
    const blockNeurons = neuronsAtOnce(dModel, 1);
    for (let first = 0; first < order.length; first += blockNeurons) {
      const neurons = order.subarray(first, Math.min(first + blockNeurons, order.length));
      const rows = this.#valueRows(planned, neurons.length);
      if (gate && gateRaw && rows.gate) gatherRows(gate, gateRaw, neurons, rows.gate);
      gatherRows(up, upRaw, neurons, rows.up);
      gatherColumns(down.dtype, downRaw, dModel, all, neurons, rows.down);
      checkRows(planned, rows, (i) => neurons[i]!);
      await this.#writeNeurons(planned, first, rows, missing);
    }
    return crc32c(downRaw, crc32c(upRaw, gateRaw ? crc32c(gateRaw) : 0));
  }

  /** As {@link #convertLayer}, the whole layer at once, so that its neurons make up for each other's losses. A resident gate loses what its type does. */
  async #convertCalibrated(
    planned: PlannedLayer,
    { moments }: Calibration,
    { order, downRaw }: { readonly order: Uint32Array | null; readonly downRaw: Uint8Array },
    missing: ReadonlySet<string>,
  ): Promise<number> {
    const { name, layer, gate, up, down } = planned;
    const [all, dModel] = up.shape as [number, number];
    const gateRaw = gate && (await this.#readWhole(gate, this.#gateRaw, name));
    const upRaw = await this.#readWhole(up, this.#upRaw, name);
    const neurons = Uint32Array.from({ length: all }, (_, neuron) => neuron);
    const kept = order ?? neurons;
    const rows = this.#valueRows(planned, all);
    if (gate && gateRaw && rows.gate) gatherRows(gate, gateRaw, this.#residentGate ? kept : neurons, rows.gate);
    gatherRows(up, upRaw, neurons, rows.up);
    gatherColumns(down.dtype, downRaw, dModel, all, neurons, rows.down);
    checkRows(planned, rows, (i) => i);
    const ofLayer = await moments.readLayer(layer, this.#options.signal);
    const inRecords = this.#residentGate ? { ...rows, gate: null } : rows;
    const stored = compensateLayer(inRecords, ofLayer, { dModel, dtype: this.#dtype, kept });
    const residentGate = this.#residentGate && rows.gate ? rows.gate.subarray(0, kept.length * dModel) : null;
    await this.#writeNeurons(planned, 0, { ...stored, gate: residentGate ?? stored.gate ?? null }, missing);
    return crc32c(downRaw, crc32c(upRaw, gateRaw ? crc32c(gateRaw) : 0));
  }

  /** Neurons as records, whose gates are in them or a matrix of their own. */
  async #writeNeurons(
    { name, layer }: PlannedLayer,
    first: number,
    rows: NeuronRows,
    missing: ReadonlySet<string>,
  ): Promise<void> {
    if (!this.#residentGate) return await this.#writer.writeNeurons(layer, first, rows);
    if (rows.gate && missing.has(gateName(layer))) await this.#writer.writeRows(gateName(layer), rows.gate);
    if (missing.has(name)) await this.#writer.writeNeurons(layer, first, { ...rows, gate: null });
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
    const sizeBytes = matrixBytes(tensor);
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

  async #read(tensor: CheckpointTensor, at: number, target: Uint8Array, name: string): Promise<void> {
    await this.#readAt(tensor, tensor.offset + at, target, name);
  }

  async #readAt({ source }: CheckpointTensor, offset: number, target: Uint8Array, name: string): Promise<void> {
    this.#options.signal?.throwIfAborted();
    await source.read(target, offset, this.#options.signal);
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

/** Neurons, or columns, of a block of f32, a multiple of `unit`: what shares a block of a row of the down projection stays together. */
function neuronsAtOnce(dModel: number, unit: number): number {
  const fit = Math.floor(BLOCK_BYTES / (dModel * Float32Array.BYTES_PER_ELEMENT));
  return unit * Math.max(1, Math.floor(fit / unit));
}

/** The rows of neurons in a projection, decoded one by one. */
function gatherRows({ dtype, shape }: ReadableTensor, raw: Uint8Array, neurons: Uint32Array, out: Float32Array): void {
  const dModel = shape[1]!;
  const stride = rowBytes(dtype, dModel);
  for (const [i, neuron] of neurons.entries()) {
    const row = raw.subarray(neuron * stride, (neuron + 1) * stride);
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
