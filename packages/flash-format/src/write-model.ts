/**
 * The streaming writer of model files.
 *
 * Invariants:
 * - Memory: one encoding buffer of about a megabyte, four bytes per neuron or expert of a layer, four per row of an int8 tensor.
 * - The header goes in last, so an unfinished file never opens; and the sink gives the file its name only after that.
 * - Bytes depend on spec and weights alone, not on how the rows were cut into calls, nor on interruptions.
 * - After any failure of the sink nothing is left behind; after a crash or `suspend`, what the journal tells of and the bytes
 *   bear out need not be written again.
 */
import { assert, type ByteSink, COLUMN_STAGES, type ColumnStage, type DType, FormatError } from "@flashwick/core";
import { BLOCK_ELEMENTS } from "@flashwick/kernels/reference";
import { checkCalibration } from "./calibration.js";
import { ColumnWriter } from "./column-writer.js";
import { checkContainer, encodeContainerHeader } from "./container.js";
import { crc32c } from "./crc32c.js";
import { ExpertWriter, type UnstorableExpertWeight } from "./expert-writer.js";
import { modelFingerprint, type SourceTensor, sha256Hex } from "./fingerprint.js";
import { FinishedParts } from "./finished-parts.js";
import type { GgufValue } from "./gguf.js";
import { decodeGgufHeader } from "./gguf-decoder.js";
import { encodeGgufHeader } from "./gguf-encoder.js";
import type { ModelHeader } from "./model-file.js";
import { decodeModelHeader } from "./model-header.js";
import {
  type ColumnPlan,
  type ExpertPlan,
  type ModelPlan,
  neuronLayout,
  planModelFile,
  plannedColumns,
  type RecordPlan,
  type ResidentPlan,
  recordsName,
} from "./model-layout.js";
import type {
  ColumnRows,
  ModelSpec,
  ModelWriter,
  ModelWriterOptions,
  NeuronRows,
  RoundedBlocks,
  TensorShape,
  WriteJournal,
} from "./model-writer.js";
import { placementBytes, placementFacts } from "./placement.js";
import { prunedFacts, unprunedShape } from "./pruning.js";
import { LossTally, type QuantisationLoss } from "./quantisation-loss.js";
import { RecordEncoder, type UnstorableWeight } from "./record-encoder.js";
import { isNeuronGate } from "./resident-tensors.js";
import { RowEncoder, type UnstorableValue } from "./row-encoder.js";
import { decodeJournal, encodePartLine, encodePlanLine, type FinishedPart } from "./write-journal.js";

/** Bytes encoded and written at once, at least one row or record. */
const ENCODE_BYTES = 1024 * 1024;

/**
 * Begins a model file, or continues an interrupted one: if `options.journal` belongs to the same spec and source, the
 * parts that it names and whose bytes are whole are reported by `isComplete`.
 *
 * @throws {InputError} `INPUT_INVALID` for an impossible stride. {UnsupportedError} `UNSUPPORTED_ARCHITECTURE`;
 *   `UNSUPPORTED_FEATURE` for an int8 matrix that is too wide.
 *   {FormatError} `FORMAT_INVALID` for a geometry that could not be read back. Then nothing is written.
 * Cost: when continuing, reads what was finished once.
 */
export async function createModelWriter(
  sink: ByteSink,
  spec: ModelSpec,
  options: ModelWriterOptions = {},
): Promise<ModelWriter> {
  const plan = planModelFile(spec);
  // What the reader would refuse is refused now, not after an hour of writing.
  sealedHeader(plan, new Uint32Array(plan.tensors.length), new Map(), sink.name);
  const writer = new StreamingModelWriter(sink, spec, plan, options.journal ?? null);
  await writer.begin(options.sourceIdentity ?? "");
  return writer;
}

/** A part on its way: how much of it is written, and what its checksums have come to. */
type Part = ResidentPart | RecordsPart | ColumnsPart | ExpertsPart;

interface ResidentPart {
  readonly kind: "resident";
  readonly plan: ResidentPlan;
  rowsDone: number;
  crc: number;
  readonly scales: Float32Array | null;
  readonly tally: LossTally;
}

interface RecordsPart {
  readonly kind: "records";
  readonly plan: RecordPlan;
  neuronsDone: number;
  readonly crcs: Uint32Array;
  readonly tally: LossTally;
}

interface ColumnsPart {
  readonly kind: "columns";
  readonly plan: ColumnPlan;
  readonly writer: ColumnWriter;
  readonly tally: LossTally;
}

