/** docs/results/corruption.csv: a row for each file, region and kind of damage. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { Tally } from "./damage.js";

const HEAD = "file,kind,region,damage,count,found_at_open,found_at_read,found_by_verify,ignored_same_output,undetected";

/** Replaces the rows of the files at hand, and keeps the others. */
export function writeTallies(path: string, tallies: readonly Tally[]): void {
  const now = new Set(tallies.map(({ subject }) => `${subject.replaceAll(",", ";")},`));
  const lines = existsSync(path) ? readFileSync(path, "utf8").trim().split("\n").slice(1) : [];
  const kept = lines.filter((line) => ![...now].some((name) => line.startsWith(name)));
  writeFileSync(path, `${[HEAD, ...[...kept, ...tallies.map(lineOf)].toSorted()].join("\n")}\n`);
}

function lineOf({ subject, kind, region, damage, count, found, ignored, undetected }: Tally): string {
  const where = [found.open, found.read, found.verify, ignored, undetected];
  return [subject.replaceAll(",", ";"), kind, region, damage, count, ...where].join(",");
}
