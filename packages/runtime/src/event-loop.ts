/** Longest that work keeps the event loop waiting, apart from a single layer: a synchronous reader and synchronous kernels never touch it. */
export const EVENT_LOOP_WAIT_MS = 25;
