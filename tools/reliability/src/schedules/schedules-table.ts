/** docs/results/schedules.csv: what all schedules so far have come to, by model. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { ScheduleResult } from "./run-schedule.js";

/** What schedules of one model have come to. */
export interface ModelTotals {
  readonly schedules: number;
  readonly logits: number;
  readonly tokens: number;
  readonly cancels: number;
  readonly faults: number;
}

/** Totals by model, of all seeds from 0 to `seeds` − 1. */
export interface SchedulesTable {
  readonly seeds: number;
  readonly models: ReadonlyMap<string, ModelTotals>;
}

const HEAD = "model,seeds,schedules,logit_vectors,text_tokens,cancels,faults,node";

/** The table of a file; an empty one where there is none. */
export function readSchedules(path: string): SchedulesTable {
  if (!existsSync(path)) return { seeds: 0, models: new Map() };
  const models = new Map<string, ModelTotals>();
  let seeds = 0;
  for (const line of readFileSync(path, "utf8").trim().split("\n").slice(1)) {
    const [model, range, ...counts] = line.split(",");
    const [schedules, logits, tokens, cancels, faults] = counts.map(Number);
    seeds = Number(range!.split("-")[1]) + 1;
    models.set(model!, { schedules: schedules!, logits: logits!, tokens: tokens!, cancels: cancels!, faults: faults! });
  }
  return { seeds, models };
}

/** The table with the results of the next seeds. @throws {Error} if they are not the next ones. */
export function withResults(table: SchedulesTable, results: readonly ScheduleResult[]): SchedulesTable {
  const models = new Map(table.models);
  let { seeds } = table;
  for (const { plan, logits, tokens, cancels, faults } of results) {
    if (plan.seed !== seeds++) throw new Error(`seed ${plan.seed} does not follow the table's ${seeds - 2}`);
    const before = models.get(plan.model.name) ?? { schedules: 0, logits: 0, tokens: 0, cancels: 0, faults: 0 };
    models.set(plan.model.name, {
      schedules: before.schedules + 1,
      logits: before.logits + logits,
      tokens: before.tokens + tokens,
      cancels: before.cancels + cancels,
      faults: before.faults + faults.length,
    });
  }
  return { seeds, models };
}

/** Writes the table, models by name. */
export function writeSchedules(path: string, { seeds, models }: SchedulesTable, node: string): void {
  const rows = [...models]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([model, totals]) => {
      const { schedules, logits, tokens, cancels, faults } = totals;
      return [model, `0-${seeds - 1}`, schedules, logits, tokens, cancels, faults, node].join(",");
    });
  writeFileSync(path, `${[HEAD, ...rows].join("\n")}\n`);
}
