/**
 * Entry of a compute thread in a page: hands arenas to the loop, and lets go of them.
 *
 * Messages: its setup first, then `{ arena, memory }`, or `{ arena, memory: null }` to release it (../threads/compute-pool.ts). A page's worker hears of
 * them in its event loop only. So it leaves the loop of work when one has been announced, and enters it again after each that has come.
 *
 * Invariant: it returns to its event loop only while a message that it has not received was announced, which means posted before. So one comes, and
 * takes it back to work; and it has never received more than was announced.
 */
import { viewControl } from "../threads/control-block.js";
import { instanceOver } from "../threads/instance.js";
import { reportFailure, workUntilMessage } from "../threads/worker-loop.js";

/** What is allocated to be garbage at once. Nobody touches it, so none of it becomes resident. */
const DECOYS = 64;
const DECOY_BYTES = 2 ** 27;

let setup = null;
let control = null;
/** Arena number -> the module over it. */
const instances = new Map();
let received = 0;

self.onmessage = ({ data }) => {
  if (setup === null) begin(data);
  else obey(data);
  workUntilMessage(control, instances, setup.thread, received, setup.spinUs);
};

/** Else a pool would wait for ever for the greeting of a worker that cannot be sent shared memory. */
self.onmessageerror = () => self.postMessage({ failed: "a message to it could not be read" });

function begin(data) {
  setup = data;
  control = viewControl(setup.buffer);
  self.postMessage({ ready: true });
}

function obey({ arena, memory }) {
  received++;
  try {
    if (memory) instances.set(arena, instanceOver(setup, memory));
    else if (instances.delete(arena)) provokeCollection();
  } catch (error) {
    reportFailure(control, setup.thread, error);
    throw error;
  }
}

/**
 * A thread that only sleeps and multiplies never collects garbage, and a page cannot ask for it but by making much of it. Chromium 153, two workers, four
 * arenas of 128 MiB used and released: three stayed for as long as the pool was open; with this one at most, and mostly none; 12-32 ms a release. What is
 * left over goes at the next release, or with the pool.
 */
function provokeCollection() {
  try {
    for (let i = 0; i < DECOYS; i++) new ArrayBuffer(DECOY_BYTES);
  } catch {
    // Memory is short: the engine has collected before it said so.
  }
}
