/**
 * The directory of a zip archive with random access: just what PyTorch's files need, that is, where the bytes of an uncompressed
 * entry are. APPNOTE 6.3.9, sections 4.3.7 (local header), 4.3.12 (central directory), 4.3.14-16 (end records, ZIP64).
 *
 * Why not a library: yauzl 3 needs Node's own modules, and conversion runs in browsers too; zip.js 2 would do (it tells `dataOffset`), but
 * brings compression, encryption and workers, none of which occurs here.
 */
import { type ByteSource, FormatError, MiB } from "@flashwick/core";

export interface ZipEntry {
  readonly name: string;
  /** 0 is stored, anything else compressed. */
  readonly method: number;
  readonly sizeBytes: number;
  readonly headerOffset: number;
}

const END_BYTES = 22;
const MAX_COMMENT_BYTES = 0xffff;
const ENTRY_BYTES = 46;
const LOCAL_HEADER_BYTES = 30;
/** An entry takes about 100 bytes; real files have a few thousand. */
const MAX_DIRECTORY_BYTES = 16 * MiB;

const END_SIGNATURE = 0x06054b50;
const END64_LOCATOR_SIGNATURE = 0x07064b50;
const END64_SIGNATURE = 0x06064b50;
const ENTRY_SIGNATURE = 0x02014b50;
const LOCAL_SIGNATURE = 0x04034b50;

