// @ts-check
/**
 * Entry of a reader thread in Node: takes entries of the shared table in order, and blocks in one positional read after another
 * or keeps many in flight through the kernel's ring.
 *
 * Plain JavaScript, because Node runs this very file beside the sources. Everything comes with `workerData`.
 */
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { TableThread } from "../threads/table-thread.js";
import { DirectReads } from "./direct-reads.js";
import { provokeCollection } from "./garbage.js";
import { RingReads } from "./ring-reads.js";

/** @type {import("./node-threads.js").NodeThreadSetup} */
const { table: layout, thread, received, files, alignmentBytes, jitterUs, ring } = workerData;
const port = /** @type {import("node:worker_threads").MessagePort} */ (parentPort);
const table = new TableThread(layout, thread, received);
const reads = new DirectReads(table, files, alignmentBytes);
const pause = jitterUs > 0 ? createJitter() : null;

/** @param {number} place */
function read(place) {
  pause?.();
  reads.readEntry(place);
}

/** Learns of new memories, and drops released ones. */
function receiveMessages() {
  let released = false;
  for (let entry = receiveMessageOnPort(port); entry; entry = receiveMessageOnPort(port)) {
    released = table.receive(entry.message) || released;
  }
  // A sleeping thread allocates nothing, so V8 would never collect what it has dropped, and an arena of gigabytes would stay.
  if (released) provokeCollection();
}

/** For tests: a pseudo-random pause (xorshift32) of up to `jitterUs` before each read. */
function createJitter() {
  const word = new Int32Array(new SharedArrayBuffer(4));
  let state = thread + 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    Atomics.wait(word, 0, 0, ((state >>> 0) / 2 ** 32) * (jitterUs / 1000));
  };
}

port.postMessage({ ready: thread });
if (ring) new RingReads(table, reads, receiveMessages, pause).serve();
else while (table.serve(read) === "message") receiveMessages();
