import { paddedLength } from "@flashwick/core";

/** Bytes of one activation vector of n elements. */
export function vectorBytes(n: number): number {
  return 4 * paddedLength(n);
}
