/**
 * What model files and predictor files have in common: a GGUF header that carries checksums, and tensors after it.
 *
 * Invariants of a sealed container (SPEC.md, "Container"):
 * - the header's CRC-32C covers every byte from the start to the end of the tensor table, its own four bytes as zero;
 * - data begins at the next multiple of 4096; tensor i+1 begins at the next multiple of 4096 after tensor i; the file
 *   ends at the next multiple of 4096 after the last one, and its size is recorded;
 * - `flashwick.tensor.crc32c[i]` belongs to tensor i.
 */
import { type ByteSource, FormatError, IntegrityError, KiB, MiB, truncatedError } from "@flashwick/core";
import { crc32c } from "./crc32c.js";
import {
  type GgmlType,
  type GgufHeader,
  type GgufTensor,
  type GgufValue,
  ggufTensorBytes,
  MAX_HEADER_BYTES,
} from "./gguf.js";
import { type DecodedGgufHeader, decodeGgufHeader, HeaderCutShort } from "./gguf-decoder.js";
import { encodeGgufHeader } from "./gguf-encoder.js";
import { GgufMetadata } from "./gguf-metadata.js";
import { roundUp } from "./record-layout.js";

/** The formats this package writes and reads: the kinds of files change apart. */
export const FORMAT_VERSIONS: Readonly<Record<ContainerKind, number>> = {
  model: 2,
  predictor: 1,
  checksums: 1,
  moments: 1,
};
/** Of a model whose gates are resident: what else it may hold is as in version 2, so that all other models stay readable for older readers. */
export const RESIDENT_GATE_VERSION = 3;
/** Of a model that is read by columns, likewise. */
export const COLUMNS_VERSION = 4;
/** `general.alignment`: of the data section and of every tensor. A page, so that direct I/O can reach anything. */
export const ALIGNMENT_BYTES = 4096;

const KEY_KIND = "flashwick.kind";
const KEY_VERSION = "flashwick.format.version";
const KEY_HEADER_CRC = "flashwick.header.crc32c";
const KEY_FILE_SIZE = "flashwick.file.size";
const KEY_TENSOR_CRCS = "flashwick.tensor.crc32c";

/** First read of a header, and the factors by which further reads grow: below a megabyte, and above, where reading too much costs time over a network. */
const FIRST_READ_BYTES = 64 * KiB;
const READ_GROWTH = 4;
const LARGE_READ_GROWTH = 2;

/** What a file of ours holds. */
export type ContainerKind = "model" | "predictor" | "checksums" | "moments";
const CONTAINER_KINDS: readonly ContainerKind[] = ["model", "predictor", "checksums", "moments"];

/** A tensor of a container: what the table says, and where that is in the file. */
export interface ContainerTensor {
  readonly name: string;
  readonly type: GgmlType;
  /** Innermost dimension first. */
  readonly shape: readonly number[];
  /** Absolute. */
  readonly offset: number;
  readonly sizeBytes: number;
}

/** A tensor with the CRC-32C that the header records for it. */
export interface CheckedTensor extends ContainerTensor {
  readonly crc32c: number;
}

/** Everything about a file of ours that follows from its metadata and tensor table alone. */
export interface ContainerPlan {
  readonly metadata: ReadonlyMap<string, GgufValue>;
  readonly tensors: readonly ContainerTensor[];
  /** End of the tensor table. */
  readonly headerBytes: number;
  readonly dataOffset: number;
  readonly fileBytes: number;
}

/** A checked header: its tensors with their checksums, and the metadata to ask. */
export interface Container {
  readonly metadata: GgufMetadata;
  readonly values: ReadonlyMap<string, GgufValue>;
  readonly tensors: ReadonlyMap<string, CheckedTensor>;
  readonly headerBytes: number;
  readonly dataOffset: number;
  readonly fileBytes: number;
}

/**
 * Decides where every tensor goes. Checksums are zero until {@link encodeContainerHeader}.
 *
 * @param version Of the format; default: the kind's own.
 */
