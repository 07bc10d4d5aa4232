/**
 * A synchronous reader and synchronous kernels never touch the event loop, so an abort, a timer or a frame would have to wait for
 * the end of the request. Long work gives the loop a turn now and then.
 */

/** Longest that work keeps the event loop waiting, apart from a single layer. */
export const EVENT_LOOP_WAIT_MS = 25;

/** Resolves after everything that waits in the event loop has had its turn. Cost: some 10 µs in Node, 1 to 4 ms in a browser. */
export function eventLoopTurn(): Promise<void> {
  const { setImmediate } = globalThis as { setImmediate?: (callback: () => void) => unknown };
  return new Promise((resolve) => {
    if (setImmediate) setImmediate(resolve);
    else setTimeout(resolve, 0);
  });
}
