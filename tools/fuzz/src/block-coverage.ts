/**
 * Which blocks of the code under test have ever run, as V8 counts them: an input that reaches a block for the first time is worth changing further.
 *
 * V8 is asked once for a batch of inputs, since an answer takes some tens of milliseconds. Only if a batch has reached something new is it run again, in
 * halves.
 */

import type { Profiler } from "node:inspector";
import { Session } from "node:inspector";

type Range = readonly [begin: number, end: number];

/** Coverage of the scripts of one file. */
export class BlockCoverage {
  readonly #session = new Session();
  readonly #url: string;
  /** By function: what of it has never run. */
  readonly #missing = new Map<string, readonly Range[]>();

  /** @param url Of the script that is looked at. */
  constructor(url: string) {
    this.#url = url;
    this.#session.connect();
    this.#session.post("Profiler.enable");
    this.#session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  }

  /** Whether anything has run since the last call that is not known to have run before. It stays unknown. */
  hasNews(): boolean {
    return this.#take().some(([key, missed]) => this.#isNews(key, missed));
  }

  /** Whether anything has run since the last call that is not known to have run before; from now on it is. */
  takeNews(): boolean {
    let isNews = false;
    for (const [key, missed] of this.#take()) {
      if (!this.#isNews(key, missed)) continue;
      const before = this.#missing.get(key);
      this.#missing.set(key, before === undefined ? missed : intersect(before, missed));
      isNews = true;
    }
    return isNews;
  }

  /** Code runs at full speed again. */
  stop(): void {
    this.#session.post("Profiler.stopPreciseCoverage");
    this.#session.post("Profiler.disable");
    this.#session.disconnect();
  }

  /** Functions that have run since the last call, and what of each has not. */
  #take(): [key: string, missed: readonly Range[]][] {
    let functions: Profiler.FunctionCoverage[] = [];
    this.#session.post("Profiler.takePreciseCoverage", (error, answer) => {
      if (error) throw error;
      functions = answer.result.find(({ url }) => url === this.#url)?.functions ?? [];
    });
    return functions.flatMap(({ ranges }): [string, readonly Range[]][] => {
      const [whole] = ranges;
      if (!whole || whole.count === 0) return [];
      return [[`${whole.startOffset}-${whole.endOffset}`, missingRanges(ranges)]];
    });
  }

  #isNews(key: string, missed: readonly Range[]): boolean {
    const before = this.#missing.get(key);
    return before === undefined || lengthOf(intersect(before, missed)) < lengthOf(before);
  }
}

/** Ranges without a count, without those inside them that have one. */
function missingRanges(ranges: readonly Profiler.CoverageRange[]): Range[] {
  let missed: Range[] = [];
  // An outer range comes before those inside it.
  for (const { startOffset, endOffset, count } of ranges) {
    missed = without(missed, startOffset, endOffset);
    if (count === 0) missed.push([startOffset, endOffset]);
  }
  return missed.sort((a, b) => a[0] - b[0]);
}

function without(ranges: readonly Range[], begin: number, end: number): Range[] {
  return ranges.flatMap(([from, to]): Range[] => {
    if (to <= begin || from >= end) return [[from, to]];
    const left: Range[] = [];
    if (from < begin) left.push([from, begin]);
    if (to > end) left.push([end, to]);
    return left;
  });
}

function intersect(a: readonly Range[], b: readonly Range[]): Range[] {
  const both: Range[] = [];
  for (const [from, to] of a) {
    for (const [begin, end] of b)
      if (Math.max(from, begin) < Math.min(to, end)) both.push([Math.max(from, begin), Math.min(to, end)]);
  }
  return both;
}

function lengthOf(ranges: readonly Range[]): number {
  return ranges.reduce((sum, [from, to]) => sum + to - from, 0);
}