export function planContainer(
  kind: ContainerKind,
  general: ReadonlyMap<string, GgufValue>,
  own: ReadonlyMap<string, GgufValue>,
  tensors: readonly Pick<ContainerTensor, "name" | "type" | "shape">[],
  version = FORMAT_VERSIONS[kind],
): ContainerPlan {
  const relative: GgufTensor[] = [];
  let dataBytes = 0;
  for (const tensor of tensors) {
    const placed: GgufTensor = { ...tensor, offset: dataBytes };
    relative.push(placed);
    dataBytes = roundUp(dataBytes + ggufTensorBytes(placed)!, ALIGNMENT_BYTES);
  }
  const metadata = new Map<string, GgufValue>([
    ...general,
    ["general.alignment", { type: "u32", value: ALIGNMENT_BYTES }],
    [KEY_KIND, { type: "string", value: kind }],
    [KEY_VERSION, { type: "u32", value: version }],
    [KEY_HEADER_CRC, { type: "u32", value: 0 }],
    [KEY_FILE_SIZE, { type: "u64", value: 0n }],
    ...own,
    [KEY_TENSOR_CRCS, { type: "array", of: "u32", value: new Uint32Array(tensors.length) }],
  ]);
  const headerBytes = encodeGgufHeader({ metadata, tensors: relative }).bytes.length;
  const dataOffset = roundUp(headerBytes, ALIGNMENT_BYTES);
  return {
    metadata,
    tensors: relative.map((tensor) => ({
      ...tensor,
      type: tensor.type as GgmlType,
      offset: dataOffset + tensor.offset,
      sizeBytes: ggufTensorBytes(tensor)!,
    })),
    headerBytes,
    dataOffset,
    fileBytes: dataOffset + dataBytes,
  };
}

/**
 * The sealed header of a plan: what is written last.
 *
 * @param crcs  CRC-32C of each tensor, in order.
 * @param facts Metadata known only now, replacing values of the same type and length in the plan.
 */
export function encodeContainerHeader(
  plan: ContainerPlan,
  crcs: Uint32Array,
  facts: ReadonlyMap<string, GgufValue> = new Map(),
): Uint8Array<ArrayBuffer> {
  const metadata = new Map<string, GgufValue>([
    ...plan.metadata,
    ...facts,
    [KEY_FILE_SIZE, { type: "u64", value: BigInt(plan.fileBytes) }],
    [KEY_TENSOR_CRCS, { type: "array", of: "u32", value: crcs }],
  ]);
  const header: GgufHeader = {
    metadata,
    tensors: plan.tensors.map((tensor) => ({ ...tensor, offset: tensor.offset - plan.dataOffset })),
  };
  const { bytes, valueOffsets } = encodeGgufHeader(header);
  new DataView(bytes.buffer).setUint32(valueOffsets.get(KEY_HEADER_CRC)!, crc32c(bytes), true);
  return bytes;
}

/**
 * Which kind of file this is; a GGUF that is not ours is taken for a model. Reads the header only.
 *
 * @throws As `readContainer`.
 */
export async function readFileKind(source: ByteSource): Promise<ContainerKind> {
  const { bytes, decoded } = await readHeaderBytes(source);
  if (!isOurs(decoded)) return "model";
  const metadata = checkSeal(bytes, decoded, source.name);
  return metadata.oneOf(KEY_KIND, CONTAINER_KINDS);
}

/**
 * Reads the header of any GGUF file, ours or llama.cpp's: metadata and tensor table as they stand, without a checksum.
 *
 * @throws {FormatError} `FORMAT_NOT_GGUF`, `FORMAT_VERSION`, `FORMAT_TRUNCATED`, `FORMAT_LIMIT`, `FORMAT_INVALID`.
 * Cost: reads the header only, at most 256 MiB of it.
 */
export async function readGgufHeader(source: ByteSource): Promise<GgufHeader> {
  const { metadata, tensors } = (await readHeaderBytes(source)).decoded;
  return { metadata, tensors };
}

/**
 * Reads and checks the header of a file of ours. Reads nothing else.
 *
 * @throws {FormatError} `FORMAT_NOT_GGUF`, `FORMAT_NOT_FLASHWICK`, `FORMAT_VERSION`, `FORMAT_TRUNCATED`, `FORMAT_LIMIT`,
 *   `FORMAT_INVALID`, `FORMAT_MISSING`. {IntegrityError} `INTEGRITY_HEADER`.
 */
export async function readContainer(source: ByteSource, kind: ContainerKind): Promise<Container> {
  const { bytes, decoded } = await readHeaderBytes(source);
  return checkContainer(bytes, decoded, source.sizeBytes, source.name, kind);
}

/** Whether a header has any key of ours: then it must have all of them. */
export function isOurs({ metadata }: DecodedGgufHeader): boolean {
  return [...metadata.keys()].some((key) => key.startsWith("flashwick."));
}

/**
 * Reads ever more of the file's beginning until the header is whole.
 *
 * @throws As {@link readGgufHeader}.
 */
export async function readHeaderBytes(
  source: ByteSource,
): Promise<{ readonly bytes: Uint8Array; readonly decoded: DecodedGgufHeader }> {
  let bytes = new Uint8Array(0);
  let wanted = FIRST_READ_BYTES;
  for (;;) {
    bytes = await readOn(source, bytes, Math.min(wanted, source.sizeBytes));
    try {
      return { bytes, decoded: decodeGgufHeader(bytes, source.name) };
    } catch (error) {
      if (!(error instanceof HeaderCutShort)) throw error;
      wanted = nextRead(source, bytes.length, error.neededBytes);
    }
  }
}

