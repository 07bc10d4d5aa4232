/** docs/results/crashes.csv: a row for each command and start. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";

/** What the trials of a case have come to. */
export interface CaseTotals {
  /** Operations of a run that nothing disturbs. */
  readonly operations: number;
  /** Processes killed, by what they left. */
  readonly kills: number;
  readonly leftOld: number;
  readonly leftNew: number;
  /** Of several outputs some. */
  readonly leftSome: number;
  /** Failures of the disk that were told, and those that made no difference. */
  readonly errorsTold: number;
  readonly errorsBorne: number;
  readonly races: number;
  /** In which both writers ended well. */
  readonly racesBoth: number;
  readonly racesOne: number;
  readonly racesNone: number;
  readonly faults: number;
}

const COLUMNS = [
  ["operations", "operations"],
  ["kills", "kills"],
  ["left_old", "leftOld"],
  ["left_new", "leftNew"],
  ["left_some_new", "leftSome"],
  ["errors_told", "errorsTold"],
  ["errors_borne", "errorsBorne"],
  ["races", "races"],
  ["races_both_end_well", "racesBoth"],
  ["races_one_ends_well", "racesOne"],
  ["races_none_ends_well", "racesNone"],
  ["faults", "faults"],
] as const satisfies readonly (readonly [string, keyof CaseTotals])[];
const HEAD = ["command", "output", ...COLUMNS.map(([name]) => name)].join(",");

export const NO_TRIALS: CaseTotals = {
  ...{ operations: 0, kills: 0, leftOld: 0, leftNew: 0, leftSome: 0, errorsTold: 0, errorsBorne: 0 },
  ...{ races: 0, racesBoth: 0, racesOne: 0, racesNone: 0, faults: 0 },
};

/** Counts of two parts of one case's trials. */
export function sum(a: CaseTotals, b: CaseTotals): CaseTotals {
  const totals = Object.fromEntries(COLUMNS.map(([, key]) => [key, a[key] + b[key]]));
  return { ...(totals as unknown as CaseTotals), operations: Math.max(a.operations, b.operations) };
}

/** Rows by command and start, `convert,new`; of a file that need not be there. */
export function readTable(path: string): Map<string, CaseTotals> {
  const lines = existsSync(path) ? readFileSync(path, "utf8").trim().split("\n").slice(1) : [];
  return new Map(
    lines.map((line) => {
      const [command, output, ...cells] = line.split(",");
      const totals = Object.fromEntries(COLUMNS.map(([, key], i) => [key, Number(cells[i])]));
      return [`${command},${output}`, totals as unknown as CaseTotals];
    }),
  );
}

export function writeTable(path: string, table: ReadonlyMap<string, CaseTotals>): void {
  const rows = [...table].map(([name, totals]) => [name, ...COLUMNS.map(([, key]) => totals[key])].join(","));
  writeFileSync(path, `${[HEAD, ...rows].join("\n")}\n`);
}
