/**
 * The directory of a safetensors file.
 *
 *   u64 N | N bytes of JSON: { name: { dtype, shape, data_offsets: [begin, end] }, … } | elements
 *
 * Format: https://huggingface.co/docs/safetensors/index#format. Only the header is read; everything it says is checked against
 * the file: offsets inside, ranges as long as shape and dtype ask for, no overlap and no gap (the format forbids both).
 */
import { type ByteSource, FormatError, formatBytes, MiB } from "@flashwick/core";
import * as v from "valibot";
import { parseDocument } from "./checkpoint-document.js";
import { type CheckpointTensor, elementCount, formatShape, type SourceDType } from "./checkpoint-tensor.js";

/** A tensor takes about 150 bytes of header, so this holds 100 000 of them. */
const MAX_HEADER_BYTES = 16 * MiB;
const MAX_RANK = 8;

const READABLE: Readonly<Record<string, SourceDType>> = { F32: "f32", F16: "f16", BF16: "bf16" };
/** Bytes of an element of the types whose tensors can be size-checked. */
const ELEMENT_BYTES: Readonly<Record<string, number>> = {
  ...{ F64: 8, F32: 4, F16: 2, BF16: 2 },
  ...{ I64: 8, U64: 8, I32: 4, U32: 4, I16: 2, U16: 2, I8: 1, U8: 1, BOOL: 1 },
};

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const tensorEntry = v.object({
  dtype: v.string(),
  shape: v.pipe(v.array(count), v.maxLength(MAX_RANK)),
  data_offsets: v.tuple([count, count]),
});
const header = v.objectWithRest({ __metadata__: v.optional(v.unknown()) }, tensorEntry);
type TensorEntry = v.InferOutput<typeof tensorEntry>;

/**
 * Reads the directory of a safetensors file.
 *
 * @returns The tensors by name, with absolute offsets.
 * @throws {FormatError} `CHECKPOINT_FILE`, naming the file, the tensor and what is wrong with it.
 */
export async function readSafetensors(
  source: ByteSource,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, CheckpointTensor>> {
  const { text, dataOffset } = await readHeader(source, signal);
  const { __metadata__: _ignored, ...entries } = parseDocument(
    header,
    text,
    `${source.name} header`,
    "CHECKPOINT_FILE",
  );
  const tensors = new Map<string, CheckpointTensor>();
  for (const [name, entry] of Object.entries(entries as Record<string, TensorEntry>)) {
    checkEntry(source, name, entry, dataOffset);
    tensors.set(name, {
      name,
      source,
      offset: dataOffset + entry.data_offsets[0],
      shape: entry.shape,
      dtype: READABLE[entry.dtype] ?? null,
      storedDType: entry.dtype,
      contiguous: true,
    });
  }
  checkCoverage(source, entries as Record<string, TensorEntry>, dataOffset);
  return tensors;
}

async function readHeader(source: ByteSource, signal?: AbortSignal) {
  if (source.sizeBytes < 8) throw invalid(source, `expected a header, found a file of ${source.sizeBytes} bytes`);
  const prefix = new Uint8Array(8);
  await source.read(prefix, 0, signal);
  const length = new DataView(prefix.buffer).getBigUint64(0, true);
  const limit = Math.min(MAX_HEADER_BYTES, source.sizeBytes - 8);
  if (length > BigInt(limit) || length < 2n) {
    throw invalid(source, `expected a header of 2 bytes to ${formatBytes(limit)}, found ${length} bytes`);
  }
  const bytes = new Uint8Array(Number(length));
  await source.read(bytes, 8, signal);
  if (bytes[0] !== 0x7b) throw invalid(source, "expected the header to begin with {");
  return { text: new TextDecoder().decode(bytes), dataOffset: 8 + bytes.length };
}

function checkEntry(source: ByteSource, name: string, entry: TensorEntry, dataOffset: number): void {
  const [begin, end] = entry.data_offsets;
  const dataBytes = source.sizeBytes - dataOffset;
  if (end < begin || end > dataBytes) {
    throw invalid(source, `tensor ${name}: expected bytes inside the ${dataBytes} of the file, found ${begin}…${end}`);
  }
  const elementBytes = ELEMENT_BYTES[entry.dtype];
  if (elementBytes !== undefined && elementCount(entry.shape) * elementBytes !== end - begin) {
    throw invalid(
      source,
      `tensor ${name}: expected ${elementCount(entry.shape) * elementBytes} bytes for ${entry.dtype} ${formatShape(entry.shape)}, found ${end - begin}`,
    );
  }
}

function checkCoverage(source: ByteSource, entries: Record<string, TensorEntry>, dataOffset: number): void {
  const ranges = Object.entries(entries).sort(([, a], [, b]) => a.data_offsets[0] - b.data_offsets[0]);
  let covered = 0;
  for (const [name, { data_offsets: range }] of ranges) {
    if (range[0] < covered) throw invalid(source, `tensor ${name}: its bytes overlap with another tensor's`);
    if (range[0] > covered)
      throw invalid(source, `tensor ${name}: there is a gap of ${range[0] - covered} bytes before`);
    covered = range[1];
  }
  const rest = source.sizeBytes - dataOffset - covered;
  if (rest !== 0) throw invalid(source, `expected the file to end with the last tensor, found ${rest} more bytes`);
}

function invalid(source: ByteSource, problem: string): FormatError {
  return new FormatError("CHECKPOINT_FILE", `${source.name}: ${problem}; the file is damaged, fetch it again`, {
    details: { file: source.name },
  });
}