/** The first `sizeBytes` bytes of a file, of which some are there already: over a network, nothing is fetched twice. */
async function readOn(source: ByteSource, there: Uint8Array, sizeBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(sizeBytes);
  bytes.set(there);
  await source.read(bytes.subarray(there.length), there.length);
  return bytes;
}

function nextRead(source: ByteSource, readBytes: number, neededBytes: number): number {
  if (neededBytes > source.sizeBytes)
    throw truncatedError(source.name, readBytes, neededBytes - readBytes, source.sizeBytes);
  if (neededBytes > MAX_HEADER_BYTES) {
    throw new FormatError(
      "FORMAT_LIMIT",
      `${source.name} @ 0: the header needs ${neededBytes} bytes or more, expected at most ${MAX_HEADER_BYTES}; the file is damaged or hostile`,
      { details: { neededBytes, limit: MAX_HEADER_BYTES } },
    );
  }
  const growth = readBytes < MiB ? READ_GROWTH : LARGE_READ_GROWTH;
  return Math.min(Math.max(readBytes * growth, neededBytes), MAX_HEADER_BYTES);
}

/** The checks of `readContainer` on a header at hand. Pure. */
export function checkContainer(
  bytes: Uint8Array,
  decoded: DecodedGgufHeader,
  sizeBytes: number,
  name: string,
  kind: ContainerKind,
): Container {
  const metadata = checkSeal(bytes, decoded, name);
  checkKind(metadata, kind);
  const alignment = metadata.integer("general.alignment", 1, 2 ** 31);
  if (alignment !== ALIGNMENT_BYTES) throw metadata.invalid("general.alignment", `${ALIGNMENT_BYTES}`, `${alignment}`);
  const fileBytes = checkFileSize(metadata, sizeBytes);
  const dataOffset = roundUp(decoded.headerBytes, ALIGNMENT_BYTES);
  const tensors = placeTensors(decoded, dataOffset, fileBytes, metadata);
  return { metadata, values: decoded.metadata, tensors, headerBytes: decoded.headerBytes, dataOffset, fileBytes };
}

/** Format, version and checksum: before these hold, nothing else in the header means anything. */
function checkSeal(bytes: Uint8Array, decoded: DecodedGgufHeader, name: string): GgufMetadata {
  const metadata = new GgufMetadata(decoded, name, "convert the checkpoint again");
  checkVersion(metadata, decoded);
  checkHeaderCrc(bytes, decoded, metadata);
  return metadata;
}

/** What a header says of its kind before anything was checked; what says nothing is taken for a model. */
function kindOf({ metadata }: DecodedGgufHeader): ContainerKind {
  const kind = metadata.get(KEY_KIND);
  const found = kind?.type === "string" ? kind.value : null;
  return CONTAINER_KINDS.find((known) => known === found) ?? "model";
}

function checkVersion(metadata: GgufMetadata, decoded: DecodedGgufHeader): void {
  if (!metadata.has(KEY_VERSION)) {
    throw new FormatError(
      "FORMAT_NOT_FLASHWICK",
      `${metadata.fileName}: a GGUF file, but not one of flashwick's ("${KEY_VERSION}" is missing): its neurons are not stored as records; make one from the original checkpoint with "flashwick convert"`,
    );
  }
  const version = metadata.integer(KEY_VERSION, 0, 2 ** 32 - 1);
  const kind = kindOf(decoded);
  const oldest = FORMAT_VERSIONS[kind];
  const newest = kind === "model" ? COLUMNS_VERSION : oldest;
  if (version >= oldest && version <= newest) return;
  const expected = oldest === newest ? `${oldest}` : `${oldest} or ${newest}`;
  throw new FormatError(
    "FORMAT_VERSION",
    `${metadata.fileName}: flashwick format version ${version}, expected ${expected}; ${
      version > newest ? "use a newer flashwick" : "convert the checkpoint again"
    }`,
    { details: { version, expected } },
  );
}

function checkHeaderCrc(bytes: Uint8Array, decoded: DecodedGgufHeader, metadata: GgufMetadata): void {
  const recorded = metadata.integer(KEY_HEADER_CRC, 0, 2 ** 32 - 1);
  const at = decoded.valueOffsets.get(KEY_HEADER_CRC)!;
  let crc = crc32c(bytes.subarray(0, at));
  crc = crc32c(new Uint8Array(4), crc);
  crc = crc32c(bytes.subarray(at + 4, decoded.headerBytes), crc);
  if (crc === recorded) return;
  throw new IntegrityError(
    "INTEGRITY_HEADER",
    `${metadata.fileName} @ 0: the header's CRC-32C is ${hex(crc)}, expected ${hex(recorded)}; the file is damaged, fetch or convert it again`,
    { details: { found: crc, expected: recorded, headerBytes: decoded.headerBytes } },
  );
}

