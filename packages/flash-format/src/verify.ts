/**
 * Reads a file from front to back and compares every byte with what the header promises: header, tensors and records by
 * their checksums, padding by its being zero. So any one flipped bit of the file is found.
 *
 * Memory: two read buffers, and eight bytes per neuron, or four per expert, of one layer.
 */
import {
  type ByteSource,
  COLUMN_STAGES,
  type ColumnStage,
  isFlashwickError,
  type OnProgress,
  UnsupportedError,
} from "@flashwick/core";
import { type GroupedTensor, groupedTensors } from "./checksum-file.js";
import {
  type CheckedTensor,
  type Container,
  type ContainerKind,
  type ContainerTensor,
  readContainer,
} from "./container.js";
import { crc32c } from "./crc32c.js";
import { carriesChecksums, columnsOf, type ModelFile, recordLayout } from "./model-file.js";
import { readColumnChecksums, readExpertChecksums, readRecordChecksums } from "./read-model.js";
import { type Chunk, readSequentially } from "./sequential-read.js";
import { crcOfBytes, TensorChecks } from "./tensor-checks.js";

/** Large sequential reads; at least one record. */
const CHUNK_BYTES = 4 * 1024 * 1024;
/** Findings listed; a file that is bad all over need not fill memory with saying so. */
const MAX_LISTED = 1000;

/** Bytes that do not match their checksum. */
export interface BadBytes {
  readonly kind: "record" | "expert" | "tensor" | "header" | "padding";
  readonly layer?: number;
  /** Of a record, or of a column of down. */
  readonly neuron?: number;
  /** Element of the FFN's input, of a record with its columns. */
  readonly input?: number;
  readonly expert?: number;
  readonly tensor?: string;
  /** Absolute: where the damaged record, of a neuron or an expert, tensor, header or padding starts. */
  readonly offset: number;
}

/** What checking every byte of a file found. */
export interface VerifyResult {
  readonly ok: boolean;
  /** Of neurons, of columns, or of experts. */
  readonly recordsChecked: number;
  readonly bytesChecked: number;
  /** The first thousand, in file order. */
  readonly bad: readonly BadBytes[];
  /** How many there are in all. */
  readonly badCount: number;
}

/** Progress and abort of a verification. */
export interface VerifyOptions {
  readonly signal?: AbortSignal;
  /** Phase "verify", in bytes. */
  readonly onProgress?: OnProgress;
}

/**
 * Checks every byte of a model file; of one of llama.cpp's with checksums beside it, every byte of its tensors. Damage is reported, not thrown.
 *
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` for a file of llama.cpp's without checksums. {IoError} `IO_READ` if the device fails; {FormatError} `FORMAT_TRUNCATED` if the file has shrunk since it was opened; the signal's reason.
 * Cost: one sequential pass over the file.
 */
export async function verifyModelFile(file: ModelFile, options: VerifyOptions = {}): Promise<VerifyResult> {
  if (!carriesChecksums(file.header)) return await verifyTensors(file, options);
  return new Verification(file.source, file, options).run("model");
}

function noChecksums(name: string): UnsupportedError {
  return new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `${name}: a GGUF of llama.cpp carries no checksums, and there are none beside it; hold the file against what its publisher says (sha256sum), then write them with "flashwick verify ${name} --write"`,
  );
}

/** Holds the tensors of a model of llama.cpp's against the checksums beside it. */
async function verifyTensors({ header, source }: ModelFile, options: VerifyOptions): Promise<VerifyResult> {
  const { checksums } = header;
  if (!checksums) throw noChecksums(source.name);
  const tensors = groupedTensors(header, checksums.groupBytes);
  const total = tensors.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const bad: BadBytes[] = [];
  let [badCount, loaded] = [0, 0];
  for (const tensor of tensors) {
    const checks = new TensorChecks(tensor, tensor.groupBytes, checksums.byTensor.get(tensor.name)!);
    const onBad = (offset: number) => {
      badCount++;
      if (bad.length < MAX_LISTED) bad.push(badGroup(tensor, offset));
    };
    for await (const { bytes, offset } of readTensor(source, tensor, options)) {
      checks.take(offset - tensor.offset, bytes.length, crcOfBytes(bytes), onBad);
      loaded += bytes.length;
      options.onProgress?.({ phase: "verify", loaded, total, unit: "bytes" });
    }
  }
  return { ok: badCount === 0, recordsChecked: 0, bytesChecked: loaded, bad, badCount };
}

function badGroup({ name: tensor, layer, groupBytes, offset: begin }: GroupedTensor, offset: number): BadBytes {
  if (layer === null) return { kind: "tensor", tensor, offset };
  return { kind: "expert", layer, expert: (offset - begin) / groupBytes, tensor, offset };
}

