/** docs/results/faults.csv: a row for each model, device and kind of fault. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { FaultTotals } from "./engine-faults.js";

const HEAD = "model,device,fault,operations,struck,right,typed_errors,codes,not_promised,faults";

/** What was struck of a model on a device by one kind of fault. */
export interface FaultRow {
  readonly model: string;
  readonly device: string;
  readonly kind: string;
  /** Of a run in which nothing goes wrong. */
  readonly operations: number;
  readonly totals: FaultTotals;
}

/** Replaces the rows of the same model, device and kind, and keeps the others. */
export function writeRows(path: string, rows: readonly FaultRow[]): void {
  const lines = existsSync(path) ? readFileSync(path, "utf8").trim().split("\n").slice(1) : [];
  const byKey = new Map(lines.map((line) => [line.split(",").slice(0, 3).join(","), line]));
  for (const row of rows) byKey.set([row.model, row.device, row.kind].join(","), lineOf(row));
  const sorted = [...byKey].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, line]) => line);
  writeFileSync(path, `${[HEAD, ...sorted].join("\n")}\n`);
}

function lineOf({ model, device, kind, operations, totals: { struck, outcomes, faults } }: FaultRow): string {
  const right = outcomes.get("right") ?? 0;
  const believed = outcomes.get("wrong logits") ?? 0;
  const codes = [...outcomes].filter(([outcome]) => /^[A-Z_]+$/.test(outcome));
  const typed = codes.reduce((sum, [, count]) => sum + count, 0);
  const shown = codes.map(([code, count]) => `${code} ${count}`).join(" ");
  return [
    model,
    device,
    kind,
    operations,
    struck,
    right,
    typed,
    shown,
    faults.length > 0 ? 0 : believed,
    faults.length,
  ].join(",");
}
