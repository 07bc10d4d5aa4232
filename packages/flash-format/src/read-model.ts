/**
 * Opening a model file and reading what stays in DRAM. Neuron records are not read here: that is flash-io's business.
 *
 * Numbers are taken as the host has them: every JavaScript engine we run on is little-endian, as the file is.
 */
import { type ByteSource, type ColumnStage, columnCounts, FlashwickError } from "@flashwick/core";
import { readChecked } from "./checked-read.js";
import { checkContainer, isOurs, readHeaderBytes } from "./container.js";
import { openLlamaCppFile } from "./llama-cpp/model-header.js";
import type { ModelFile, ResidentTensor } from "./model-file.js";
import { decodeModelHeader } from "./model-header.js";
import { checksumsName, columnNames } from "./model-layout.js";
import { scaleName } from "./resident-tensors.js";
import { checksOf, crcOfBytes, damagedTensor } from "./tensor-checks.js";

/**
 * Opens a model file, ours or one of llama.cpp's as it lies: reads its header, and checks everything that the header says about itself and about the
 * file's size. Does not take ownership of `source`.
 *
 * Of a model in several files (`-00001-of-00003.gguf`), `source` is the first; the others are opened beside it, and closed with it. The source of
 * what is returned has all of them as its `parts`.
 *
 * @throws {FormatError} `FORMAT_NOT_GGUF`, `FORMAT_VERSION`, `FORMAT_TRUNCATED`, `FORMAT_LIMIT`, `FORMAT_MISSING`, `FORMAT_INVALID`.
 *   {IntegrityError} `INTEGRITY_HEADER`. {UnsupportedError} `UNSUPPORTED_ARCHITECTURE`, `UNSUPPORTED_FEATURE` for a type or a size that the kernels
 *   do not have. Of a split model: {InputError} `INPUT_INVALID` for another file than the first, {IoError} `IO_NOT_FOUND` for a missing one.
 * Cost: reads the header only, 64 KiB at first; a few milliseconds, and with a vocabulary of llama.cpp's some tens.
 */
export async function openModelFile(source: ByteSource): Promise<ModelFile> {
  const { bytes, decoded } = await readHeaderBytes(source);
  if (!isOurs(decoded)) return await openLlamaCppFile(decoded, bytes, source);
  return { header: decodeModelHeader(checkContainer(bytes, decoded, source.sizeBytes, source.name, "model")), source };
}

/**
 * Reads a resident tensor and checks it.
 *
 * @param target Receives the elements; exactly `tensor.sizeBytes` long. May lie in shared memory. Undefined after a failure.
 * @param scales Receives the f32 `[rows]` scales; exactly `tensor.scales.sizeBytes` long; int8 only.
 * @throws {IntegrityError} `INTEGRITY_TENSOR`. {FlashwickError} `SHAPE` if a target has another length, or is missing.
 */
export async function readResidentTensor(
  file: ModelFile,
  tensor: ResidentTensor,
  target: Uint8Array,
  scales?: Uint8Array | null,
  signal?: AbortSignal,
): Promise<void> {
  await readChecked(file.source, tensor.name, tensor, target, signal);
  checksOf(file.header, tensor)?.take(0, target.byteLength, crcOfBytes(target), (offset) => {
    throw damagedTensor(file.source, tensor.name, offset);
  });
  if (tensor.scales === null) return;
  if (!scales) throw new FlashwickError("SHAPE", `${tensor.name} is int8: a target for its scales is needed`);
  await readChecked(file.source, scaleName(tensor.name), tensor.scales, scales, signal);
}

/**
 * The CRC-32C of every record of a layer, u32 `[dFf]`, checked against the header.
 *
 * @throws {IntegrityError} `INTEGRITY_TENSOR`.
 * Cost: `4 * dFf` bytes read and kept by the caller.
 */
export async function readRecordChecksums(file: ModelFile, layer: number, signal?: AbortSignal): Promise<Uint32Array> {
  const records = file.header.records[layer];
  if (records === undefined) throw new FlashwickError("SHAPE", `layer ${layer} of ${file.header.records.length}`);
  const checksums = new Uint32Array(file.header.geometry.layers[layer]!.ffn.dFf);
  const stored = { offset: records.crcOffset, sizeBytes: checksums.byteLength, crc32c: records.crcOfCrcs };
  await readChecked(file.source, checksumsName(layer), stored, new Uint8Array(checksums.buffer), signal);
  return checksums;
}

/**
 * The CRC-32C of every record of one kind of column of a layer, checked against the header; each is over all `strideBytes` of the record.
 *
 * @throws {IntegrityError} `INTEGRITY_TENSOR`. {FlashwickError} `SHAPE` for a layer that has no columns.
 * Cost: 4 bytes a record read and kept by the caller.
 */
export async function readColumnChecksums(
  file: ModelFile,
  layer: number,
  stage: ColumnStage,
  signal?: AbortSignal,
): Promise<Uint32Array> {
  const { columns, geometry } = file.header;
  const tensor = columns[layer]?.[stage];
  if (tensor === undefined) throw new FlashwickError("SHAPE", `layer ${layer} of ${columns.length} with columns`);
  const { crcOffset, crcOfCrcs } = tensor;
  const checksums = new Uint32Array(columnCounts(geometry.dModel, geometry.layers[layer]!)[stage]);
  const stored = { offset: crcOffset, sizeBytes: checksums.byteLength, crc32c: crcOfCrcs };
  const { checksums: name } = columnNames(layer, stage);
  await readChecked(file.source, name, stored, new Uint8Array(checksums.buffer), signal);
  return checksums;
}

/**
 * The CRC-32C of every expert's record of a layer, u32 `[count]`, checked against the header; each is over all `strideBytes` of the record.
 *
 * @throws {IntegrityError} `INTEGRITY_TENSOR`. {FlashwickError} `SHAPE` for a layer without experts, or whose experts have no checksums.
 * Cost: `4 * count` bytes read and kept by the caller.
 */
export async function readExpertChecksums(file: ModelFile, layer: number, signal?: AbortSignal): Promise<Uint32Array> {
  const experts = file.header.experts[layer];
  if (!experts?.recordChecks) throw new FlashwickError("SHAPE", `layer ${layer} has no checksums of experts`);
  const { crcOffset, crcOfCrcs } = experts.recordChecks;
  const checksums = new Uint32Array(experts.count);
  const stored = { offset: crcOffset, sizeBytes: checksums.byteLength, crc32c: crcOfCrcs };
  await readChecked(file.source, checksumsName(layer), stored, new Uint8Array(checksums.buffer), signal);
  return checksums;
}
