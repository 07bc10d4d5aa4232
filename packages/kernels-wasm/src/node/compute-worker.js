/**
 * Entry of a compute thread in Node: hands arenas to the loop, and lets go of them.
 *
 * Messages: `{ arena, memory }`, or `{ arena, memory: null }` to release it.
 */
import { readlinkSync } from "node:fs";
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { viewControl } from "../threads/control-block.js";
import { instanceOver } from "../threads/instance.js";
import { reportFailure, workUntilMessage } from "../threads/worker-loop.js";
import { provokeCollection } from "./garbage.js";

const { buffer, thread, spinUs } = workerData;
const control = viewControl(buffer);
const instances = new Map();
let received = 0;

parentPort.postMessage({ osThreadId: osThreadId() });
for (;;) {
  workUntilMessage(control, instances, thread, received, spinUs);
  try {
    obeyMessages();
  } catch (error) {
    reportFailure(control, thread, error);
    throw error;
  }
}

function obeyMessages() {
  for (let entry = receiveMessageOnPort(parentPort); entry; entry = receiveMessageOnPort(parentPort)) {
    received++;
    // A thread that only sleeps and multiplies never collects, and would keep up to 4 GiB that nobody uses (measured, Node 20).
    if (obey(entry.message)) provokeCollection();
  }
}

/** True if an arena was released. In a function of its own: what is on the stack while garbage is collected is not garbage. */
function obey({ arena, memory }) {
  if (!memory) return instances.delete(arena);
  instances.set(arena, instanceOver(workerData, memory));
  return false;
}

/** What the kernel calls this thread; 0 where it does not say (only Linux does). */
function osThreadId() {
  try {
    return Number(readlinkSync("/proc/thread-self").split("/").pop());
  } catch {
    return 0;
  }
}
