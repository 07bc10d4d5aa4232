/** `flashwick profile`: what this machine and a device of it can do, for the cost model. */
import { closeSync, fsyncSync, openSync, readdirSync, rmSync, statfsSync, statSync, writeSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import { join } from "node:path";
import { formatBytes, IoError, type OnProgress, Random } from "@flashwick/core";
import type { DeviceProfile, FlashProfile } from "@flashwick/cost-model";
import { isAlive } from "@flashwick/flash-io/node";
import { createComputePool } from "@flashwick/kernels-wasm/node";
import type { Effort } from "./figures.js";
import { measureBufferedFlash, measureFlash } from "./flash-profile.js";
import { busyWork, type KernelFigures, measureKernelFigures } from "./kernel-profile.js";
import { measureManagement } from "./management-profile.js";
import { memoryBeyondFragments } from "./memory-beyond-fragments.js";
import { STREAM_MEMORY_BYTES } from "./stream-profile.js";

/** Where and how thoroughly a machine is measured. */
export interface MeasureProfileOptions {
  /** A folder on the device: a file is written there and removed again. Or a large file that is there already. */
  readonly path: string;
  /** Fewer sizes, depths and repetitions: ten seconds rather than a minute. */
  readonly quick?: boolean;
  /** Compute threads; default: one a core. */
  readonly threads?: number;
  readonly onProgress?: OnProgress | undefined;
  readonly signal?: AbortSignal | undefined;
}

const MiB = 2 ** 20;
const FILE_BYTES = { full: 1024 * MiB, quick: 384 * MiB, brief: 64 * MiB };
/** What is left free on the device. */
const SPARE_BYTES = 256 * MiB;
const LEAST_FILE_BYTES = 64 * MiB;
/** Before the number of the process. */
const SAMPLE_NAME = ".flashwick-profile-";
const MOST_THREADS = 8;
/** What a small model has in DRAM before it streams, and so before the memory that its streams land in. */
const SMALL_MODEL_BYTES = 64 * MiB;

/**
 * Measures a device profile.
 *
 * @throws {IoError} `IO_NO_SPACE`, `IO_NOT_FOUND`, `IO_WRITE`, `IO_READ`. The signal's own reason. Whatever happens, the file is gone afterwards.
 * Cost: half a minute (`quick`: under ten seconds), all cores, 220 MB of memory, and a file of 1 GiB (384 MiB).
 */
export async function measureProfile(options: MeasureProfileOptions): Promise<DeviceProfile> {
  const { path, quick = false, onProgress, signal } = options;
  const effort = quick ? "quick" : "full";
  const file = sampleFile(path, FILE_BYTES[effort], onProgress, signal);
  try {
    return await measure(file.path, effort, options);
  } finally {
    file.remove();
  }
}

/**
 * A rough profile within a second, for predictions where none is kept: few sizes and types, each of them once.
 *
 * @param options `path`: a file is read and nothing is written; in a folder, a file of 64 MiB is made and removed again.
 * @throws As {@link measureProfile}.
 * Cost: about a second, all cores, 80 MB of memory.
 */
export async function measureBriefProfile(options: Omit<MeasureProfileOptions, "quick">): Promise<DeviceProfile> {
  const { path, onProgress, signal } = options;
  const file = sampleFile(path, FILE_BYTES.brief, onProgress, signal);
  try {
    return await measure(file.path, "brief", options);
  } finally {
    file.remove();
  }
}

/**
 * The same of what a small file's runs use: one thread that computes, and reads through the page cache.
 *
 * @param options `path`: a file.
 * Cost: a quarter of a second.
 */
export async function measureSmallFileProfile({
  path,
  onProgress,
  signal,
}: Pick<MeasureProfileOptions, "path" | "onProgress" | "signal">): Promise<DeviceProfile> {
  const figures = await measureKernelFigures({ threads: 1, effort: "small", onProgress, signal });
  return profileOf(1, "small", await measureBufferedFlash(path, signal), figures);
}

async function measure(
  path: string,
  effort: Exclude<Effort, "small">,
  options: MeasureProfileOptions,
): Promise<DeviceProfile> {
  const { onProgress, signal } = options;
  const firstMemory = effort === "brief" ? null : memoryBeyondFragments(STREAM_MEMORY_BYTES, SMALL_MODEL_BYTES);
  const threads = options.threads ?? Math.min(availableParallelism(), MOST_THREADS);
  const figures = await measureKernelFigures({ threads, effort, onProgress, signal });
  const pool = await createComputePool({ threads });
  try {
    const { compute } = busyWork(pool, effort);
    const flash = await measureFlash({ path, effort, compute, firstMemory, onProgress, signal });
    return profileOf(threads, effort, flash, figures);
  } finally {
    await pool.close();
  }
}

function profileOf(
  threads: number,
  effort: Effort,
  flash: FlashProfile,
  { nsPerScore, ...rates }: KernelFigures,
): DeviceProfile {
  const when = new Date().toISOString().slice(0, 10);
  return {
    schemaVersion: 2,
    name: `${cpus()[0]?.model.trim() ?? "unknown processor"} x${availableParallelism()}${effort === "brief" || effort === "small" ? ", measured within a second" : ""}`,
    source: `measured ${when}, Node ${process.version}, ${process.platform}${effort === "full" ? "" : `, ${effort}`}`,
    cores: threads,
    flash,
    ...rates,
    management: { ...measureManagement(), nsPerScore, copyBytesPerSec: null },
  };
}

interface SampleFile {
  readonly path: string;
  remove(): void;
}

/** A file to read: the one that is there, or a new one of noise. */
function sampleFile(
  path: string,
  mostBytes: number,
  onProgress: OnProgress | undefined,
  signal: AbortSignal | undefined,
): SampleFile {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) throw new IoError("IO_NOT_FOUND", `${path}: expected a folder or a file to measure on, found nothing`);
  if (!stat.isDirectory()) return { path, remove() {} };
  const { bavail, bsize } = statfsSync(path);
  const bytes = Math.min(mostBytes, Math.floor((bavail * bsize - SPARE_BYTES) / MiB) * MiB);
  if (bytes < LEAST_FILE_BYTES) {
    const free = formatBytes(bavail * bsize);
    throw new IoError(
      "IO_NO_SPACE",
      `${path}: ${free} are free, expected at least ${formatBytes(LEAST_FILE_BYTES + SPARE_BYTES)} to measure with; give a folder with more room`,
    );
  }
  removeLeftovers(path);
  const file = join(path, `${SAMPLE_NAME}${process.pid}`);
  const remove = () => rmSync(file, { force: true });
  // Ctrl-C twice, or a failure elsewhere, must not leave it behind either.
  process.once("exit", remove);
  try {
    writeNoise(file, bytes, onProgress, signal);
  } catch (cause) {
    remove();
    if (signal?.aborted) throw signal.reason;
    throw new IoError("IO_WRITE", `${file}: writing ${formatBytes(bytes)} failed; give another folder with --dir`, {
      cause,
    });
  }
  return {
    path: file,
    remove() {
      process.off("exit", remove);
      remove();
    },
  };
}

/** Files of a GiB, of measurements that were killed. */
function removeLeftovers(folder: string): void {
  for (const name of readdirSync(folder)) {
    const pid = name.startsWith(SAMPLE_NAME) ? Number(name.slice(SAMPLE_NAME.length)) : Number.NaN;
    if (Number.isInteger(pid) && !isAlive(pid)) rmSync(join(folder, name), { force: true });
  }
}

/** Bytes that no device can leave out or compress. */
function writeNoise(
  file: string,
  bytes: number,
  onProgress: OnProgress | undefined,
  signal: AbortSignal | undefined,
): void {
  const random = new Random(3);
  const block = new Uint32Array((4 * MiB) / 4);
  for (let i = 0; i < block.length; i++) block[i] = random.below(2 ** 32);
  const descriptor = openSync(file, "w", 0o600);
  try {
    for (let at = 0; at < bytes; at += block.byteLength) {
      signal?.throwIfAborted();
      block[0] = at;
      writeSync(descriptor, block, 0, block.byteLength, at);
      onProgress?.({ phase: "file", loaded: at + block.byteLength, total: bytes, unit: "bytes" });
    }
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
