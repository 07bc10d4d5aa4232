/**
 * Checksums that lie beside a GGUF file of llama.cpp's, which carries none: a container (container.ts) of kind "checksums", with one CRC-32C for each
 * 8 KiB of each tensor, and for each matrix of each expert. SPEC.md, "Checksum files".
 *
 * Invariant: checksums that were made for other bytes are refused, never used: they carry the model's fingerprint, which is over its headers, and its
 * size.
 */
import {
  assert,
  type ByteSink,
  type ByteSource,
  IntegrityError,
  isFlashwickError,
  type OnProgress,
  UnsupportedError,
} from "@flashwick/core";
import { readChecked } from "./checked-read.js";
import { type Container, encodeContainerHeader, planContainer, readContainer, requireTensor } from "./container.js";
import { crc32c } from "./crc32c.js";
import type { GgufValue } from "./gguf.js";
import {
  carriesChecksums,
  type ExpertTensors,
  layerTensors,
  type ModelFile,
  type ModelHeader,
  type ResidentTensor,
} from "./model-file.js";
import { readSequentially } from "./sequential-read.js";
import { type CheckedBytes, crcOfBytes, GroupCrcs, groupCount } from "./tensor-checks.js";

/** Four bytes for so many: 0.05 % of a file. */
const GROUP_BYTES = 8192;
/** Of what is read: shorter groups would be more checksums than a model has reason to bring. */
const LEAST_GROUP_BYTES = 512;
/** Large enough for full sequential bandwidth. */
const READ_BYTES = 4 * 1024 * 1024;

const KEY_FINGERPRINT = "flashwick.checksums.model_fingerprint";
const KEY_MODEL_BYTES = "flashwick.checksums.model_bytes";
const KEY_GROUP_BYTES = "flashwick.checksums.group_bytes";
const TENSOR = "crc32c";

/** Where a model's checksums are looked for: `dir/model.gguf` -> `dir/model.crc32c.gguf`. For paths, addresses and names alike. */
export function checksumPath(modelPath: string): string {
  return `${modelPath.replace(/\.gguf$/, "")}.crc32c.gguf`;
}

/** Progress and abort of what makes checksums. */
export interface ChecksumOptions {
  readonly signal?: AbortSignal | undefined;
  /** Phase "checksums", in bytes. */
  readonly onProgress?: OnProgress | undefined;
}

/** What was written. */
export interface ChecksumFile {
  readonly checksums: number;
  /** Of the model that they are of. */
  readonly checkedBytes: number;
  /** Of the file of checksums. */
  readonly fileBytes: number;
}

/**
 * Every tensor of a llama.cpp file that is read but those of experts, in the order of the file: rows of a fused matrix count as tensors of their own.
 */
export function readTensors(header: Pick<ModelHeader, "tensors" | "matrices">): ResidentTensor[] {
  return [...header.tensors.values(), ...layerTensors(header)].sort((a, b) => a.offset - b.offset);
}

/** A tensor of a llama.cpp file, cut into what one checksum is of. */
export interface GroupedTensor extends CheckedBytes {
  readonly groupBytes: number;
  /** Of a tensor of experts, whose groups are experts; null of any other. */
  readonly layer: number | null;
}

/** Every tensor of a llama.cpp file that is read, in the order of the file: in groups of bytes, or in experts, which are read one by one. */
export function groupedTensors(
  header: Pick<ModelHeader, "tensors" | "matrices" | "experts">,
  groupBytes: number,
): GroupedTensor[] {
  const plain = readTensors(header).map((tensor) => ({ ...tensor, groupBytes, layer: null }));
  const experts = header.experts.flatMap((of, layer) => (of ? expertTensors(of, layer) : []));
  return [...plain, ...experts].sort((a, b) => a.offset - b.offset);
}

function expertTensors({ count, matrices }: ExpertTensors, layer: number): GroupedTensor[] {
  return matrices.map(({ tensor: name, offset, sizeBytes, strideBytes }) => {
    assert(strideBytes === sizeBytes, `${name}: experts lie behind each other`);
    return { name, offset, sizeBytes: count * sizeBytes, groupBytes: sizeBytes, layer };
  });
}

/**
 * Reads a model of llama.cpp's once, and writes the checksums of what it finds.
 *
 * @throws {UnsupportedError} `UNSUPPORTED_FEATURE` for a file of ours, which carries its checksums. {IoError} as reading and writing fail. The signal's
 *   own reason. Nothing is left of the sink then.
 * Cost: one sequential pass over the model; four bytes for each 8 KiB in memory.
 */
export async function writeChecksumFile(
  sink: ByteSink,
  file: ModelFile,
  options: ChecksumOptions = {},
): Promise<ChecksumFile> {
  try {
    if (carriesChecksums(file.header)) throw hasChecksums(file.source.name);
    const tensors = groupedTensors(file.header, GROUP_BYTES);
    const checksums = await computeChecksums(file.source, tensors, options);
    const plan = planContainer("checksums", GENERAL, factsOf(file.header), [
      { name: TENSOR, type: "I32", shape: [checksums.length] },
    ]);
    const bytes = new Uint8Array(checksums.buffer);
    await sink.write(bytes, plan.tensors[0]!.offset);
    await sink.write(encodeContainerHeader(plan, Uint32Array.of(crc32c(bytes))), 0);
    await sink.commit(plan.fileBytes);
    const checkedBytes = tensors.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    return { checksums: checksums.length, checkedBytes, fileBytes: plan.fileBytes };
  } catch (error) {
    // Should abandoning fail as well, the first failure is the one to report.
    await sink.abandon().catch(() => {});
    throw error;
  }
}

