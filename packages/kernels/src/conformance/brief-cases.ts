/** A short way through a table of cases, for a self-test. */
import type { ConformanceCase } from "./case-table.js";

/**
 * The first case of each op, type of weights or of keys, and kind of check: every kernel runs, within about a second on one thread.
 *
 * The first case of a kind is never an empty one: an op that does nothing would pass that.
 *
 * @returns Some of `cases`, in their order.
 */
export function briefCases(cases: readonly ConformanceCase[]): ConformanceCase[] {
  const seen = new Set<string>();
  return cases.filter((c) => {
    const kind = `${c.op} ${"dtype" in c ? c.dtype : ""} ${"check" in c ? c.check : ""}`;
    const isNew = !seen.has(kind);
    seen.add(kind);
    return isNew;
  });
}
