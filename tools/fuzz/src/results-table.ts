/** docs/results/fuzzing.csv: a row for each harness, to which every run adds. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { CampaignResult } from "./campaign.js";

/** What all runs of a harness have come to. */
export interface HarnessTotals {
  readonly inputs: number;
  readonly seconds: number;
  readonly longestMs: number;
  readonly largestGrowthBytes: number;
  readonly faults: number;
}

const NONE: HarnessTotals = { inputs: 0, seconds: 0, longestMs: 0, largestGrowthBytes: 0, faults: 0 };
const HEAD = "harness,inputs,seconds,inputs_per_second,longest_ms,largest_growth_kib,faults,node";

/** The table of a file, which need not be there. */
export function readTotals(path: string): Map<string, HarnessTotals> {
  const lines = existsSync(path) ? readFileSync(path, "utf8").trim().split("\n").slice(1) : [];
  return new Map(
    lines.map((line) => {
      const [name, inputs, seconds, , longestMs, growthKib, faults] = line.split(",");
      const totals = {
        inputs: Number(inputs),
        seconds: Number(seconds),
        longestMs: Number(longestMs),
        largestGrowthBytes: 1024 * Number(growthKib),
        faults: Number(faults),
      };
      return [name!, totals];
    }),
  );
}

/** The totals with one more campaign. */
export function added(before: HarnessTotals | undefined, result: CampaignResult): HarnessTotals {
  const { inputs, seconds, longestMs, largestGrowthBytes, faults } = before ?? NONE;
  return {
    inputs: inputs + result.inputs,
    seconds: seconds + result.seconds,
    longestMs: Math.max(longestMs, result.longestMs),
    largestGrowthBytes: Math.max(largestGrowthBytes, result.largestGrowthBytes),
    faults: faults + result.faults.length,
  };
}

/** Writes the table. */
export function writeTotals(path: string, table: ReadonlyMap<string, HarnessTotals>): void {
  const rows = Array.from(table, ([name, { inputs, seconds, longestMs, largestGrowthBytes, faults }]) => {
    const rate = Math.round(inputs / Math.max(seconds, 1e-3));
    return [
      name,
      inputs,
      seconds.toFixed(1),
      rate,
      longestMs.toFixed(1),
      Math.round(largestGrowthBytes / 1024),
      faults,
      process.version,
    ].join(",");
  });
  writeFileSync(path, `${[HEAD, ...rows].join("\n")}\n`);
}
