/**
 * Models of llama.cpp's that are split into files, `<name>-00001-of-00003.gguf` and so on: opened as one source.
 * Source: tools/gguf-split/gguf-split.cpp; `llama_model_loader` in src/llama-model-loader.cpp.
 *
 *     split.no              number of the file, from 0
 *     split.count           how many there are
 *     split.tensors.count   tensors of all files
 *
 * The first file has all other metadata; each has a table of its own tensors, with offsets in that file.
 *
 * Invariant: in what is returned, the files agree on their number and on each other, and no tensor stands twice.
 */
import {
  type ByteSource,
  FormatError,
  InputError,
  IoError,
  isFlashwickError,
  joinedSource,
  UnsupportedError,
} from "@flashwick/core";
import { readHeaderBytes } from "../container.js";
import { MAX_TENSOR_COUNT } from "../gguf.js";
import type { DecodedGgufHeader } from "../gguf-decoder.js";
import { GgufMetadata } from "../gguf-metadata.js";

/** Published models have up to some tens. */
const MAX_FILES = 1024;
const FILE_NAME = /([^/\\]*)-(\d{5})-of-(\d{5})\.gguf(?=$|[?#])/;

/** One file of a model: all of it, or a part. */
export interface ModelPart {
  readonly decoded: DecodedGgufHeader;
  /** The beginning of the file, the header in it. */
  readonly bytes: Uint8Array;
  readonly metadata: GgufMetadata;
  /** Offset of its first byte in the source. */
  readonly begin: number;
  readonly sizeBytes: number;
}

export interface OpenedParts {
  readonly source: ByteSource;
  readonly parts: readonly ModelPart[];
}

/**
 * The parts of a model whose first file, or only one, is open.
 *
 * @throws {InputError} `INPUT_INVALID` for another file than the first. {IoError} `IO_NOT_FOUND` for a missing one. {UnsupportedError}
 *   `UNSUPPORTED_FEATURE` where none can be opened from here. {FormatError} `FORMAT_MISSING`, `FORMAT_INVALID`, `FORMAT_LIMIT`, naming the file; and as
 *   `readHeaderBytes`.
 */
export async function openModelParts(
  decoded: DecodedGgufHeader,
  bytes: Uint8Array,
  source: ByteSource,
): Promise<OpenedParts> {
  const first = partOf(decoded, bytes, source, 0);
  const count = first.metadata.optionalInteger("split.count", 0, MAX_FILES) ?? 1;
  if (count <= 1) return { source, parts: [first] };
  const names = fileNames(first.metadata, count);
  const sources = [source];
  for (const name of names.slice(1)) sources.push(await openPart(source, name, sources.length, count));
  const joined = joinedSource(sources);
  const parts = [first];
  for (const [i, { begin }] of joined.parts.entries()) {
    if (i === 0) continue;
    const header = await readHeaderBytes(sources[i]!);
    const part = partOf(header.decoded, header.bytes, sources[i]!, begin);
    checkPart(part.metadata, i, first.metadata);
    parts.push(part);
  }
  checkTensors(parts);
  return { source: joined, parts };
}

function partOf(decoded: DecodedGgufHeader, bytes: Uint8Array, source: ByteSource, begin: number): ModelPart {
  const metadata = new GgufMetadata(decoded, source.name, "the file is damaged, fetch it again");
  return { decoded, bytes: bytes.subarray(0, decoded.headerBytes), metadata, begin, sizeBytes: source.sizeBytes };
}

/** Names of all files, from that of the first. */
function fileNames(metadata: GgufMetadata, count: number): string[] {
  const { fileName } = metadata;
  const match = FILE_NAME.exec(fileName);
  const number = metadata.integer("split.no", 0, MAX_FILES - 1);
  const nameOf = (stem: string, i: number) => `${stem}-${digits(i + 1)}-of-${digits(count)}.gguf`;
  if (number !== 0) {
    const wanted = match ? nameOf(match[1]!, 0) : "its first file";
    throw new InputError(
      "INPUT_INVALID",
      `${fileName}: file ${number + 1} of ${count} of a split model; give ${wanted}`,
      {
        details: { number: number + 1, count },
      },
    );
  }
  if (!match || Number(match[2]) !== 1 || Number(match[3]) !== count) {
    throw new FormatError(
      "FORMAT_INVALID",
      `${fileName}: the first of ${count} files of a split model, whose name is expected to end with ${nameOf("", 0)}; give all of them their names again`,
      { details: { count } },
    );
  }
  return Array.from({ length: count }, (_, i) => nameOf(match[1]!, i));
}

const digits = (n: number) => String(n).padStart(5, "0");

async function openPart(first: ByteSource, name: string, index: number, count: number): Promise<ByteSource> {
  if (!first.openSibling) {
    throw new UnsupportedError(
      "UNSUPPORTED_FEATURE",
      `${first.name}: the first of ${count} files of a split model, and from here no other can be opened; join them with "llama-gguf-split --merge"`,
      { details: { count } },
    );
  }
  try {
    return await first.openSibling(name);
  } catch (cause) {
    if (!isFlashwickError(cause) || cause.code !== "IO_NOT_FOUND") throw cause;
    throw new IoError(
      "IO_NOT_FOUND",
      `${name}: file ${index + 1} of ${count} is missing beside ${first.name}; fetch it`,
      { cause, details: { file: name, number: index + 1, count } },
    );
  }
}

/** Holds what a further file says of itself against its place and against the first. */
function checkPart(metadata: GgufMetadata, index: number, first: GgufMetadata): void {
  const expect = (key: string, expected: number, meaning: string) => {
    const found = metadata.integer(key, 0, MAX_TENSOR_COUNT);
    if (found !== expected) throw metadata.invalid(key, `${expected}, ${meaning}`, `${found}`);
  };
  expect("split.no", index, `since it is named file ${index + 1}`);
  const asFirst = `as ${first.fileName} has it: both must be of one model`;
  expect("split.count", first.integer("split.count", 0, MAX_FILES), asFirst);
  expect("split.tensors.count", first.integer("split.tensors.count", 0, MAX_TENSOR_COUNT), asFirst);
}

function checkTensors(parts: readonly ModelPart[]): void {
  const fileOf = new Map<string, string>();
  for (const { decoded, metadata } of parts) {
    for (const { name } of decoded.tensors) {
      const before = fileOf.get(name);
      if (before !== undefined) throw twice(metadata.fileName, name, before);
      fileOf.set(name, metadata.fileName);
    }
  }
  const { metadata } = parts[0]!;
  const expected = metadata.integer("split.tensors.count", 0, MAX_TENSOR_COUNT);
  if (fileOf.size === expected) return;
  throw metadata.invalid("split.tensors.count", `the tensors of all files, ${fileOf.size}`, `${expected}`);
}

function twice(fileName: string, tensor: string, before: string): FormatError {
  return new FormatError(
    "FORMAT_INVALID",
    `${fileName}: tensor "${tensor}" stands in ${before}, too; the files are not of one model, fetch them again`,
    { details: { tensor } },
  );
}
