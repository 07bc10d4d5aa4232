// @ts-check
/**
 * Entry of a reader thread whose n-th read goes wrong: changes what `node:fs` does in this thread alone, then is the real entry.
 *
 * Which one, and how, stands in shared memory, in which all threads count their reads: see faulty-threads.fixture.ts.
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { workerData } from "node:worker_threads";
import { REORDER_MS, SharedFaults } from "../conformance/shared-faults.js";

/** @type {{ words: Int32Array, path: string, kinds: readonly string[] }} */
const { words, path, kinds } = workerData.faults;
const faults = new SharedFaults(words, kinds);
const real = { readSync: fs.readSync, readvSync: fs.readvSync, read: fs.read, readv: fs.readv };

/** The kind of fault that strikes this read; "" if none does. */
function strike() {
  const kind = faults.strike();
  changeFile(kind, faults.seed);
  if (kind === "device-error") throw Object.assign(new Error("EIO: i/o error, read"), { code: "EIO" });
  return kind;
}

/**
 * @param {string} kind
 * @param {number} seed
 */
function changeFile(kind, seed) {
  const sizeBytes = kind === "shrink" || kind === "grow" || kind === "replace" ? fs.statSync(path).size : 0;
  if (kind === "shrink") fs.truncateSync(path, (Math.imul(seed, 0x9e3779b1) % sizeBytes) & 0x7ffff000);
  if (kind === "grow") fs.appendFileSync(path, Buffer.alloc(1 + (seed % 8192), 0xaa));
  if (kind === "delete") fs.rmSync(path);
  if (kind !== "replace") return;
  fs.writeFileSync(`${path}.new`, Buffer.alloc(sizeBytes, 0xaa));
  fs.renameSync(`${path}.new`, path);
}

/** @type {typeof fs.readSync} */
fs.readSync = (
  /** @type {number} */ fd,
  /** @type {any} */ memory,
  /** @type {any} */ at,
  /** @type {any} */ length,
  /** @type {any} */ offset,
) => {
  const kind = strike();
  return faults.spoil(kind, [memory.subarray(at, at + length)], real.readSync(fd, memory, at, length, offset));
};
/** @type {any} */ (fs).readvSync = (/** @type {number} */ fd, /** @type {any} */ views, /** @type {any} */ offset) => {
  const kind = strike();
  return faults.spoil(kind, views, real.readvSync(fd, views, offset));
};
/**
 * @param {readonly Uint8Array[]} views
 * @param {(error: Error | null, got: number) => void} onEnd
 * @param {(onRead: (error: Error | null, got: number) => void) => void} read
 */
function later(views, onEnd, read) {
  let kind = "";
  try {
    kind = strike();
  } catch (error) {
    setImmediate(() => onEnd(/** @type {Error} */ (error), 0));
    return;
  }
  read((error, got) => {
    const end = () => onEnd(error, error ? got : faults.spoil(kind, views, got));
    // Others that are in flight come first.
    if (kind === "reorder") setTimeout(end, REORDER_MS);
    else end();
  });
}
/** @type {any} */ (fs).read = (
  /** @type {any} */ fd,
  /** @type {any} */ memory,
  /** @type {any} */ at,
  /** @type {any} */ length,
  /** @type {any} */ offset,
  /** @type {any} */ onEnd,
) => later([memory.subarray(at, at + length)], onEnd, (onRead) => real.read(fd, memory, at, length, offset, onRead));
/** @type {any} */ (fs).readv = (
  /** @type {any} */ fd,
  /** @type {any} */ views,
  /** @type {any} */ offset,
  /** @type {any} */ onEnd,
) => later(views, onEnd, (onRead) => real.readv(fd, views, offset, onRead));
syncBuiltinESMExports();

await import("./flash-reader-worker.js");
