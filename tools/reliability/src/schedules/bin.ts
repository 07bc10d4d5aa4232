/** Many schedules, one seed after another; what differs is printed with its seed. */
import { parseArgs } from "node:util";
import { runSchedule, type ScheduleResult } from "./run-schedule.js";
import { readSchedules, withResults, writeSchedules } from "./schedules-table.js";

const USAGE = `node tools/reliability/schedules.mjs [--from seed] [--count n] [--minutes m] [--table file]

  --from     The first seed. Default: the one after the table's last
  --count    Schedules. Default 1000
  --minutes  Ends after so long, with whatever was done. Default: no limit
  --table    Default docs/results/schedules.csv, to which the run adds; "none": nothing is added up
  --verbose  Says what each seed means
`;

const { values } = parseArgs({
  options: {
    from: { type: "string" },
    count: { type: "string", default: "1000" },
    minutes: { type: "string" },
    table: { type: "string", default: "docs/results/schedules.csv" },
    verbose: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

async function main(): Promise<void> {
  if (values.help) return void process.stdout.write(USAGE);
  const path = values.table === "none" ? null : values.table;
  const table = path === null ? null : readSchedules(path);
  const from = values.from === undefined ? (table?.seeds ?? 0) : Number(values.from);
  const untilMs =
    values.minutes === undefined ? Number.POSITIVE_INFINITY : Date.now() + 60_000 * Number(values.minutes);
  const results: ScheduleResult[] = [];
  for (let seed = from; seed < from + Number(values.count) && Date.now() < untilMs; seed++) {
    const result = await runSchedule(seed);
    results.push(result);
    tell(result);
  }
  const sum = (of: (result: ScheduleResult) => number) => results.reduce((total, result) => total + of(result), 0);
  const faults = sum((result) => result.faults.length);
  process.stdout.write(
    `${results.length} schedules from seed ${from}: ${sum(({ logits }) => logits)} vectors of logits and ` +
      `${sum(({ tokens }) => tokens)} tokens of texts compared, ${sum(({ cancels }) => cancels)} requests cancelled, ${faults} faults\n`,
  );
  if (path !== null && table !== null) writeSchedules(path, withResults(table, results), process.version);
  if (faults > 0) process.exitCode = 1;
}

function tell({ plan, faults, digest, logits, tokens }: ScheduleResult): void {
  if (!values.verbose && faults.length === 0) return;
  const { model, ...rest } = plan;
  process.stdout.write(`${JSON.stringify({ model: model.name, ...rest, logits, tokens, digest })}\n`);
  for (const fault of faults) process.stdout.write(`  FAULT: ${fault}\n`);
}

await main();
