/**
 * Entry of a compute thread in Node: hands arenas to the loop, and lets go of them.
 *
 * Messages: `{ arena, memory }`, or `{ arena, memory: null }` to release it.
 */
import { readlinkSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { viewControl } from "../threads/control-block.js";
import { reportFailure, workUntilMessage } from "../threads/worker-loop.js";

const { buffer, module, thread, spinUs } = workerData;
const control = viewControl(buffer);
const instances = new Map();
let received = 0;
/** @type {(() => void) | null} */
let gc = null;

parentPort.postMessage({ osThreadId: osThreadId() });
for (;;) {
  workUntilMessage(control, instances, thread, received, spinUs);
  try {
    if (obeyMessages()) collectGarbage();
  } catch (error) {
    reportFailure(control, thread, error);
    throw error;
  }
}

/** Returns true if an arena was released. */
function obeyMessages() {
  let released = false;
  for (let entry = receiveMessageOnPort(parentPort); entry; entry = receiveMessageOnPort(parentPort)) {
    const { arena, memory } = entry.message;
    received++;
    if (memory) instances.set(arena, new WebAssembly.Instance(module, { env: { memory } }).exports);
    else released = instances.delete(arena) || released;
  }
  return released;
}

/** A thread that only sleeps and multiplies never collects, and would keep up to 4 GiB that nobody uses (measured, Node 20). */
function collectGarbage() {
  gc ??= findCollector();
  gc?.();
}

/**
 * The flag is the whole process's, and other threads clear it again (readers of flash, on the same occasion): so it may be gone by the
 * time the context is made. Null if that happened every time: then the memory goes at the next release.
 */
function findCollector() {
  for (let attempt = 0; attempt < 32; attempt++) {
    setFlagsFromString("--expose-gc");
    const found = runInNewContext("globalThis.gc");
    if (typeof found === "function") return found;
  }
  return null;
}

/** What the kernel calls this thread; 0 where it does not say (only Linux does). */
function osThreadId() {
  try {
    return Number(readlinkSync("/proc/thread-self").split("/").pop());
  } catch {
    return 0;
  }
}