function readTensor(source: ByteSource, { offset, sizeBytes }: GroupedTensor, { signal }: VerifyOptions) {
  return readSequentially(source, offset, sizeBytes, CHUNK_BYTES, signal);
}

/** The same for a predictor file. */
export async function verifyPredictorFile(source: ByteSource, options: VerifyOptions = {}): Promise<VerifyResult> {
  return new Verification(source, null, options).run("predictor");
}

/** The same for a file of checksums itself. */
export async function verifyChecksumFile(source: ByteSource, options: VerifyOptions = {}): Promise<VerifyResult> {
  return new Verification(source, null, options).run("checksums");
}

/** The same for a file of moments. */
export async function verifyMomentsFile(source: ByteSource, options: VerifyOptions = {}): Promise<VerifyResult> {
  return new Verification(source, null, options).run("moments");
}

/** Which layer's records a tensor holds, and whether a layer's slots are whole after it. */
interface RecordsHere {
  readonly layer: number;
  readonly first: boolean;
  readonly last: boolean;
}

/** Which kind of column of which layer a tensor holds. */
interface ColumnsHere {
  readonly layer: number;
  readonly stage: ColumnStage;
}

class Verification {
  readonly #source: ByteSource;
  readonly #model: ModelFile | null;
  readonly #options: VerifyOptions;
  /** By absolute offset of the tensor. */
  readonly #records = new Map<number, RecordsHere>();
  readonly #bad: BadBytes[] = [];
  #badCount = 0;
  #recordsChecked = 0;
  #bytesChecked = 0;
  #totalBytes = 0;
  readonly #columns = new Map<number, ColumnsHere>();
  /** Layers of experts, by absolute offset of their tensor. */
  readonly #experts = new Map<number, number>();
  /** CRC-32C of each slot of the current layer, as far as read. */
  #slotCrcs = new Uint32Array(0);

  constructor(source: ByteSource, model: ModelFile | null, options: VerifyOptions) {
    this.#source = source;
    this.#model = model;
    this.#options = options;
    for (const { layer, offset, downOffset } of model?.header.records ?? []) {
      this.#records.set(offset, { layer, first: true, last: downOffset === null });
      if (downOffset !== null) this.#records.set(downOffset, { layer, first: false, last: true });
    }
    for (const [layer, columns] of (model?.header.columns ?? []).entries()) {
      for (const stage of COLUMN_STAGES) this.#columns.set(columns[stage].offset, { layer, stage });
    }
    for (const [layer, experts] of (model?.header.experts ?? []).entries()) {
      if (experts) this.#experts.set(experts.matrices[0]!.offset, layer);
    }
  }

  async run(kind: ContainerKind): Promise<VerifyResult> {
    const container = await this.#checkHeader(kind);
    if (container !== null) await this.#checkData(container);
    return {
      ok: this.#badCount === 0,
      recordsChecked: this.#recordsChecked,
      bytesChecked: this.#bytesChecked,
      bad: this.#bad,
      badCount: this.#badCount,
    };
  }

  /** Null if the header no longer holds: then nothing after it can be found. */
  async #checkHeader(kind: ContainerKind): Promise<Container | null> {
    try {
      return await readContainer(this.#source, kind);
    } catch (error) {
      if (!isFlashwickError(error) || error.code === "FORMAT_TRUNCATED" || error.code === "IO_READ") throw error;
      this.#report({ kind: "header", offset: 0 });
      return null;
    }
  }

