// @ts-check
/**
 * Entry of a reader thread whose n-th read goes wrong: changes what `node:fs` does in this thread alone, then is the real entry.
 *
 * Which one, and how, stands in shared memory, in which all threads count their reads: see faulty-threads.fixture.ts.
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { workerData } from "node:worker_threads";

/** @type {{ words: Int32Array, path: string, kinds: readonly string[] }} */
const { words, path, kinds } = workerData.faults;
/** Places in `words`: operations, completed ones, the number of the kind or -1, the operation that it strikes, the seed. */
const [OPERATIONS, COMPLETED, KIND, AT, SEED] = [0, 1, 2, 3, 4];
/** Longest wait for another read, milliseconds. */
const REORDER_MS = 20;
const real = { readSync: fs.readSync, readvSync: fs.readvSync, read: fs.read, readv: fs.readv };

/** The kind of fault that strikes this read; "" if none does. */
function strike() {
  const operation = Atomics.add(words, OPERATIONS, 1) + 1;
  const kind = Atomics.load(words, KIND);
  if (kind < 0 || Atomics.load(words, AT) !== operation) return "";
  const name = kinds[kind];
  changeFile(name, Atomics.load(words, SEED));
  if (name === "delay") sleep(1 + (words[SEED] % 5));
  if (name === "reorder") Atomics.wait(words, COMPLETED, Atomics.load(words, COMPLETED), REORDER_MS);
  if (name === "device-error") throw Object.assign(new Error("EIO: i/o error, read"), { code: "EIO" });
  return name;
}

/** @param {number} ms */
function sleep(ms) {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
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

/**
 * What came of a read, after the fault.
 *
 * @param {string} kind
 * @param {readonly Uint8Array[]} views What was read into.
 * @param {number} got
 */
function spoil(kind, views, got) {
  Atomics.add(words, COMPLETED, 1);
  Atomics.notify(words, COMPLETED);
  if (kind === "wrong-bit" && got > 0) {
    const first = views[0].subarray(0, Math.min(got, views[0].length));
    first[words[SEED] % first.length] ^= 1 << (words[SEED] % 8);
  }
  if (kind !== "short" || got < 2) return got;
  // What a short read has not brought is whatever lies there.
  let at = 0;
  for (const view of views) {
    view.fill(0xaa, Math.min(view.length, Math.max(0, (got >> 1) - at)), Math.min(view.length, Math.max(0, got - at)));
    at += view.length;
  }
  return got >> 1;
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
  return spoil(kind, [memory.subarray(at, at + length)], real.readSync(fd, memory, at, length, offset));
};
/** @type {any} */ (fs).readvSync = (/** @type {number} */ fd, /** @type {any} */ views, /** @type {any} */ offset) => {
  const kind = strike();
  return spoil(kind, views, real.readvSync(fd, views, offset));
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
    const end = () => onEnd(error, error ? got : spoil(kind, views, got));
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