interface ExpertsPart {
  readonly kind: "experts";
  readonly plan: ExpertPlan;
  readonly writer: ExpertWriter;
  readonly tally: LossTally;
}

class StreamingModelWriter implements ModelWriter {
  readonly residentTensors: readonly TensorShape[];
  readonly #sink: ByteSink;
  readonly #spec: ModelSpec;
  readonly #plan: ModelPlan;
  readonly #journal: WriteJournal | null;
  /** By layer; none where neurons stand as the checkpoint has them. */
  readonly #placementFacts: readonly SourceTensor[];
  readonly #finished = new Map<string, FinishedPart>();
  readonly #open = new Map<string, Part>();
  readonly #rowEncoders = new Map<string, RowEncoder>();
  #recordEncoder: RecordEncoder | null = null;
  #ended = false;

  constructor(sink: ByteSink, spec: ModelSpec, plan: ModelPlan, journal: WriteJournal | null) {
    this.#sink = sink;
    this.#spec = spec;
    this.#plan = plan;
    this.#journal = journal;
    this.#placementFacts = placementFacts(spec.placement ?? []);
    this.residentTensors = Array.from(plan.residents.values(), (resident) => resident.shape);
  }

  /** Takes up what an earlier run finished, or clears what it left. */
  async begin(sourceIdentity: string): Promise<void> {
    if (this.#journal === null) return;
    const planHash = planHashOf(this.#spec, sourceIdentity, this.#placementFacts);
    const parts = decodeJournal(await this.#journal.entries(), planHash);
    if (parts === null) {
      await this.#journal.clear();
      await this.#journal.append(encodePlanLine(planHash));
      return;
    }
    const found = new FinishedParts(this.#sink, this.#plan);
    for (const part of parts) if (await found.isBorneOut(part)) this.#finished.set(part.name, part);
  }

  isComplete(name: string): boolean {
    return this.#finished.has(name);
  }

  async writeRows(name: string, rows: Float32Array): Promise<void> {
    const part = this.#residentPart(name);
    const { cols, rows: rowCount } = part.plan.shape;
    assert(rows.length % cols === 0, `${name}: ${rows.length} elements are not whole rows of ${cols}`);
    const count = rows.length / cols;
    assert(part.rowsDone + count <= rowCount, `${name} has ${rowCount} rows`);
    const encoder = this.#rowEncoder(part.plan.dtype, cols);
    const role = isNeuronGate(name, { gate: this.#gateDtype }) ? "gate" : "resident";
    const rowBytes = encoder.rowBytes(cols);
    const batch = Math.floor(encoder.bytes.length / rowBytes);
    for (let begin = 0; begin < count; begin += batch) {
      const end = Math.min(begin + batch, count);
      for (let r = begin; r < end; r++) {
        const stored = encoder.encode(rows.subarray(r * cols, (r + 1) * cols), (r - begin) * rowBytes);
        if (!stored) throw this.#unstorableRow(part, part.rowsDone + r - begin, encoder.unstorable!);
        if (encoder.isLossy) part.tally.add(role, encoder.squaredError, encoder.squaredSum);
        if (part.scales !== null) part.scales[part.rowsDone + r - begin] = encoder.scale;
      }
      await this.#writeRowBytes(part, encoder.bytes.subarray(0, (end - begin) * rowBytes), rowBytes);
    }
  }

  async writeNeurons(
    layer: number,
    firstNeuron: number,
    { gate = null, up, down, rounded = null }: NeuronRows,
  ): Promise<void> {
    const { dModel } = this.#spec.geometry;
    const part = this.#recordsPart(layer);
    const dFf = this.#neuronsOf(layer);
    const count = up.length / dModel;
    const isWhole = Number.isInteger(count) && down.length === up.length && (gate?.length ?? up.length) === up.length;
    assert(isWhole, `layer ${layer}: gate, up and down are [n, ${dModel}] each`);
    assert(
      firstNeuron === part.neuronsDone,
      `layer ${layer}: neuron ${part.neuronsDone} comes next, not ${firstNeuron}`,
    );
    assert(firstNeuron + count <= dFf, `layer ${layer} has ${dFf} neurons`);
    const encoder = this.#recordEncoderOf();
    const blocks = dModel / BLOCK_ELEMENTS;
    if (rounded) part.tally.addAll(rounded.squares);
    for (let begin = 0; begin < count; begin += encoder.capacity) {
      const end = Math.min(begin + encoder.capacity, count);
      const crcs = part.crcs.subarray(part.neuronsDone, part.neuronsDone + end - begin);
      const rowsOf = (all: Float32Array) => all.subarray(begin * dModel, end * dModel);
      const rows = {
        ...{ gate: gate && rowsOf(gate), up: rowsOf(up), down: rowsOf(down) },
        rounded: rounded && roundedRows(rounded, begin * blocks, end * blocks),
      };
      const unstorable = encoder.encode(rows, crcs, part.tally);
      if (unstorable !== null) {
        throw this.#unstorableWeight(part, unstorable);
      }
      await this.#writeRecords(part, encoder, end - begin);
    }
  }

  async writeColumns(layer: number, stage: ColumnStage, rows: ColumnRows): Promise<void> {
    const { writer } = this.#columnsPart(layer);
    const unstorable = await writer.writeRows(stage, rows);
    // Column i of a matrix is row i here.
    if (unstorable) throw this.#unstorableAt(layer, unstorable, unstorable.element.column, unstorable.neuron);
  }

  async writeExpertRows(layer: number, rows: Float32Array): Promise<void> {
    const part = this.#expertsPart(layer);
    const unstorable = await part.writer.writeRows(rows);
    if (unstorable !== null) throw this.#unstorableExpert(part, unstorable);
  }

  async writeExpertBytes(layer: number, bytes: Uint8Array): Promise<void> {
    await this.#expertsPart(layer).writer.writeBytes(bytes);
  }

  async complete(name: string, sourceCrc32c: number): Promise<void> {
    const part = this.#open.get(name);
    assert(part !== undefined, `${name}: nothing was written`);
    const crcs = await this.#end(part);
    const finished: FinishedPart = { name, sourceCrc32c: sourceCrc32c >>> 0, crcs, squares: part.tally.sums };
    this.#open.delete(name);
    this.#finished.set(name, finished);
    await this.#guard(async () => this.#journal?.append(encodePartLine(finished)));
  }

  get loss(): QuantisationLoss | null {
    const tally = new LossTally();
    for (const { squares } of this.#finished.values()) tally.addAll(squares);
    return tally.loss;
  }

  async finish(): Promise<ModelHeader> {
    const missing = this.#partNames().filter((name) => !this.#finished.has(name));
    assert(missing.length === 0, `finish() before ${missing.join(", ")}`);
    const { pruned, calibration } = this.#spec;
    if (calibration) await this.#guard(async () => checkCalibration(calibration, this.#checkpointFingerprint()));
    const facts = new Map<string, GgufValue>([
      ["flashwick.fingerprint", { type: "string", value: this.#fingerprint() }],
      ...(pruned ? await this.#guard(async () => prunedFacts(pruned, this.#checkpointFingerprint())) : []),
    ]);
    await this.#writePlacement();
    const { bytes, header } = sealedHeader(this.#plan, this.#tensorCrcs(), facts, this.#sink.name);
    await this.#write(bytes, 0);
    await this.#guard(() => this.#sink.commit(this.#plan.container.fileBytes));
    this.#ended = true;
    return header;
  }

  async abandon(): Promise<void> {
    this.#ended = true;
    await this.#sink.abandon();
  }

  async suspend(): Promise<void> {
    if (this.#ended || this.#journal === null || this.#finished.size === 0) return await this.abandon();
    this.#ended = true;
    await this.#sink.suspend();
  }

  #partNames(): string[] {
    const { residents, records, columns, experts } = this.#plan;
    return [...residents.keys(), ...[...records, ...columns, ...experts].map(({ layer }) => recordsName(layer))];
  }

  #residentPart(name: string): ResidentPart {
    const existing = this.#open.get(name);
    if (existing?.kind === "resident") return existing;
    assert(!this.#finished.has(name), `${name} is complete already`);
    const plan = this.#plan.residents.get(name);
    assert(plan !== undefined, `${name} is no resident tensor of this geometry`);
    const scales = plan.scale === null ? null : new Float32Array(plan.shape.rows);
    const part: ResidentPart = { kind: "resident", plan, rowsDone: 0, crc: 0, scales, tally: new LossTally() };
    this.#open.set(name, part);
    return part;
  }

  #recordsPart(layer: number): RecordsPart {
    const name = recordsName(layer);
    const existing = this.#open.get(name);
    if (existing?.kind === "records") return existing;
    assert(!this.#finished.has(name), `${name} is complete already`);
    const plan = this.#plan.records[layer];
    assert(plan !== undefined, `layer ${layer} of ${this.#plan.records.length}`);
    const crcs = new Uint32Array(this.#neuronsOf(layer));
    const part: RecordsPart = { kind: "records", plan, neuronsDone: 0, crcs, tally: new LossTally() };
    this.#open.set(name, part);
    return part;
  }

  #columnsPart(layer: number): ColumnsPart {
    const name = recordsName(layer);
    const existing = this.#open.get(name);
    if (existing?.kind === "columns") return existing;
    assert(!this.#finished.has(name), `${name} is complete already`);
    const plan = this.#plan.columns[layer];
    assert(plan !== undefined, `layer ${layer} of ${this.#plan.columns.length}`);
    const writer = new ColumnWriter(plan, plannedColumns(this.#plan), (stage, bytes, at) =>
      this.#write(bytes, this.#offsetOf(plan[stage].records) + at),
    );
    const part: ColumnsPart = { kind: "columns", plan, writer, tally: writer.tally };
    this.#open.set(name, part);
    return part;
  }

  #expertsPart(layer: number): ExpertsPart {
    const name = recordsName(layer);
    const existing = this.#open.get(name);
    if (existing?.kind === "experts") return existing;
    assert(!this.#finished.has(name), `${name} is complete already`);
    const plan = this.#plan.experts.find((candidate) => candidate.layer === layer);
    assert(plan !== undefined, `layer ${layer} has experts`);
    const begin = this.#offsetOf(plan.records);
    const writer = new ExpertWriter(plan, (bytes, at) => this.#write(bytes, begin + at));
    const part: ExpertsPart = { kind: "experts", plan, writer, tally: writer.tally };
    this.#open.set(name, part);
    return part;
  }

  #rowEncoder(dtype: ResidentPlan["dtype"], cols: number): RowEncoder {
    const rowBytes = 4 * cols;
    const existing = this.#rowEncoders.get(dtype);
    if (existing !== undefined && existing.bytes.length >= rowBytes) return existing;
    const encoder = new RowEncoder(dtype, Math.max(ENCODE_BYTES, rowBytes));
    this.#rowEncoders.set(dtype, encoder);
    return encoder;
  }

  #recordEncoderOf(): RecordEncoder {
    const weights = neuronLayout(this.#plan);
    const capacity = Math.max(1, Math.floor(ENCODE_BYTES / weights.strideBytes));
    this.#recordEncoder ??= new RecordEncoder(weights, this.#spec.geometry.dModel, capacity);
    return this.#recordEncoder;
  }

  async #writeRowBytes(part: ResidentPart, bytes: Uint8Array, rowBytes: number): Promise<void> {
    await this.#write(bytes, this.#offsetOf(part.plan.tensor) + part.rowsDone * rowBytes);
    part.crc = crc32c(bytes, part.crc);
    part.rowsDone += bytes.length / rowBytes;
  }

  async #writeRecords(part: RecordsPart, encoder: RecordEncoder, count: number): Promise<void> {
    const from = part.neuronsDone * neuronLayout(this.#plan).strideBytes;
    await this.#write(encoder.records(count), this.#offsetOf(part.plan.records) + from);
    if (part.plan.downRecords !== null) {
      await this.#write(encoder.downHalves(count), this.#offsetOf(part.plan.downRecords) + from);
    }
    part.neuronsDone += count;
  }

  async #end(part: Part): Promise<number[]> {
    if (part.kind === "resident") return await this.#endResident(part);
    if (part.kind === "records") return await this.#endRecords(part);
    if (part.kind === "columns") return await this.#endColumns(part);
    const { plan, writer } = part;
    const { expertsDone, crcs } = writer;
    assert(expertsDone === plan.count, `layer ${plan.layer}: ${expertsDone} of ${plan.count} experts written`);
    return await this.#writeChecksums(plan.checksums, crcs);
  }

  async #endResident(part: ResidentPart): Promise<number[]> {
    const { name, rows } = part.plan.shape;
    assert(part.rowsDone === rows, `${name}: ${part.rowsDone} of ${rows} rows written`);
    if (part.scales === null) return [part.crc];
    const scales = new Uint8Array(part.scales.buffer);
    await this.#write(scales, this.#offsetOf(part.plan.scale!));
    return [part.crc, crc32c(scales)];
  }

  async #endRecords(part: RecordsPart): Promise<number[]> {
    const dFf = this.#neuronsOf(part.plan.layer);
    assert(part.neuronsDone === dFf, `layer ${part.plan.layer}: ${part.neuronsDone} of ${dFf} neurons written`);
    return await this.#writeChecksums(part.plan.checksums, part.crcs);
  }

  async #endColumns({ plan, writer }: ColumnsPart): Promise<number[]> {
    writer.assertWhole();
    const crcs: number[] = [];
    for (const stage of COLUMN_STAGES) {
      crcs.push(...(await this.#writeChecksums(plan[stage].checksums, writer.crcs[stage])));
    }
    return crcs;
  }

  /** Of a layer's records. @returns Their own. */
  async #writeChecksums(tensor: number, crcs: Uint32Array): Promise<number[]> {
    const bytes = new Uint8Array(crcs.buffer);
    await this.#write(bytes, this.#offsetOf(tensor));
    return [crc32c(bytes)];
  }

  async #writePlacement(): Promise<void> {
    for (const [layer, tensor] of (this.#plan.placements ?? []).entries()) {
      await this.#write(placementBytes(this.#spec.placement![layer]!), this.#offsetOf(tensor));
    }
  }

  /** CRC-32C of every tensor in file order. The entry of a layer's records is that of their checksums. */
  #tensorCrcs(): Uint32Array {
    const crcs = new Uint32Array(this.#plan.tensors.length);
    for (const { shape, tensor, scale } of this.#plan.residents.values()) {
      const [elements, scales] = this.#finished.get(shape.name)!.crcs;
      crcs[tensor] = elements!;
      if (scale !== null) crcs[scale] = scales!;
    }
    for (const { layer, records, downRecords, checksums } of this.#plan.records) {
      const [crcOfCrcs] = this.#finished.get(recordsName(layer))!.crcs;
      for (const tensor of [records, downRecords, checksums]) if (tensor !== null) crcs[tensor] = crcOfCrcs!;
    }
    for (const { layer, ...stages } of this.#plan.columns) {
      const found = this.#finished.get(recordsName(layer))!.crcs;
      for (const [i, stage] of COLUMN_STAGES.entries()) {
        for (const tensor of [stages[stage].records, stages[stage].checksums]) crcs[tensor] = found[i]!;
      }
    }
    for (const { layer, records, checksums } of this.#plan.experts) {
      const [crcOfCrcs] = this.#finished.get(recordsName(layer))!.crcs;
      for (const tensor of [records, checksums]) crcs[tensor] = crcOfCrcs!;
    }
    for (const [layer, tensor] of (this.#plan.placements ?? []).entries()) {
      crcs[tensor] = this.#placementFacts[layer]!.sourceCrc32c;
    }
    return crcs;
  }

  #fingerprint(): string {
    return this.#spec.placement ? modelFingerprint(this.#sources()) : this.#checkpointFingerprint();
  }

  /** With all neurons, in the checkpoint's order. */
  #checkpointFingerprint(): string {
    const { pruned, fingerprint = null } = this.#spec;
    if (fingerprint) return fingerprint;
    const weights = this.#sources().filter((tensor) => !this.#placementFacts.includes(tensor));
    return modelFingerprint(weights.map((tensor) => ({ ...tensor, ...(pruned && unprunedShape(tensor, pruned)) })));
  }

  /** Every tensor and each layer's records and permutation, by what the fingerprint says of them. */
  #sources(): SourceTensor[] {
    const { dModel, layers } = this.#spec.geometry;
    const { records: ofNeurons, columns } = this.#plan;
    const neurons = [...ofNeurons, ...columns].map(({ layer }) => ({ layer, rows: this.#neuronsOf(layer) }));
    const experts = this.#plan.experts.map(({ layer, count }) => ({ layer, rows: count * layers[layer]!.ffn.dFf }));
    const records = [...neurons, ...experts].map(({ layer, rows }) => ({
      name: recordsName(layer),
      rows,
      cols: dModel,
    }));
    // Gates count with their layer's records, wherever they are stored: one checkpoint has one fingerprint.
    const residents = this.residentTensors.filter(({ name }) => !isNeuronGate(name, { gate: this.#gateDtype }));
    const weights = [...residents, ...records].map((shape) => ({
      ...shape,
      sourceCrc32c: this.#finished.get(shape.name)!.sourceCrc32c,
    }));
    return [...weights, ...this.#placementFacts];
  }

  get #gateDtype() {
    return this.#spec.gateDtype ?? null;
  }

  #neuronsOf(layer: number): number {
    return this.#spec.geometry.layers[layer]!.ffn.dFf;
  }

  #offsetOf(tensor: number): number {
    return this.#plan.container.tensors[tensor]!.offset;
  }

  async #write(bytes: Uint8Array, offset: number): Promise<void> {
    assert(!this.#ended, "the writer has ended");
    await this.#guard(() => this.#sink.write(bytes, offset));
  }

  /** After a failure nothing is written again, and nothing is left behind. */
  async #guard<T>(act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (error) {
      // Should abandoning fail as well, the first failure is the one to report.
      await this.abandon().catch(() => {});
      throw error;
    }
  }

  #unstorableRow(part: ResidentPart, row: number, element: UnstorableValue): FormatError {
    const { name } = part.plan.shape;
    const where = `${name}, row ${row}, column ${element.column}`;
    return this.#valueError(where, { tensor: name, row, column: element.column }, part.plan.dtype, element.value);
  }

  #unstorableWeight(part: RecordsPart, unstorable: UnstorableWeight): FormatError {
    const { matrix, neuron, element } = unstorable;
    // Gate and up projection hold a neuron as a row, the down projection as a column.
    const index = part.neuronsDone + neuron;
    const [row, col] = matrix === "down" ? [element.column, index] : [index, element.column];
    return this.#unstorableAt(part.plan.layer, unstorable, row, col);
  }

  #unstorableAt(
    layer: number,
    { matrix, element: { value } }: UnstorableWeight,
    row: number,
    col: number,
  ): FormatError {
    const tensor = `blk.${layer}.ffn_${matrix}.weight`;
    const where = `${tensor}, row ${row}, column ${col}`;
    return this.#valueError(where, { tensor, row, column: col }, this.#spec.dtype, value);
  }

  #unstorableExpert(
    { plan: { layer } }: ExpertsPart,
    { part, expert, row, element }: UnstorableExpertWeight,
  ): FormatError {
    const tensor = `blk.${layer}.ffn_${part.role}_exps.weight`;
    const where = `${tensor}, expert ${expert}, row ${row}, column ${element.column}`;
    const details = { tensor, expert, row, column: element.column };
    return this.#valueError(where, details, part.dtype, element.value, true);
  }

  #valueError(
    where: string,
    details: Record<string, unknown>,
    dtype: DType,
    value: number,
    isRecord = dtype === this.#spec.dtype,
  ): FormatError {
    const advice = `--${isRecord ? "" : "resident-"}dtype ${dtype === "bf16" || dtype === "int8" ? "f32" : "bf16 or f32"}`;
    const reason = Number.isFinite(value)
      ? `${value} is beyond the range of ${dtype}; convert with ${advice}`
      : `expected a finite number, found ${value}; the checkpoint is damaged`;
    return new FormatError("CHECKPOINT_TENSOR_VALUE", `${where}: ${reason}`, {
      details: { ...details, value: String(value), dtype },
    });
  }
}

/** The scales of blocks `begin` … `end − 1` of each part. */
function roundedRows({ scales, squares }: RoundedBlocks, begin: number, end: number): RoundedBlocks {
  const some = Object.entries(scales).map(([role, all]) => [role, all.subarray(begin, end)]);
  return { scales: Object.fromEntries(some), squares };
}

/** Equal for equal files of one source. */
function planHashOf(
  { placement, tokenizerMetadata, ...spec }: ModelSpec,
  sourceIdentity: string,
  placementFacts: readonly SourceTensor[],
): string {
  const vocabulary = tokenizerMetadata && crc32c(encodeGgufHeader({ metadata: tokenizerMetadata, tensors: [] }).bytes);
  return sha256Hex(JSON.stringify([2, spec, vocabulary ?? null, sourceIdentity, ...placementFacts]));
}

/** The header of a plan with its checksums, and what it reads as. */
function sealedHeader(
  plan: ModelPlan,
  crcs: Uint32Array,
  facts: ReadonlyMap<string, GgufValue>,
  name: string,
): { bytes: Uint8Array; header: ModelHeader } {
  const bytes = encodeContainerHeader(plan.container, crcs, facts);
  const container = checkContainer(bytes, decodeGgufHeader(bytes, name), plan.container.fileBytes, name, "model");
  return { bytes, header: decodeModelHeader(container) };
}
