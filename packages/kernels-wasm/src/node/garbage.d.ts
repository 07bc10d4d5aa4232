/**
 * Makes V8 collect this thread's garbage now, so that arenas which nothing refers to any more are freed.
 *
 * Cost: 14 to 19 ms; garbage.js says how it was measured.
 */
export function provokeCollection(): void;
