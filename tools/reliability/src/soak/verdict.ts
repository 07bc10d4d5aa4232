/** What a soak's samples say: drift, and figures for the table. */
import { percentile } from "@flashwick/runtime";
import type { LapSample, SoakResult } from "./soak.js";
import type { SoakFigure } from "./soak-table.js";

/** The most that the resident size may grow from the end of the first tenth to the end of a soak. */
export const MOST_DRIFT = 0.02;
/** Shorter soaks have too few samples for medians. */
const LEAST_SAMPLES = 20;
const MiB = 2 ** 20;

/** Growth of a size over a soak, by medians: a single sample says what the allocator happened to hold. */
export interface Drift {
  /** Median of the samples of the second tenth: what was there when the first tenth had ended. */
  readonly early: number;
  /** Median of the samples of the last tenth. */
  readonly late: number;
  /** late / early − 1. */
  readonly share: number;
}

/** @param sizes In the order of the soak. Null for fewer than twenty. */
export function driftOf(sizes: readonly number[]): Drift | null {
  if (sizes.length < LEAST_SAMPLES) return null;
  const tenth = Math.floor(sizes.length / 10);
  const [early, late] = [median(sizes.slice(tenth, 2 * tenth)), median(sizes.slice(-tenth))];
  return { early, late, share: late / early - 1 };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

const SIZES = [
  ["loaded and idle", ({ loadedBytes }: LapSample) => loadedBytes],
  ["closed", ({ closedBytes }: LapSample) => closedBytes],
] as const;

/** What was wrong; empty: nothing. */
export function faultsOf({ ledger, samples }: SoakResult): string[] {
  const grown = SIZES.flatMap(([what, pick]) => {
    const drift = driftOf(samples.map(pick));
    if (drift === null || drift.share <= MOST_DRIFT) return [];
    return [`the resident size, models ${what}, grew by ${(100 * drift.share).toFixed(2)} %`];
  });
  const more = ledger.faultCount - ledger.faults.length;
  return [...ledger.faults, ...(more > 0 ? [`${more} more`] : []), ...grown];
}

/** The rows of a soak. @param models Their names, in the order of the soak. */
export function figuresOf(result: SoakResult, models: readonly string[]): SoakFigure[] {
  const { ledger, samples, before, seconds, mostBytes, memoriesMade } = result;
  const last = samples.at(-1)!;
  const events = [
    "whole",
    "served",
    "left",
    "aborted",
    "opened",
    "forked",
    "rolled back",
    "drafted",
    "unloaded",
    "closed",
  ] as const;
  return [
    { figure: "tokens", value: last.tokens, unit: "" },
    { figure: "time", value: seconds, unit: "s" },
    { figure: "laps", value: samples.length, unit: "" },
    ...events.map((event) => ({ figure: `events: ${event}`, value: ledger.countOf(event), unit: "" })),
    { figure: "runs whose reads were held against the reader's", value: ledger.readsChecked, unit: "" },
    { figure: "faults", value: faultsOf(result).length, unit: "" },
    ...SIZES.flatMap(([what, pick]) => driftRows(what, driftOf(samples.map(pick)))),
    { figure: "resident at most", value: mostBytes / MiB, unit: "MiB" },
    { figure: "descriptors before", value: before.descriptors, unit: "" },
    { figure: "descriptors after", value: last.counts.descriptors, unit: "" },
    { figure: "threads before", value: before.threads, unit: "" },
    { figure: "threads after", value: last.counts.threads, unit: "" },
    { figure: "WebAssembly memories made", value: memoriesMade, unit: "" },
    { figure: "WebAssembly memories left", value: last.counts.memories, unit: "" },
    ...models.flatMap((name, number) => timeRows(name, ledger.timesOf(number))),
  ];
}

function driftRows(what: string, drift: Drift | null): SoakFigure[] {
  if (drift === null) return [];
  return [
    { figure: `resident ${what}: median of the second tenth`, value: drift.early / MiB, unit: "MiB" },
    { figure: `resident ${what}: median of the last tenth`, value: drift.late / MiB, unit: "MiB" },
    { figure: `resident ${what}: drift`, value: 100 * drift.share, unit: "%" },
  ];
}

function timeRows(name: string, times: { readonly first: Float64Array; readonly second: Float64Array }): SoakFigure[] {
  return (["first", "second"] as const).flatMap((half) =>
    [50, 99].map((percent) => ({
      ...{ figure: `${name}: token p${percent} of the ${half} half`, unit: "ms" },
      value: percentile(Array.from(times[half]), percent / 100),
    })),
  );
}