function checkKind(metadata: GgufMetadata, kind: ContainerKind): void {
  const found = metadata.oneOf(KEY_KIND, CONTAINER_KINDS);
  if (found === kind) return;
  throw metadata.invalid(
    KEY_KIND,
    `a ${kind} file ("${kind}")`,
    `a ${found} file ("${found}"); ${kindAdvice(kind, found)}`,
  );
}

function kindAdvice(wanted: ContainerKind, found: ContainerKind): string {
  if (wanted === "predictor") return "give a file made by flashwick train";
  if (wanted === "checksums") return "give one made by flashwick verify --write";
  if (wanted === "moments") return "give one made by flashwick trace moments";
  if (found === "moments") return "give the model that they were recorded of";
  return found === "predictor"
    ? "give the model file, and this one as its predictor"
    : "give the model that lies beside it";
}

function checkFileSize(metadata: GgufMetadata, sizeBytes: number): number {
  const recorded = metadata.integer(KEY_FILE_SIZE, 0, Number.MAX_SAFE_INTEGER);
  if (sizeBytes < recorded) throw truncatedError(metadata.fileName, sizeBytes, recorded - sizeBytes, sizeBytes);
  if (sizeBytes > recorded) throw metadata.invalid(KEY_FILE_SIZE, `the file's size, ${sizeBytes}`, `${recorded}`);
  return recorded;
}

function placeTensors(
  decoded: DecodedGgufHeader,
  dataOffset: number,
  fileBytes: number,
  metadata: GgufMetadata,
): Container["tensors"] {
  const crcs = metadata.array(KEY_TENSOR_CRCS, "u32", decoded.tensors.length);
  const placed = new Map<string, CheckedTensor>();
  let next = dataOffset;
  decoded.tensors.forEach((tensor, i) => {
    const sizeBytes = checkTensor(tensor, next - dataOffset, metadata);
    placed.set(tensor.name, {
      name: tensor.name,
      type: tensor.type as GgmlType,
      shape: tensor.shape,
      offset: next,
      sizeBytes,
      crc32c: crcs[i]!,
    });
    next = roundUp(next + sizeBytes, ALIGNMENT_BYTES);
  });
  if (next !== fileBytes) throw metadata.invalid(KEY_FILE_SIZE, `the end of the last tensor, ${next}`, `${fileBytes}`);
  return placed;
}

/** Holds a tensor against the layout rule, which leaves no room for overlaps, gaps or offsets outside the file. */
function checkTensor(tensor: GgufTensor, expectedOffset: number, metadata: GgufMetadata): number {
  const where = `${metadata.fileName}: tensor "${tensor.name}"`;
  const sizeBytes = ggufTensorBytes(tensor);
  if (sizeBytes === null || sizeBytes === 0 || tensor.shape.length === 0) {
    throw tensorError(where, "a known type and positive dimensions", `type ${tensor.type}, shape [${tensor.shape}]`);
  }
  if (tensor.offset !== expectedOffset) {
    throw tensorError(where, `offset ${expectedOffset}, the next multiple of ${ALIGNMENT_BYTES}`, `${tensor.offset}`);
  }
  return sizeBytes;
}

/**
 * A tensor that must be there.
 *
 * @param wanted Its name and shape (innermost first), and type unless any will do.
 * @throws {FormatError} `FORMAT_MISSING`, `FORMAT_INVALID` naming the tensor.
 */
export function requireTensor(
  container: Container,
  wanted: Pick<ContainerTensor, "name" | "shape"> & Partial<Pick<ContainerTensor, "type">>,
): CheckedTensor {
  const { name, type } = wanted;
  const found = container.tensors.get(name);
  const where = `${container.metadata.fileName}: tensor "${name}"`;
  if (found === undefined) {
    throw new FormatError("FORMAT_MISSING", `${where} is missing; convert the checkpoint again`, {
      details: { tensor: name },
    });
  }
  const shape = wanted.shape.join(", ");
  const foundShape = found.shape.join(", ");
  if (shape === foundShape && (type === undefined || type === found.type)) return found;
  throw tensorError(where, `${type ?? "elements"} [${shape}]`, `${found.type} [${foundShape}]`);
}

/** The error of a tensor that is not as it should be. */
export function tensorError(where: string, expected: string, found: string): FormatError {
  return new FormatError(
    "FORMAT_INVALID",
    `${where}: expected ${expected}, found ${found}; convert the checkpoint again`,
    {
      details: { expected, found },
    },
  );
}

/** A checksum as people compare them. */
export function hex(crc: number): string {
  return crc.toString(16).padStart(8, "0");
}
