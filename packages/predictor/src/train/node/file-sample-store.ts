/**
 * Samples in a directory, for recordings that memory cannot hold and for resuming them.
 *
 *     samples.json                what is committed: shape, identity, counts per layer, next document
 *     layer-<l>.train             records (sample-layout.ts), one after the other
 *     layer-<l>.held-out          the same
 *     layer-<l>.magnitudes        f32, little-endian
 *
 * Invariant: what `samples.json` counts lies in the files, durably. Bytes beyond it come from an interrupted recording and
 * are cut off when it resumes. Any number of threads may read the committed samples at once.
 */
import {
  closeSync,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { assert, FormatError, InputError, IoError, MiB } from "@flashwick/core";
import { chunkReader } from "../memory-sample-store.js";
import { planSampleLayout } from "../sample-layout.js";
import {
  countBatch,
  type LayerSampleCounts,
  type LayerSamples,
  NO_SAMPLES,
  RowSamples,
  type Rows,
  type SampleBatch,
  type SampleShape,
  type SampleStore,
} from "../sample-store.js";
import { decodeManifest, MANIFEST_VERSION, type SampleManifest } from "./sample-manifest.js";

const MANIFEST_NAME = "samples.json";
const PILES = ["train", "held-out", "magnitudes"] as const;
type PileName = (typeof PILES)[number];

/** Training samples up to this size are read into memory at once: sample by sample, reads take a sixth of a training's time. */
export const DEFAULT_PRELOAD_BYTES = 128 * MiB;

/** Samples of a layer that must be closed after use. */
export interface OpenLayerSamples extends LayerSamples {
  /** Closes the files. */
  close(): void;
}

/** What recording the samples are of, and whether it goes on. */
export interface FileSampleStoreOptions {
  /** Anything that changes when the recording does (model fingerprint, text, tokens): only the same is resumed. */
  readonly identity: string;
  /** Goes on from what is committed; otherwise, or if nothing is there, the directory's samples are overwritten. */
  readonly resume: boolean;
}

/**
 * Opens the committed samples of one layer for reading, in any thread.
 *
 * @param preloadBytes The training samples are held in memory if they take no more than this.
 * @throws {IoError} `IO_NOT_FOUND`, `IO_READ`. {FormatError} `FORMAT_INVALID`, `FORMAT_TRUNCATED`.
 */
export function openFileSamples(
  directory: string,
  layer: number,
  preloadBytes = DEFAULT_PRELOAD_BYTES,
): OpenLayerSamples {
  const manifest = readManifest(directory);
  const counts = manifest?.layers[layer];
  if (!manifest || !counts) {
    throw new IoError("IO_NOT_FOUND", `${directory}: no samples of layer ${layer}; record them first`, {
      details: { directory, layer },
    });
  }
  const opened: FileRows[] = [];
  const closeAll = () => {
    for (const rows of opened.splice(0)) rows.close();
  };
  const bytes = pileBytes(manifest.shape, counts);
  const open = (pile: PileName) => {
    const rows = new FileRows(pilePath(directory, layer, pile), bytes[pile], {
      rowBytes: rowBytes(manifest.shape, pile),
      flags: "r",
    });
    opened.push(rows);
    return rows;
  };
  try {
    const file = open("train");
    const train = bytes.train <= preloadBytes ? preload(file, counts.trainTokens, bytes.train) : file;
    const piles = { train, heldOut: open("held-out"), magnitudes: open("magnitudes") };
    return Object.assign(new RowSamples(layer, manifest.shape, counts, piles), { close: closeAll });
  } catch (error) {
    closeAll();
    throw error;
  }
}

/** Samples in a directory, which can be resumed. */
export class FileSampleStore implements SampleStore {
  #counts: LayerSampleCounts[];
  #nextDocument: number;
  readonly #files: Readonly<Record<PileName, FileRows>>[] = [];

  /**
   * Creates a store, or goes on with one.
   *
   * @throws {InputError} `INPUT_INVALID` if what is there is of another recording and `resume` is asked for.
   *   {IoError} `IO_WRITE`, `IO_NO_SPACE`. {FormatError} for a store that is damaged.
   */
  constructor(
    readonly directory: string,
    readonly shape: SampleShape,
    private readonly options: FileSampleStoreOptions,
  ) {
    guard(directory, "write", () => mkdirSync(directory, { recursive: true }));
    const manifest = options.resume ? readManifest(directory) : null;
    if (manifest) checkIdentity(directory, manifest, shape, options.identity);
    this.#nextDocument = manifest?.nextDocument ?? 0;
    this.#counts = manifest ? [...manifest.layers] : Array.from({ length: shape.nLayers }, () => NO_SAMPLES);
    // Before the first byte is cut off: a manifest must never count what is no longer there.
    if (!manifest) this.#writeManifest();
    try {
      for (const [layer, counts] of this.#counts.entries()) this.#files.push(this.#openLayer(layer, counts));
    } catch (error) {
      this.close();
      throw error;
    }
  }

  get nextDocument(): number {
    return this.#nextDocument;
  }

  /** Writes the samples of a batch. */
  append(layer: number, batch: SampleBatch): void {
    const files = this.#files[layer];
    assert(files, "an open store with that layer");
    const { heldOut, records, magnitudes } = batch;
    assert(magnitudes.length === (heldOut ? batch.active : 0), "one magnitude for each active held-out neuron");
    files[heldOut ? "held-out" : "train"].append(records);
    files.magnitudes.append(new Uint8Array(magnitudes.buffer, magnitudes.byteOffset, magnitudes.byteLength));
    this.#counts[layer] = countBatch(this.#counts[layer]!, batch);
  }

  /** As the interface says, and durable: costs an fdatasync a file, so commit every few thousand tokens. */
  commit(nextDocument: number): void {
    this.#nextDocument = nextDocument;
    for (const files of this.#files) for (const pile of PILES) files[pile].sync();
    this.#writeManifest();
  }

  layer(layer: number): OpenLayerSamples {
    return openFileSamples(this.directory, layer);
  }

  /** Closes the files; what was not committed is dropped by the next resume. Safe to call twice. */
  close(): void {
    for (const files of this.#files.splice(0)) for (const pile of PILES) files[pile].close();
  }

  #openLayer(layer: number, counts: LayerSampleCounts): Record<PileName, FileRows> {
    const bytes = pileBytes(this.shape, counts);
    const open = (pile: PileName) =>
      new FileRows(pilePath(this.directory, layer, pile), bytes[pile], {
        rowBytes: rowBytes(this.shape, pile),
        flags: "a+",
      });
    return { train: open("train"), "held-out": open("held-out"), magnitudes: open("magnitudes") };
  }

  #writeManifest(): void {
    const manifest: SampleManifest = {
      version: MANIFEST_VERSION,
      shape: this.shape,
      identity: this.options.identity,
      nextDocument: this.#nextDocument,
      layers: this.#counts,
    };
    const path = join(this.directory, MANIFEST_NAME);
    guard(path, "write", () => {
      writeFileSync(`${path}.part`, `${JSON.stringify(manifest, null, 1)}\n`, { flush: true });
      renameSync(`${path}.part`, path);
    });
  }
}

/** Rows in a file: reads anywhere, appends at the end. */
class FileRows implements Rows {
  readonly #file: number;
  readonly #rowBytes: number;
  #open = true;

  /** @param sizeBytes What is committed: a longer file is cut to it when writing, a shorter one is refused. */
  constructor(
    private readonly path: string,
    sizeBytes: number,
    { rowBytes, flags }: { readonly rowBytes: number; readonly flags: "r" | "a+" },
  ) {
    this.#rowBytes = rowBytes;
    this.#file = guard(path, "read", () => openSync(path, flags));
    try {
      this.#fit(sizeBytes, flags);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  read(first: number, count: number, out: Uint8Array): void {
    const sizeBytes = count * this.#rowBytes;
    for (let done = 0; done < sizeBytes; ) {
      const at = first * this.#rowBytes + done;
      const read = guard(this.path, "read", () => readSync(this.#file, out, done, sizeBytes - done, at));
      if (read === 0) throw truncated(this.path, at + sizeBytes - done, at);
      done += read;
    }
  }

  append(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.byteLength; ) {
      done += guard(this.path, "write", () => writeSync(this.#file, bytes, done, bytes.byteLength - done));
    }
  }

  sync(): void {
    guard(this.path, "write", () => fdatasyncSync(this.#file));
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.#file);
  }

  #fit(sizeBytes: number, flags: "r" | "a+"): void {
    const found = guard(this.path, "read", () => fstatSync(this.#file).size);
    if (found < sizeBytes) throw truncated(this.path, sizeBytes, found);
    if (flags === "a+" && found > sizeBytes) guard(this.path, "write", () => ftruncateSync(this.#file, sizeBytes));
  }
}

function preload(file: Rows, rows: number, sizeBytes: number): Rows {
  const chunk = new Uint8Array(sizeBytes);
  file.read(0, rows, chunk);
  return chunkReader({ rowBytes: sizeBytes / Math.max(1, rows), rowsPerChunk: Math.max(1, rows), chunks: [chunk] });
}

function readManifest(directory: string): SampleManifest | null {
  const path = join(directory, MANIFEST_NAME);
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw ioError(path, "read", cause);
  }
  return decodeManifest(text, path);
}

function checkIdentity(directory: string, manifest: SampleManifest, shape: SampleShape, identity: string): void {
  const { nLayers, dModel, dFf } = manifest.shape;
  const alike = nLayers === shape.nLayers && dModel === shape.dModel && dFf === shape.dFf;
  if (alike && manifest.identity === identity) return;
  throw new InputError(
    "INPUT_INVALID",
    `${directory}: holds samples of another recording (${manifest.identity}, expected ${identity}); ` +
      "record without resuming, or into another directory",
    { details: { directory, expected: identity, found: manifest.identity } },
  );
}

function pilePath(directory: string, layer: number, pile: PileName): string {
  return join(directory, `layer-${layer}.${pile}`);
}

function rowBytes(shape: SampleShape, pile: PileName): number {
  return pile === "magnitudes" ? 4 : planSampleLayout(shape.dModel, shape.dFf).recordBytes;
}

function pileBytes(shape: SampleShape, counts: LayerSampleCounts): Record<PileName, number> {
  const { recordBytes } = planSampleLayout(shape.dModel, shape.dFf);
  return {
    train: counts.trainTokens * recordBytes,
    "held-out": counts.heldOutTokens * recordBytes,
    magnitudes: counts.heldOutActive * 4,
  };
}

function truncated(path: string, expectedBytes: number, foundBytes: number): FormatError {
  return new FormatError(
    "FORMAT_TRUNCATED",
    `${path}: expected at least ${expectedBytes} bytes of samples, found ${foundBytes}; record them again`,
    { details: { path, expectedBytes, foundBytes } },
  );
}

function guard<T>(path: string, action: "read" | "write", operate: () => T): T {
  try {
    return operate();
  } catch (cause) {
    throw ioError(path, action, cause);
  }
}

function ioError(path: string, action: "read" | "write", cause: unknown): IoError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const details = { path, errno: code };
  if (code === "ENOENT")
    return new IoError("IO_NOT_FOUND", `${path}: not found; record samples first`, { details, cause });
  if (code === "ENOSPC") {
    return new IoError("IO_NO_SPACE", `${path}: the device is full; free space or record fewer tokens`, {
      details,
      cause,
    });
  }
  const text = `${path}: cannot ${action} (${message}); check the device and its permissions, then record again`;
  return new IoError(action === "read" ? "IO_READ" : "IO_WRITE", text, { details, cause });
}
