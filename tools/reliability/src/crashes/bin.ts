/** The long run: every command that writes, killed and failed at each of its file operations; counts go into the table of results. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runCase } from "./case-run.js";
import { makeInputs } from "./crash-inputs.js";
import { ROOT } from "./program-run.js";
import { readTable, sum, writeTable } from "./results-table.js";
import { SCENARIOS } from "./scenarios.js";

const USAGE = `node tools/reliability/crashes.mjs [--command a,b] [--output new|old] [--from n] [--count n] [--stride n] [--random n] [--races n]
  [--only kills|errors|races] [--seed s] [--jobs n] [--table file]

  --command  Which, separated by commas; --list names them. Default: all
  --output   On a free name (new), or over an older file (old). Default: both
  --from     The first trial of each command, of those that the same flags plan; 0 (default) begins its row of the table anew, others add to it
  --count    Trials of each command at most. Default: all
  --stride   Only every so many operations. Default 1
  --random   Deaths at a random time, of each command. Default 20
  --races    Pairs of writers at once, of each command. Default 20
  --only     Nothing but kills, failures of the disk, or races. Default: all three
  --seed     Of random times. Default 1
  --jobs     Trials at once. Default 2
  --table    Default docs/results/crashes.csv; "none": nothing is written

It runs the built command line: build first.
`;

const { values } = parseArgs({
  options: {
    command: { type: "string" },
    output: { type: "string" },
    from: { type: "string", default: "0" },
    count: { type: "string" },
    stride: { type: "string", default: "1" },
    random: { type: "string", default: "20" },
    races: { type: "string", default: "20" },
    only: { type: "string" },
    seed: { type: "string", default: "1" },
    jobs: { type: "string", default: "2" },
    table: { type: "string", default: join(ROOT, "docs/results/crashes.csv") },
    list: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

async function main(): Promise<void> {
  if (values.help) return void process.stdout.write(USAGE);
  if (values.list) return void process.stdout.write(`${SCENARIOS.map(({ name }) => name).join("\n")}\n`);
  const names = values.command?.split(",") ?? SCENARIOS.map(({ name }) => name);
  const wanted = names.map((name) => {
    const scenario = SCENARIOS.find((one) => one.name === name);
    if (!scenario) throw new Error(`unknown command ${name}; --list names them`);
    return scenario;
  });
  const folder = mkdtempSync(join(tmpdir(), "flashwick-crashes-"));
  mkdirSync(join(folder, "inputs"));
  const inputs = await makeInputs(join(folder, "inputs"));
  const isWanted = (what: string) => values.only === undefined || values.only === what;
  const wish = {
    ...{ kills: isWanted("kills"), errors: isWanted("errors"), random: isWanted("kills") ? Number(values.random) : 0 },
    ...{
      races: isWanted("races") ? Number(values.races) : 0,
      seed: Number(values.seed),
      stride: Number(values.stride),
    },
    ...{ from: Number(values.from), count: Number(values.count ?? Number.MAX_SAFE_INTEGER), jobs: Number(values.jobs) },
  };
  let total = { kills: 0, faults: 0 };
  try {
    for (const scenario of wanted) {
      for (const output of ["new", "old"] as const) {
        if ((values.output ?? output) !== output || (output === "old" && scenario.force === null)) continue;
        const startMs = performance.now();
        const subject = { scenario, replaces: output === "old" };
        const { totals, planned, faults } = await runCase(subject, inputs, join(folder, "work"), wish);
        record(`${scenario.name},${output}`, totals, wish.from > 0);
        const seconds = ((performance.now() - startMs) / 1000).toFixed(0);
        process.stdout.write(
          `${scenario.name}, ${output}: ${totals.operations} operations, ${planned} trials; ${totals.kills} kills, ${totals.errorsTold} + ${totals.errorsBorne} errors, ${totals.races} races, ${totals.faults} faults; ${seconds} s\n`,
        );
        for (const fault of faults) process.stdout.write(`  FAULT ${fault.slice(0, 600)}\n`);
        total = { kills: total.kills + totals.kills, faults: total.faults + totals.faults };
      }
    }
  } finally {
    await inputs.hub.close();
    rmSync(folder, { recursive: true, force: true });
  }
  process.stdout.write(`${total.kills} kills, ${total.faults} faults\n`);
  if (total.faults > 0) process.exitCode = 1;
}

function record(name: string, totals: Parameters<typeof sum>[0], adds: boolean): void {
  if (values.table === "none") return;
  const table = readTable(values.table);
  const before = table.get(name);
  table.set(name, adds && before ? sum(before, totals) : totals);
  writeTable(values.table, table);
}

await main();
