// @ts-check
/**
 * A reader thread: takes entries of the shared table in order and blocks in one positional read after another.
 *
 * Plain JavaScript without imports of ours, because Node runs this very file, built or not. Everything about the table comes
 * with `workerData` (see ../threads/reader-table.ts for its layout and its invariants).
 *
 * What is aligned lands where the kernels will read it. Anything else is widened to the device's alignment, lands in this
 * thread's own bounce buffer, and is copied. Bounce buffers are WebAssembly memories: the others are not page-aligned, and
 * direct reads into them fail with EINVAL.
 */
import { read, readSync, readv, readvSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";

/** @type {import("./reader-threads.js").ThreadSetup} */
const { table, fd, thread, alignmentBytes, jitterUs, ring } = workerData;
const { words: W, columns, runCapacity, pieceCapacity } = table;

/** `readSync` takes lengths below 2^31 only; a multiple of every alignment. */
const MAX_READ_BYTES = 2 ** 30;
const BOUNCE_BYTES = 256 * 1024;
/** Pieces at least this long are read each on its own where the run is not aligned: their middles need no copy. */
const LONG_PIECE_BYTES = 64 * 1024;
const ERROR_TEXT_BYTES = 512;
/** Looks at the ticket before going to sleep, about 1 us: the cores belong to computing. */
const SPINS = 32;

const words = new Int32Array(table.buffer);
const entryOffset = new Float64Array(table.buffer, columns.offset, runCapacity);
const entryBytes = new Float64Array(table.buffer, columns.sizeBytes, runCapacity);
const entryMemory = new Int32Array(table.buffer, columns.memory, runCapacity);
const entryFirstPiece = new Int32Array(table.buffer, columns.firstPiece, runCapacity);
const entryPieceCount = new Int32Array(table.buffer, columns.pieceCount, runCapacity);
const entryLanded = new Int32Array(table.buffer, columns.landed, runCapacity);
const piecePtr = new Float64Array(table.buffer, columns.piecePtr, pieceCapacity);
const pieceBytes = new Float64Array(table.buffer, columns.pieceBytes, pieceCapacity);
const runMask = runCapacity - 1;
const pieceMask = pieceCapacity - 1;
const busy = W.busy + thread;

const NO_MEMORY = new Uint8Array(0);
/** Arenas by index. @type {Uint8Array[]} */
const memories = [];
/** @type {Uint8Array | null} */
let bounce = null;
let messagesSeen = 0;
/** Where the file was found to end, for the error record. */
let endsAt = 0;

class Truncated extends Error {}

/** Reads one entry after another, blocking in each; returns when the thread shall end. */
function run() {
  for (;;) {
    const bell = awaitTurn();
    if (bell === null) return;
    Atomics.store(words, busy, 1);
    readAll();
    Atomics.store(words, busy, 0);
    if (Atomics.load(words, W.doorbell) === bell) sleep(bell);
  }
}

/** Takes messages, and sleeps while this thread is not wanted; the doorbell as it was before, or null when the thread shall end. */
function awaitTurn() {
  for (;;) {
    const bell = Atomics.load(words, W.doorbell);
    if (Atomics.load(words, W.messages) !== messagesSeen) takeMessages();
    // In this order: what stops also changes `active`, so that nobody sleeps through it.
    const active = Atomics.load(words, W.active);
    if (Atomics.load(words, W.stopping) !== 0) return null;
    if (thread < active) return bell;
    Atomics.wait(words, W.active, active);
  }
}

/** Reads that the ring has and that have not come back. */
let inFlight = 0;

/**
 * The same through the kernel's submission ring, which libuv offers where the process was started with UV_USE_IO_URING=1: one thread
 * keeps `depth` reads in flight and is needed for none of them, so that the cores are left to computing. Sleeps only while
 * nothing is in flight; otherwise returns to the event loop, and goes on when a read comes back.
 */
function serveRing() {
  for (;;) {
    const bell = awaitTurn();
    if (bell === null) return;
    Atomics.store(words, busy, 1);
    fillRing();
    if (inFlight > 0) return;
    Atomics.store(words, busy, 0);
    if (Atomics.load(words, W.doorbell) === bell) sleep(bell);
  }
}

function fillRing() {
  while (inFlight < Atomics.load(words, W.depth)) {
    const place = takeEntry();
    if (place < 0) return;
    if (jitterUs > 0) dawdle();
    if (Atomics.load(words, W.messages) !== messagesSeen) takeMessages();
    if (!submit(place)) finish(place);
  }
}

/**
 * Hands an entry to the ring; false if it is one for the bounce buffer, which is not worth it.
 *
 * @param {number} place
 */
function submit(place) {
  const count = entryPieceCount[place];
  const first = entryFirstPiece[place];
  const offset = entryOffset[place];
  if (!isAligned(offset) || entryBytes[place] > MAX_READ_BYTES || !arePiecesAligned(first, count)) return false;
  const memory = /** @type {Uint8Array} */ (memories[entryMemory[place]]);
  /** @type {(error: Error | null, got: number) => void} */
  const onEnd = (error, got) => comeBack(place, error, got);
  inFlight++;
  if (count === 1) read(fd, memory, piecePtr[first], pieceBytes[first], offset, onEnd);
  else readv(fd, viewsOf(memory, first, count), offset, onEnd);
  return true;
}

/**
 * @param {number} place
 * @param {Error | null} error
 * @param {number} got
 */
function comeBack(place, error, got) {
  inFlight--;
  if (error !== null) fail(place, error);
  else if (got === entryBytes[place]) land(place);
  else finish(place);
  fillRing();
  // Not from here: what is on the stack would keep a released memory alive while this thread sleeps.
  if (inFlight === 0) setImmediate(serveRing);
}

/**
 * Reads an entry here and now: a bounced one, or the rest of a short read.
 *
 * @param {number} place
 */
function finish(place) {
  try {
    readEntry(place);
    land(place);
  } catch (error) {
    fail(place, error);
  }
}

/** @param {number} bell */
function sleep(bell) {
  for (let i = 0; i < SPINS; i++) if (Atomics.load(words, W.doorbell) !== bell) return;
  Atomics.add(words, W.sleepers, 1);
  // Whoever wakes a sleeper has counted it off already.
  if (Atomics.wait(words, W.doorbell, bell) !== "ok") Atomics.sub(words, W.sleepers, 1);
}

/** Reads entries until there are none, or one fails. */
function readAll() {
  for (let place = takeEntry(); place >= 0; place = takeEntry()) {
    try {
      if (jitterUs > 0) dawdle();
      if (Atomics.load(words, W.messages) !== messagesSeen) takeMessages();
      readEntry(place);
    } catch (error) {
      fail(place, error);
      return;
    }
    land(place);
  }
}

/** The place of the next entry, which is this thread's now; -1 if there is none. Wakes another thread if there are more. */
function takeEntry() {
  for (;;) {
    const ticket = Atomics.load(words, W.ticket);
    const left = (Atomics.load(words, W.published) - ticket) | 0;
    if (left <= 0) return -1;
    if (Atomics.compareExchange(words, W.ticket, ticket, (ticket + 1) | 0) !== ticket) continue;
    if (left > 1 && Atomics.load(words, W.sleepers) > 0) {
      Atomics.sub(words, W.sleepers, Atomics.notify(words, W.doorbell, 1));
    }
    return ticket & runMask;
  }
}

/** @param {number} place */
function land(place) {
  Atomics.store(entryLanded, place, 1);
  end();
}

/** Counts one read as ended, and wakes the owner if that is what it sleeps for. */
function end() {
  const endings = Atomics.add(words, W.endings, 1) + 1;
  if (Atomics.load(words, W.waiting) !== 0 && ((endings - Atomics.load(words, W.wakeAt)) | 0) >= 0) {
    Atomics.notify(words, W.endings);
  }
}

/** @param {number} place */
function readEntry(place) {
  const memory = /** @type {Uint8Array} */ (memories[entryMemory[place]]);
  const count = entryPieceCount[place];
  const first = entryFirstPiece[place];
  const offset = entryOffset[place];
  if (count === 1) {
    const ptr = piecePtr[first];
    const sizeBytes = pieceBytes[first];
    // Nearly always this is all there is to do.
    if (isAligned(offset) && isAligned(ptr) && isAligned(sizeBytes) && sizeBytes <= MAX_READ_BYTES) {
      if (readSync(fd, memory, ptr, sizeBytes, offset) === sizeBytes) return;
    }
    readPiece(memory, ptr, sizeBytes, offset);
    return;
  }
  const aligned = isAligned(offset) && arePiecesAligned(first, count);
  if (aligned && entryBytes[place] <= MAX_READ_BYTES && readScattered(memory, first, count, place)) return;
  if (!aligned && entryBytes[place] < LONG_PIECE_BYTES * count) {
    readThroughBounce(memory, first, count, offset, entryBytes[place]);
    return;
  }
  let at = offset;
  for (let i = 0; i < count; i++) {
    const piece = (first + i) & pieceMask;
    readPiece(memory, piecePtr[piece], pieceBytes[piece], at);
    at += pieceBytes[piece];
  }
}

/** @param {number} n A file offset, a pointer or a size: below 2^53. */
function isAligned(n) {
  return n % alignmentBytes === 0;
}

/**
 * @param {number} first
 * @param {number} count
 */
function arePiecesAligned(first, count) {
  for (let i = 0; i < count; i++) {
    const piece = (first + i) & pieceMask;
    if (!isAligned(piecePtr[piece]) || !isAligned(pieceBytes[piece])) return false;
  }
  return true;
}

/**
 * One vectored read; false when it came back short (then the pieces are read one by one).
 *
 * @param {Uint8Array} memory
 * @param {number} first
 * @param {number} count
 * @param {number} place
 */
function readScattered(memory, first, count, place) {
  return readvSync(fd, viewsOf(memory, first, count), entryOffset[place]) === entryBytes[place];
}

/**
 * @param {Uint8Array} memory
 * @param {number} first
 * @param {number} count
 */
function viewsOf(memory, first, count) {
  const views = new Array(count);
  for (let i = 0; i < count; i++) {
    const piece = (first + i) & pieceMask;
    views[i] = memory.subarray(piecePtr[piece], piecePtr[piece] + pieceBytes[piece]);
  }
  return views;
}

/**
 * One contiguous stretch, whatever its alignment and however short the reads: aligned stretches directly, the rest bounced.
 *
 * @param {Uint8Array} memory
 * @param {number} ptr
 * @param {number} sizeBytes
 * @param {number} offset
 */
function readPiece(memory, ptr, sizeBytes, offset) {
  const congruent = isAligned(ptr - offset);
  let done = 0;
  while (done < sizeBytes) {
    const at = offset + done;
    const left = sizeBytes - done;
    const direct = Math.min(left - (left % alignmentBytes), MAX_READ_BYTES);
    if (congruent && isAligned(at) && direct > 0) {
      const got = readSync(fd, memory, ptr + done, direct, at);
      if (got === 0) truncated(at);
      done += got;
    } else {
      // A head stops where the aligned middle begins; what will never be aligned goes on through the bounce buffer.
      const head = alignmentBytes - (at % alignmentBytes);
      const want = congruent ? Math.min(left, head) : left;
      const got = fillBounce(at, want);
      memory.set(bounceAt(at, got), ptr + done);
      done += got;
    }
  }
}

/**
 * A run of short pieces: the whole run through the bounce buffer, then copied piece by piece.
 *
 * @param {Uint8Array} memory
 * @param {number} first
 * @param {number} count
 * @param {number} offset
 * @param {number} sizeBytes
 */
function readThroughBounce(memory, first, count, offset, sizeBytes) {
  let piece = 0;
  let pieceDone = 0;
  for (let done = 0; done < sizeBytes; ) {
    const at = offset + done;
    const got = fillBounce(at, sizeBytes - done);
    for (let used = 0; used < got && piece < count; ) {
      const i = (first + piece) & pieceMask;
      const n = Math.min(pieceBytes[i] - pieceDone, got - used);
      memory.set(bounceAt(at + used, n, at), piecePtr[i] + pieceDone);
      used += n;
      pieceDone += n;
      if (pieceDone === pieceBytes[i]) {
        piece++;
        pieceDone = 0;
      }
    }
    done += got;
  }
}

/**
 * Reads the aligned blocks around `offset` … `offset + want` into the bounce buffer; returns how many of the wanted bytes came,
 * at least one.
 *
 * @param {number} offset
 * @param {number} want
 */
function fillBounce(offset, want) {
  bounce ??= new Uint8Array(new WebAssembly.Memory({ initial: BOUNCE_BYTES / 65536 }).buffer);
  const before = offset % alignmentBytes;
  const wide = Math.min(Math.ceil((before + want) / alignmentBytes) * alignmentBytes, BOUNCE_BYTES);
  const got = readSync(fd, bounce, 0, wide, offset - before) - before;
  if (got <= 0) truncated(offset - before + Math.max(0, got + before));
  return Math.min(got, want);
}

/**
 * @param {number} offset
 * @param {number} sizeBytes
 * @param {number} filledFrom The offset that `fillBounce` was asked for.
 */
function bounceAt(offset, sizeBytes, filledFrom = offset) {
  const start = (filledFrom % alignmentBytes) + (offset - filledFrom);
  return /** @type {Uint8Array} */ (bounce).subarray(start, start + sizeBytes);
}

/** @param {number} at @returns {never} */
function truncated(at) {
  endsAt = at;
  throw new Truncated();
}

/**
 * Stops the batch, and leaves a record of the first error.
 *
 * @param {number} place
 * @param {unknown} error
 */
function fail(place, error) {
  if (Atomics.compareExchange(words, W.error, 0, 1) === 0) {
    const numbers = new Float64Array(table.buffer, columns.errorNumbers, 3);
    numbers[0] = entryOffset[place];
    numbers[1] = entryBytes[place];
    numbers[2] = endsAt;
    const text = new TextEncoder().encode(error instanceof Error ? error.message : String(error));
    const kept = text.subarray(0, ERROR_TEXT_BYTES);
    new Uint8Array(table.buffer, columns.errorText, ERROR_TEXT_BYTES).set(kept);
    words[W.errorTextBytes] = kept.byteLength;
    words[W.errorKind] = error instanceof Truncated ? table.errorKind.truncated : table.errorKind.device;
    Atomics.store(words, W.error, 2);
  }
  cancel();
  Atomics.add(words, W.endings, 1);
  Atomics.notify(words, W.endings);
}

/** Takes back what no thread has taken; never moves the ticket backwards. */
function cancel() {
  for (;;) {
    const ticket = Atomics.load(words, W.ticket);
    const published = Atomics.load(words, W.published);
    if (((published - ticket) | 0) <= 0) return;
    if (Atomics.compareExchange(words, W.ticket, ticket, published) === ticket) return;
  }
}

/** Learns of new memories, and drops released ones. */
function takeMessages() {
  messagesSeen = Atomics.load(words, W.messages);
  let released = false;
  for (;;) {
    const received = receiveMessageOnPort(/** @type {import("node:worker_threads").MessagePort} */ (parentPort));
    if (received === undefined) break;
    /** @type {import("./reader-threads.js").MemoryMessage} */
    const { index, buffer } = received.message;
    if (buffer === null) {
      memories[index] = NO_MEMORY;
      released = true;
    } else memories[index] = new Uint8Array(buffer);
  }
  if (released) collectGarbage();
}

/** @type {(() => void) | null} */
let gc = null;

/**
 * A sleeping thread allocates nothing, so V8 would never collect what it has dropped, and an arena of gigabytes would stay.
 * Node gives no way to ask for a collection from within but this (3 ms; v8.queryObjects, the one without a flag, takes 40).
 */
function collectGarbage() {
  gc ??= findCollector();
  gc?.();
}

/** Null if another reader's thread has put the process-wide flag back each time: then the memory goes at the next release. */
function findCollector() {
  while (Atomics.compareExchange(words, W.flagLock, 0, 1) !== 0) Atomics.wait(words, W.flagLock, 1, 1);
  try {
    for (let attempt = 0; attempt < 8; attempt++) {
      setFlagsFromString("--expose-gc");
      const found = runInNewContext("globalThis.gc");
      setFlagsFromString("--no-expose-gc");
      if (typeof found === "function") return found;
    }
    return null;
  } finally {
    Atomics.store(words, W.flagLock, 0);
    Atomics.notify(words, W.flagLock, 1);
  }
}

const jitterWord = new Int32Array(new SharedArrayBuffer(4));
let jitterState = thread + 1;

/** For tests: a pseudo-random pause (xorshift32) of up to `jitterUs`. */
function dawdle() {
  jitterState ^= jitterState << 13;
  jitterState ^= jitterState >>> 17;
  jitterState ^= jitterState << 5;
  Atomics.wait(jitterWord, 0, 0, ((jitterState >>> 0) / 2 ** 32) * (jitterUs / 1000));
}

// Last, for it returns only when the thread shall end.
Atomics.add(words, W.ready, 1);
if (ring) serveRing();
else run();