/** The entries of an archive by name. @throws {FormatError} `CHECKPOINT_FILE` if the file is not a whole zip archive. */
export async function readZipDirectory(
  source: ByteSource,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, ZipEntry>> {
  const place = await findDirectory(source, signal);
  const view = await readView(source, place.offset, place.sizeBytes, signal);
  const entries = new Map<string, ZipEntry>();
  for (let at = 0; at < place.sizeBytes; ) {
    if (at + ENTRY_BYTES > view.byteLength || view.getUint32(at, true) !== ENTRY_SIGNATURE) {
      throw invalid(source, `the zip directory is broken at byte ${place.offset + at}`);
    }
    const nameBytes = view.getUint16(at + 28, true);
    const extraBytes = view.getUint16(at + 30, true);
    const end = at + ENTRY_BYTES + nameBytes + extraBytes + view.getUint16(at + 32, true);
    if (end > view.byteLength) throw invalid(source, `the zip directory is broken at byte ${place.offset + at}`);
    const entry = readEntry(source, view, at, nameBytes, extraBytes);
    if (entries.has(entry.name)) throw invalid(source, `two zip entries have the name ${entry.name}`);
    entries.set(entry.name, entry);
    at = end;
  }
  return entries;
}

/**
 * Where the bytes of a stored entry begin. Costs one read of 30 bytes: the local header has lengths of its own (4.3.7).
 *
 * @throws {FormatError} `CHECKPOINT_FILE` if the entry is compressed or not inside the file.
 */
export async function locateStoredEntry(source: ByteSource, entry: ZipEntry, signal?: AbortSignal): Promise<number> {
  if (entry.method !== 0) {
    throw invalid(source, `zip entry ${entry.name}: expected stored bytes, found compression method ${entry.method}`);
  }
  const view = await readView(source, entry.headerOffset, LOCAL_HEADER_BYTES, signal);
  if (view.getUint32(0, true) !== LOCAL_SIGNATURE) throw invalid(source, `zip entry ${entry.name} has no local header`);
  const offset = entry.headerOffset + LOCAL_HEADER_BYTES + view.getUint16(26, true) + view.getUint16(28, true);
  if (offset + entry.sizeBytes > source.sizeBytes) {
    throw invalid(source, `zip entry ${entry.name}: ${entry.sizeBytes} bytes at ${offset} lie beyond the end`);
  }
  return offset;
}

async function findDirectory(source: ByteSource, signal?: AbortSignal) {
  const tailBytes = Math.min(source.sizeBytes, END_BYTES + MAX_COMMENT_BYTES);
  const tailOffset = source.sizeBytes - tailBytes;
  const tail = await readView(source, tailOffset, tailBytes, signal);
  let at = tailBytes - END_BYTES;
  while (at >= 0 && !isEndRecord(tail, at)) at--;
  if (at < 0) throw invalid(source, "expected a zip archive, but its directory is missing at the end; it is truncated");
  let sizeBytes = tail.getUint32(at + 12, true);
  let offset = tail.getUint32(at + 16, true);
  if (sizeBytes === 0xffffffff || offset === 0xffffffff || tail.getUint16(at + 10, true) === 0xffff) {
    const end64 = await readEnd64(source, tailOffset + at, signal);
    sizeBytes = end64.sizeBytes;
    offset = end64.offset;
  }
  if (sizeBytes > MAX_DIRECTORY_BYTES || offset + sizeBytes > source.sizeBytes) {
    throw invalid(source, `the zip directory (${sizeBytes} bytes at ${offset}) is too large or not inside the file`);
  }
  return { offset, sizeBytes };
}

/** The signature alone could stand inside a comment; a comment that fills the file does not. */
function isEndRecord(tail: DataView, at: number): boolean {
  return (
    tail.getUint32(at, true) === END_SIGNATURE && at + END_BYTES + tail.getUint16(at + 20, true) === tail.byteLength
  );
}

async function readEnd64(source: ByteSource, endOffset: number, signal?: AbortSignal) {
  if (endOffset < 20) throw invalid(source, "the ZIP64 locator is missing");
  const locator = await readView(source, endOffset - 20, 20, signal);
  if (locator.getUint32(0, true) !== END64_LOCATOR_SIGNATURE) throw invalid(source, "the ZIP64 locator is missing");
  const record = await readView(source, uint64(source, locator, 8), 56, signal);
  if (record.getUint32(0, true) !== END64_SIGNATURE) throw invalid(source, "the ZIP64 end record is missing");
  return { sizeBytes: uint64(source, record, 40), offset: uint64(source, record, 48) };
}

function readEntry(source: ByteSource, view: DataView, at: number, nameBytes: number, extraBytes: number): ZipEntry {
  const nameAt = at + ENTRY_BYTES;
  const name = new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + nameAt, nameBytes));
  if (view.getUint16(at + 8, true) & 1) throw invalid(source, `zip entry ${name} is encrypted`);
  const method = view.getUint16(at + 10, true);
  let compressedBytes = view.getUint32(at + 20, true);
  let sizeBytes = view.getUint32(at + 24, true);
  let headerOffset = view.getUint32(at + 42, true);
  // 4.5.3: the ZIP64 extra field holds, in this order, exactly those fields that are all ones.
  let wide = findExtra(view, nameAt + nameBytes, extraBytes, 0x0001);
  const next = (value: number): number => {
    if (value !== 0xffffffff) return value;
    if (!wide || wide.byteLength < 8) throw invalid(source, `zip entry ${name}: its ZIP64 sizes are missing`);
    const result = uint64(source, wide, 0);
    wide = new DataView(wide.buffer, wide.byteOffset + 8, wide.byteLength - 8);
    return result;
  };
  sizeBytes = next(sizeBytes);
  compressedBytes = next(compressedBytes);
  headerOffset = next(headerOffset);
  if (method === 0 && compressedBytes !== sizeBytes) throw invalid(source, `zip entry ${name} has two sizes`);
  return { name, method, sizeBytes, headerOffset };
}

function findExtra(view: DataView, start: number, length: number, id: number): DataView | null {
  for (let at = start; at + 4 <= start + length; ) {
    const size = view.getUint16(at + 2, true);
    if (at + 4 + size > start + length) return null;
    if (view.getUint16(at, true) === id) return new DataView(view.buffer, view.byteOffset + at + 4, size);
    at += 4 + size;
  }
  return null;
}

function uint64(source: ByteSource, view: DataView, at: number): number {
  const value = Number(view.getBigUint64(at, true));
  if (!Number.isSafeInteger(value)) throw invalid(source, `a zip record holds the absurd number ${value}`);
  return value;
}

async function readView(
  source: ByteSource,
  offset: number,
  sizeBytes: number,
  signal?: AbortSignal,
): Promise<DataView> {
  if (offset + sizeBytes > source.sizeBytes) throw invalid(source, `a zip record at ${offset} lies beyond the end`);
  const bytes = new Uint8Array(sizeBytes);
  await source.read(bytes, offset, signal);
  return new DataView(bytes.buffer);
}

function invalid(source: ByteSource, problem: string): FormatError {
  return new FormatError("CHECKPOINT_FILE", `${source.name}: ${problem}; the file is damaged, fetch it again`, {
    details: { file: source.name },
  });
}
