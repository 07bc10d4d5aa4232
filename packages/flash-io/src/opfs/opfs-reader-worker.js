// @ts-check
/**
 * A reader worker in a page: takes entries of the shared table in order and reads each through its own read-only handle straight into shared
 * memory.
 *
 * Plain JavaScript without imports of ours, so that every bundler takes this very file. The table's layout and invariants: ../threads/reader-table.ts.
 * Between batches it sleeps on the doorbell; only for messages (a memory comes or goes) does it return to the event loop.
 */

/**
 * @typedef {object} Setup
 * @property {import("../threads/reader-table.js").TableLayout} table
 * @property {number} thread
 * @property {FileSystemFileHandle} file
 */

/** @type {Setup["table"]} */
let table;
/** @type {Setup["table"]["words"]} */
let W;
/** @type {Int32Array} */
let words;
/** @type {Record<"offset" | "sizeBytes" | "piecePtr" | "pieceBytes", Float64Array>} */
let reals;
/** @type {Record<"memory" | "firstPiece" | "pieceCount" | "landed", Int32Array>} */
let integers;
let thread = 0;
let messagesSeen = 0;
let endsAt = 0;
/** An entry that was taken and not read; -1: none. */
let postponed = -1;
/** @type {{ read(buffer: ArrayBufferView, options: { at: number }): number, close(): void }} */
let handle;
/** Arenas by index. @type {(Uint8Array | null)[]} */
const memories = [];

const ERROR_TEXT_BYTES = 512;
const SPINS = 32;
/** Chromium reads any length; other engines may not: a bound that costs nothing. */
const MAX_READ_BYTES = 2 ** 27;

class Truncated extends Error {}

self.onmessage = async ({ data }) => {
  if ("table" in data) {
    try {
      await begin(data);
    } catch (error) {
      self.postMessage({ failed: error instanceof Error ? error.message : String(error) });
      return;
    }
    self.postMessage({ ready: thread });
  } else {
    memories[data.index] = data.buffer === null ? null : new Uint8Array(data.buffer);
    messagesSeen++;
  }
  run();
};

/** @param {Setup} setup */
async function begin(setup) {
  const file = /** @type {any} */ (setup.file);
  handle = await file.createSyncAccessHandle({ mode: "read-only" });
  ({ table, thread } = setup);
  W = table.words;
  const { buffer, columns, runCapacity, pieceCapacity } = table;
  words = new Int32Array(buffer);
  reals = {
    offset: new Float64Array(buffer, columns.offset, runCapacity),
    sizeBytes: new Float64Array(buffer, columns.sizeBytes, runCapacity),
    piecePtr: new Float64Array(buffer, columns.piecePtr, pieceCapacity),
    pieceBytes: new Float64Array(buffer, columns.pieceBytes, pieceCapacity),
  };
  integers = {
    memory: new Int32Array(buffer, columns.memory, runCapacity),
    firstPiece: new Int32Array(buffer, columns.firstPiece, runCapacity),
    pieceCount: new Int32Array(buffer, columns.pieceCount, runCapacity),
    landed: new Int32Array(buffer, columns.landed, runCapacity),
  };
}

/** Reads until there is a message to take, or the thread shall end. */
function run() {
  if (!table) return;
  for (;;) {
    const bell = Atomics.load(words, W.doorbell);
    if (Atomics.load(words, W.stopping) !== 0) {
      handle.close();
      self.postMessage({ ended: thread });
      self.close();
      return;
    }
    // The message itself brings this worker back.
    if (Atomics.load(words, W.messages) !== messagesSeen) return;
    Atomics.store(words, W.busy + thread, 1);
    // Still busy then: an entry is taken, and waits for a message that is on its way.
    if (!readAll()) return;
    Atomics.store(words, W.busy + thread, 0);
    if (Atomics.load(words, W.doorbell) === bell) sleep(bell);
  }
}

/** @param {number} bell */
function sleep(bell) {
  for (let i = 0; i < SPINS; i++) if (Atomics.load(words, W.doorbell) !== bell) return;
  Atomics.add(words, W.sleepers, 1);
  // Whoever wakes a sleeper has counted it off already.
  if (Atomics.wait(words, W.doorbell, bell) !== "ok") Atomics.sub(words, W.sleepers, 1);
}

/** Reads entries until there are none, or one fails; false if one must wait for a message. */
function readAll() {
  for (;;) {
    const place = postponed >= 0 ? postponed : takeEntry();
    if (place < 0) return true;
    postponed = -1;
    // The entry may be of a memory that this worker has not heard of yet. What tells of it was announced before the entry was published.
    if (Atomics.load(words, W.messages) !== messagesSeen) {
      postponed = place;
      return false;
    }
    try {
      readEntry(place);
    } catch (error) {
      fail(place, error);
      return true;
    }
    Atomics.store(integers.landed, place, 1);
    countEnding();
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
    return ticket & (table.runCapacity - 1);
  }
}

function countEnding() {
  const endings = Atomics.add(words, W.endings, 1) + 1;
  if (Atomics.load(words, W.waiting) !== 0 && ((endings - Atomics.load(words, W.wakeAt)) | 0) >= 0) {
    Atomics.notify(words, W.endings);
  }
}

/** @param {number} place */
function readEntry(place) {
  const memory = memories[integers.memory[place]];
  if (!memory) throw new Error("the memory is not known to this worker");
  const first = integers.firstPiece[place];
  let at = reals.offset[place];
  for (let i = 0; i < integers.pieceCount[place]; i++) {
    const piece = (first + i) & (table.pieceCapacity - 1);
    const end = reals.piecePtr[piece] + reals.pieceBytes[piece];
    for (let ptr = reals.piecePtr[piece]; ptr < end; ) {
      const got = handle.read(memory.subarray(ptr, Math.min(end, ptr + MAX_READ_BYTES)), { at });
      if (got <= 0) {
        endsAt = at;
        throw new Truncated();
      }
      ptr += got;
      at += got;
    }
  }
}

/**
 * Stops the batch, and leaves a record of the first error.
 *
 * @param {number} place
 * @param {unknown} error
 */
function fail(place, error) {
  if (Atomics.compareExchange(words, W.error, 0, 1) === 0) {
    const { buffer, columns } = table;
    const numbers = new Float64Array(buffer, columns.errorNumbers, 3);
    numbers[0] = reals.offset[place];
    numbers[1] = reals.sizeBytes[place];
    numbers[2] = endsAt;
    const text = new TextEncoder().encode(error instanceof Error ? error.message : String(error));
    const kept = text.subarray(0, ERROR_TEXT_BYTES);
    new Uint8Array(buffer, columns.errorText, ERROR_TEXT_BYTES).set(kept);
    words[W.errorTextBytes] = kept.byteLength;
    words[W.errorKind] = error instanceof Truncated ? table.errorKind.truncated : table.errorKind.device;
    Atomics.store(words, W.error, 2);
  }
  for (;;) {
    const ticket = Atomics.load(words, W.ticket);
    const published = Atomics.load(words, W.published);
    if (((published - ticket) | 0) <= 0) break;
    if (Atomics.compareExchange(words, W.ticket, ticket, published) === ticket) break;
  }
  Atomics.add(words, W.endings, 1);
  Atomics.notify(words, W.endings);
}
