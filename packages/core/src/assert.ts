/** Documents an invariant of our own code. A failure is a bug in flashwick, never bad input. */
export function assert(condition: unknown, invariant: string): asserts condition {
  if (!condition) throw new Error(`flashwick bug: ${invariant}`);
}
