/**
 * The directory of a PyTorch weights file (`torch.save`, zip form, since torch 1.6).
 *
 *   <archive>/data.pkl      a pickled dictionary: name -> view of a storage
 *   <archive>/byteorder     "little" or "big"; absent in older files, which are little
 *   <archive>/data/<key>    the bytes of a storage, uncompressed
 *
 * Storages are located, not read. Several tensors may share one.
 */
import { type ByteSource, FormatError, formatBytes, MiB, UnsupportedError } from "@flashwick/core";
import type { CheckpointTensor } from "./checkpoint-tensor.js";
import { type PickledStorage, type PickledTensor, readTensorPickle } from "./tensor-pickle.js";
import { locateStoredEntry, readZipDirectory, type ZipEntry } from "./zip-directory.js";

/** A tensor takes about 200 bytes of pickle; real shards have a few thousand. */
const MAX_PICKLE_BYTES = 16 * MiB;

/**
 * Reads the directory of a PyTorch weights file. Executes nothing of it.
 *
 * @returns The tensors by name, with absolute offsets.
 * @throws {FormatError} `CHECKPOINT_FILE`, `CHECKPOINT_PICKLE`. {UnsupportedError} `UNSUPPORTED_FEATURE` for the form before
 * torch 1.6 and for big-endian files.
 */
export async function readTorchFile(
  source: ByteSource,
  signal?: AbortSignal,
): Promise<ReadonlyMap<string, CheckpointTensor>> {
  await checkContainer(source, signal);
  const entries = await readZipDirectory(source, signal);
  const pickleName = [...entries.keys()].find((name) => /^([^/]+\/)?data\.pkl$/.test(name));
  if (pickleName === undefined) {
    throw fileError(source, "expected an entry data.pkl: this zip archive is not a PyTorch weights file");
  }
  const archive = pickleName.slice(0, -"data.pkl".length);
  await checkByteOrder(source, entries.get(`${archive}byteorder`), signal);
  const pickle = await readEntry(source, entries.get(pickleName)!, MAX_PICKLE_BYTES, signal);
  const pickled = readTensorPickle(pickle, `${source.name}/data.pkl`);

  const storageOffsets = new Map<string, number>();
  const tensors = new Map<string, CheckpointTensor>();
  for (const [name, tensor] of pickled) {
    const { storage } = tensor;
    let storageOffset = storageOffsets.get(storage.key);
    if (storageOffset === undefined) {
      storageOffset = await locateStorage(source, entries.get(`${archive}data/${storage.key}`), storage, signal);
      storageOffsets.set(storage.key, storageOffset);
    }
    tensors.set(name, locatedTensor(source, name, tensor, storageOffset));
  }
  return tensors;
}

function locatedTensor(source: ByteSource, name: string, tensor: PickledTensor, storageOffset: number) {
  return {
    name,
    source,
    offset: storageOffset + tensor.offset * tensor.storage.elementBytes,
    shape: tensor.shape,
    dtype: tensor.storage.dtype,
    storedDType: tensor.storage.typeName,
    contiguous: isContiguous(tensor),
  };
}

/** Row-major without gaps; the stride of a dimension of one element means nothing, as in torch's `is_contiguous`. */
function isContiguous({ shape, strides }: PickledTensor): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== expected) return false;
    expected *= shape[axis]!;
  }
  return true;
}

async function checkContainer(source: ByteSource, signal?: AbortSignal): Promise<void> {
  const magic = new Uint8Array(4);
  await source.read(magic, 0, signal);
  if (magic[0] === 0x50 && magic[1] === 0x4b) return;
  if (magic[0] === 0x80 && magic[2] === 0x8a) {
    throw new UnsupportedError(
      "UNSUPPORTED_FEATURE",
      `${source.name}: expected the zip form of torch 1.6 and later, found the older form; load it with torch and save it again, as safetensors if possible`,
      { details: { file: source.name } },
    );
  }
  throw fileError(source, "expected a PyTorch weights file (a zip archive), found something else; fetch it again");
}

async function checkByteOrder(source: ByteSource, entry: ZipEntry | undefined, signal?: AbortSignal): Promise<void> {
  if (!entry) return;
  const order = new TextDecoder().decode(await readEntry(source, entry, 64, signal)).trim();
  if (order !== "little") {
    throw new UnsupportedError(
      "UNSUPPORTED_FEATURE",
      `${source.name}: expected little-endian elements, found byte order ${JSON.stringify(order)}; save the checkpoint again on a little-endian machine`,
      { details: { file: source.name, byteOrder: order } },
    );
  }
}

async function locateStorage(
  source: ByteSource,
  entry: ZipEntry | undefined,
  storage: PickledStorage,
  signal?: AbortSignal,
): Promise<number> {
  if (!entry) throw fileError(source, `storage data/${storage.key} is missing; fetch it again`);
  const sizeBytes = storage.elements * storage.elementBytes;
  if (entry.sizeBytes < sizeBytes) {
    throw fileError(
      source,
      `storage ${entry.name}: expected ${sizeBytes} bytes, found ${entry.sizeBytes}; fetch it again`,
    );
  }
  return locateStoredEntry(source, entry, signal);
}

async function readEntry(
  source: ByteSource,
  entry: ZipEntry,
  maxBytes: number,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  if (entry.sizeBytes > maxBytes) {
    throw fileError(
      source,
      `zip entry ${entry.name}: expected at most ${formatBytes(maxBytes)}, found ${formatBytes(entry.sizeBytes)}`,
    );
  }
  const offset = await locateStoredEntry(source, entry, signal);
  const bytes = new Uint8Array(entry.sizeBytes);
  await source.read(bytes, offset, signal);
  return bytes;
}

function fileError(source: ByteSource, problem: string): FormatError {
  return new FormatError("CHECKPOINT_FILE", `${source.name}: ${problem}`, { details: { file: source.name } });
}