  async #checkData(container: Container): Promise<void> {
    this.#totalBytes = container.fileBytes;
    this.#bytesChecked = container.headerBytes;
    await this.#checkPadding(container.headerBytes, container.dataOffset);
    const tensors = [...container.tensors.values()];
    for (const [i, tensor] of tensors.entries()) {
      const records = this.#records.get(tensor.offset);
      const columns = this.#columns.get(tensor.offset);
      const layerOfExperts = this.#experts.get(tensor.offset);
      if (records !== undefined) await this.#checkRecords(tensor, records);
      else if (columns !== undefined) await this.#checkColumns(tensor, columns);
      else if (layerOfExperts !== undefined) await this.#checkExperts(tensor, layerOfExperts);
      else await this.#checkTensor(tensor);
      await this.#checkPadding(tensor.offset + tensor.sizeBytes, tensors[i + 1]?.offset ?? container.fileBytes);
    }
  }

  async #checkTensor(tensor: CheckedTensor): Promise<void> {
    let crc = 0;
    for await (const { bytes } of this.#read(tensor.offset, tensor.sizeBytes, CHUNK_BYTES)) crc = crc32c(bytes, crc);
    if (crc !== tensor.crc32c) this.#report({ kind: "tensor", tensor: tensor.name, offset: tensor.offset });
  }

  async #checkRecords(tensor: ContainerTensor, { layer, first, last }: RecordsHere): Promise<void> {
    const { header } = this.#model!;
    const { strideBytes } = recordLayout(header);
    if (first) this.#slotCrcs = new Uint32Array(header.geometry.layers[layer]!.ffn.dFf);
    const chunkBytes = Math.max(1, Math.floor(CHUNK_BYTES / strideBytes)) * strideBytes;
    for await (const { bytes, offset } of this.#read(tensor.offset, tensor.sizeBytes, chunkBytes)) {
      const neuron = (offset - tensor.offset) / strideBytes;
      for (let i = 0; i * strideBytes < bytes.length; i++) {
        const record = bytes.subarray(i * strideBytes, (i + 1) * strideBytes);
        this.#slotCrcs[neuron + i] = crc32c(record, this.#slotCrcs[neuron + i]!);
      }
    }
    if (last) await this.#compareRecords(layer);
  }

  async #compareRecords(layer: number): Promise<void> {
    const { header } = this.#model!;
    const { strideBytes } = recordLayout(header);
    const expected = await this.#unlessDamaged(readRecordChecksums(this.#model!, layer, this.#options.signal));
    if (expected === null) return;
    this.#slotCrcs.forEach((crc, neuron) => {
      if (crc === expected[neuron]) return;
      this.#report({ kind: "record", layer, neuron, offset: header.records[layer]!.offset + neuron * strideBytes });
    });
    this.#recordsChecked += expected.length;
  }

  async #checkColumns(tensor: ContainerTensor, { layer, stage }: ColumnsHere): Promise<void> {
    const { strideBytes } = columnsOf(this.#model!.header)![stage];
    const expected = await this.#unlessDamaged(readColumnChecksums(this.#model!, layer, stage, this.#options.signal));
    await this.#checkUnits(tensor, strideBytes, expected, (unit, offset) =>
      this.#report({ kind: "record", layer, ...(stage === "inputs" ? { input: unit } : { neuron: unit }), offset }),
    );
  }

  async #checkExperts(tensor: ContainerTensor, layer: number): Promise<void> {
    const { strideBytes } = this.#model!.header.experts[layer]!.matrices[0]!;
    const expected = await this.#unlessDamaged(readExpertChecksums(this.#model!, layer, this.#options.signal));
    await this.#checkUnits(tensor, strideBytes, expected, (expert, offset) =>
      this.#report({ kind: "expert", layer, expert, offset }),
    );
  }

  /** Records larger than a read are checked as they come. */
  async #checkUnits(
    tensor: ContainerTensor,
    strideBytes: number,
    expected: Uint32Array | null,
    report: (unit: number, offset: number) => void,
  ): Promise<void> {
    const checks = expected && new TensorChecks(tensor, strideBytes, expected);
    const onBad = (offset: number) => report((offset - tensor.offset) / strideBytes, offset);
    for await (const { bytes, offset } of this.#read(tensor.offset, tensor.sizeBytes, CHUNK_BYTES)) {
      checks?.take(offset - tensor.offset, bytes.length, crcOfBytes(bytes), onBad);
    }
    this.#recordsChecked += expected?.length ?? 0;
  }

  /** Null if the checksums themselves are damaged: they are reported as a tensor, and say nothing about the records. */
  async #unlessDamaged(checksums: Promise<Uint32Array>): Promise<Uint32Array | null> {
    try {
      return await checksums;
    } catch (error) {
      if (isFlashwickError(error) && error.code === "INTEGRITY_TENSOR") return null;
      throw error;
    }
  }

  async #checkPadding(begin: number, end: number): Promise<void> {
    let zero = true;
    for await (const { bytes } of this.#read(begin, end - begin, CHUNK_BYTES))
      zero &&= bytes.every((byte) => byte === 0);
    if (!zero) this.#report({ kind: "padding", offset: begin });
  }

  async *#read(offset: number, sizeBytes: number, chunkBytes: number): AsyncGenerator<Chunk, void, void> {
    for await (const chunk of readSequentially(this.#source, offset, sizeBytes, chunkBytes, this.#options.signal)) {
      yield chunk;
      this.#bytesChecked += chunk.bytes.length;
      this.#options.onProgress?.({
        phase: "verify",
        loaded: this.#bytesChecked,
        total: this.#totalBytes,
        unit: "bytes",
      });
    }
  }

  #report(bad: BadBytes): void {
    this.#badCount++;
    if (this.#bad.length < MAX_LISTED) this.#bad.push(bad);
  }
}