const text = (value: string): GgufValue => ({ type: "string", value });
const GENERAL = new Map([
  ["general.architecture", text("flashwick-checksums")],
  ["general.type", text("checksums")],
]);

function factsOf({ fingerprint, fileBytes }: ModelHeader): Map<string, GgufValue> {
  return new Map<string, GgufValue>([
    [KEY_FINGERPRINT, text(fingerprint)],
    [KEY_MODEL_BYTES, { type: "u64", value: BigInt(fileBytes) }],
    [KEY_GROUP_BYTES, { type: "u32", value: GROUP_BYTES }],
  ]);
}

function hasChecksums(name: string): UnsupportedError {
  return new UnsupportedError(
    "UNSUPPORTED_FEATURE",
    `${name}: a model file of flashwick's carries its checksums; verify it without --write`,
  );
}

async function computeChecksums(
  source: ByteSource,
  tensors: readonly GroupedTensor[],
  { signal, onProgress }: ChecksumOptions,
): Promise<Uint32Array<ArrayBuffer>> {
  const checksums = new Uint32Array(countOf(tensors));
  const total = tensors.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  let [next, loaded] = [0, 0];
  for (const tensor of tensors) {
    const groups = new GroupCrcs(tensor, tensor.groupBytes);
    const onGroup = (_: number, crc: number) => void (checksums[next++] = crc);
    for await (const { bytes, offset } of readSequentially(
      source,
      tensor.offset,
      tensor.sizeBytes,
      READ_BYTES,
      signal,
    )) {
      groups.take(offset - tensor.offset, bytes.length, crcOfBytes(bytes), onGroup);
      loaded += bytes.length;
      onProgress?.({ phase: "checksums", loaded, total, unit: "bytes" });
    }
  }
  return checksums;
}

function countOf(tensors: readonly GroupedTensor[]): number {
  return tensors.reduce((sum, tensor) => sum + groupCount(tensor, tensor.groupBytes), 0);
}

/** What a file of checksums says about itself. */
export interface ChecksumHeader {
  /** Of the model that it belongs to. */
  readonly modelFingerprint: string;
  readonly modelBytes: number;
  /** Bytes of a tensor that one checksum is of, but of tensors of experts. */
  readonly groupBytes: number;
  readonly fileBytes: number;
}

/** @throws {FormatError} `FORMAT_…` for what is no file of checksums. {IntegrityError} `INTEGRITY_HEADER`. */
export async function readChecksumHeader(source: ByteSource): Promise<ChecksumHeader> {
  return decodeFacts(await readContainer(source, "checksums"));
}

function decodeFacts({ metadata, fileBytes }: Container): ChecksumHeader {
  return {
    modelFingerprint: metadata.string(KEY_FINGERPRINT),
    modelBytes: metadata.integer(KEY_MODEL_BYTES, 0, Number.MAX_SAFE_INTEGER),
    groupBytes: metadata.integer(KEY_GROUP_BYTES, LEAST_GROUP_BYTES, READ_BYTES),
    fileBytes,
  };
}

/**
 * A model with the checksums of a file of them. Does not take ownership of `source`.
 *
 * @throws {IntegrityError} `INTEGRITY_FINGERPRINT` for checksums of another model, or of this one as it was; `INTEGRITY_HEADER`, `INTEGRITY_TENSOR` for
 *   damaged ones. {FormatError} for what is no file of checksums.
 */
export async function withChecksums(file: ModelFile, source: ByteSource): Promise<ModelFile> {
  const container = await readContainer(source, "checksums");
  const { modelFingerprint, modelBytes, groupBytes } = decodeFacts(container);
  const { fingerprint, fileBytes } = file.header;
  if (modelFingerprint !== fingerprint || modelBytes !== fileBytes) throw ofAnotherModel(source, file);
  const tensors = groupedTensors(file.header, groupBytes);
  const count = countOf(tensors);
  const stored = requireTensor(container, { name: TENSOR, type: "I32", shape: [count] });
  const all = new Uint32Array(count);
  await readChecked(source, TENSOR, stored, new Uint8Array(all.buffer));
  const byTensor = new Map<string, Uint32Array>();
  let next = 0;
  for (const tensor of tensors) {
    const begin = next;
    next += groupCount(tensor, tensor.groupBytes);
    byTensor.set(tensor.name, all.subarray(begin, next));
  }
  return { ...file, header: Object.freeze({ ...file.header, checksums: { groupBytes, byTensor } }) };
}

function ofAnotherModel({ name }: ByteSource, { source }: ModelFile): IntegrityError {
  return new IntegrityError(
    "INTEGRITY_FINGERPRINT",
    `${name}: checksums of another model than ${source.name}, or of this one before it changed; if the model is right, write them again with "flashwick verify ${source.name} --write --force", else fetch it again`,
    { details: { file: source.name } },
  );
}

/**
 * A model of llama.cpp's with the checksums that lie beside it; as it is where there are none, or where nothing beside it can be opened.
 *
 * @throws As {@link withChecksums}.
 */
export async function withChecksumsBeside(file: ModelFile): Promise<ModelFile> {
  const { header, source } = file;
  if (carriesChecksums(header) || !source.openSibling) return file;
  const name = checksumPath(source.name.split(/[/\\]/).at(-1)!);
  const beside = await source.openSibling(name).catch((error: unknown) => {
    if (isFlashwickError(error) && error.code === "IO_NOT_FOUND") return null;
    throw error;
  });
  return beside === null ? file : await withChecksums(file, beside);
}
