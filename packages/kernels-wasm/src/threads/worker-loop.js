/**
 * What a compute thread does all its life: takes chunks of the current op, spins a little when there are none, sleeps.
 *
 * Neutral: no Node, no browser. The loop is left when messages have been posted, since only the platform knows how they are
 * received: Node pulls them in place, a Web Worker returns to its event loop, and enters the loop again afterwards.
 */
import {
  CALLER_WAITS,
  chunksLeft,
  DONE,
  FAILED,
  FAILURE_BYTES,
  MESSAGES,
  ORDER_ARENA,
  runChunk,
  SLEEPERS,
  TICKET,
  takeChunk,
} from "./control-block.js";

/** Looks at the clock once in so many turns of a spin; a look costs as much as some twenty turns. */
const TURNS_A_LOOK = 64;

/**
 * @param {import("./control-block.js").ControlBlock} control
 * @param {ReadonlyMap<number, import("../wasm-exports.js").WasmExports>} instances Arena number -> the module over it.
 * @param {number} thread This thread's number, from 1 on.
 * @param {number} received Messages received so far; returns when others have been posted.
 * @param {number} spinUs How long to look for the next op before sleeping.
 */
export function workUntilMessage(control, instances, thread, received, spinUs) {
  const { words } = control;
  for (;;) {
    const ticket = Atomics.load(words, TICKET);
    if (Atomics.load(words, MESSAGES) !== received) return;
    const left = chunksLeft(ticket);
    if (left === 0) awaitChange(words, ticket, spinUs);
    else if (takeChunk(words, ticket)) finishChunk(control, instances, thread, left);
  }
}

function finishChunk(control, instances, thread, left) {
  const { words, order } = control;
  try {
    runChunk(order, instances.get(order[ORDER_ARENA]), thread, left);
  } catch (error) {
    reportFailure(control, thread, error);
    throw error;
  }
  Atomics.add(words, DONE, 1);
  if (Atomics.load(words, CALLER_WAITS) !== 0) Atomics.notify(words, DONE);
}

/** Leaves word of an error where the caller looks, as it waits without turning its event loop. */
export function reportFailure({ words, text }, thread, error) {
  const bytes = new TextEncoder().encode(String(error?.message ?? error)).subarray(0, text.length);
  text.set(bytes);
  Atomics.store(words, FAILURE_BYTES, bytes.length);
  Atomics.store(words, FAILED, thread);
  Atomics.notify(words, DONE);
}

/**
 * Returns when TICKET is no longer `ticket`, or now and then without reason.
 *
 * @param {Int32Array} words
 * @param {number} ticket
 * @param {number} spinUs
 */
function awaitChange(words, ticket, spinUs) {
  const end = performance.now() + spinUs / 1000;
  do {
    for (let turn = 0; turn < TURNS_A_LOOK; turn++) if (Atomics.load(words, TICKET) !== ticket) return;
  } while (performance.now() < end);
  // The caller changes TICKET, then looks at SLEEPERS; here it is the other way round, so one of the two sees the other.
  Atomics.add(words, SLEEPERS, 1);
  Atomics.wait(words, TICKET, ticket);
  Atomics.sub(words, SLEEPERS, 1);
}
