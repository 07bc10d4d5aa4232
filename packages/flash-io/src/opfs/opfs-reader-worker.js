// @ts-check
/**
 * Entry of a reader worker in a page: takes entries of the shared table in order and reads each through its own read-only handle
 * straight into shared memory.
 *
 * Messages: its setup first, then memories that come or go. Between batches it sleeps on the table's doorbell; only for messages
 * does it return to the event loop.
 */
import { TableThread, Truncated } from "../threads/table-thread.js";

/** Chromium reads any length; other engines may not: a bound that costs nothing. */
const MAX_READ_BYTES = 2 ** 27;

/** @type {TableThread | null} */
let table = null;
/** @type {import("./sync-handle.js").SyncHandle} */
let handle;

self.onmessage = async ({ data }) => {
  if ("table" in data) {
    try {
      await open(data);
    } catch (error) {
      self.postMessage({ failed: error instanceof Error ? error.message : String(error) });
      return;
    }
    self.postMessage({ ready: true });
  } else if (table === null) early.push(data);
  else table.receive(data);
  if (table !== null) serve(table);
};

/** Messages that came before the file was open. @type {import("../threads/reader-threads.js").MemoryMessage[]} */
const early = [];

/** @param {import("./opfs-threads.js").OpfsThreadSetup} setup */
async function open(setup) {
  const file = /** @type {import("./sync-handle.js").StoredFileHandle} */ (setup.file);
  handle = await file.createSyncAccessHandle({ mode: "read-only" });
  table = new TableThread(setup.table, setup.thread, setup.received);
  for (const message of early) table.receive(message);
}

/** Reads until there is a message to receive, which brings this worker back, or the worker shall end. @param {TableThread} table */
function serve(table) {
  if (table.serve(readEntry) === "message") return;
  handle.close();
  self.postMessage({ ended: true });
  self.close();
}

/** @param {number} place */
function readEntry(place) {
  const { offset, piecePtr, pieceBytes, pieceCount, pieceMask, firstPiece } = /** @type {TableThread} */ (table);
  const memory = /** @type {TableThread} */ (table).memoryOf(place);
  let at = offset[place];
  for (let i = 0; i < pieceCount[place]; i++) {
    const piece = (firstPiece[place] + i) & pieceMask;
    const end = piecePtr[piece] + pieceBytes[piece];
    for (let ptr = piecePtr[piece]; ptr < end; ) {
      const got = handle.read(memory.subarray(ptr, Math.min(end, ptr + MAX_READ_BYTES)), { at });
      if (got <= 0) throw new Truncated(at);
      ptr += got;
      at += got;
    }
  }
}
