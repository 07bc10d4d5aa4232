/** The long run: every harness in turn, in threads that are watched; totals go into the table of results. */
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { isMainThread } from "node:worker_threads";
import { BlockCoverage } from "./block-coverage.js";
import { distil } from "./distilled-corpus.js";
import { runWorker } from "./fuzz-worker.js";
import type { Harness } from "./harness.js";
import { HARNESSES } from "./harnesses.js";
import { CORPUS, readInputs, writeInputs } from "./kept-inputs.js";
import { ROOT } from "./repository-files.js";
import { added, type HarnessTotals, readTotals, writeTotals } from "./results-table.js";
import { superviseCampaign } from "./supervised-campaign.js";

const USAGE = `node tools/fuzz/fuzz.mjs [--harness a,b] [--inputs n] [--minutes m] [--turn seconds] [--seed s] [--table file] [--work folder]

  --harness  Which, separated by commas. Default: all
  --inputs   Up to how many inputs each harness is to come in all, with those that the table has already. Default 20000
  --minutes  Ends after so long; the next run goes on from there. Default: no limit
  --turn     Seconds of a harness before the next one has its turn. Default 20. A machine with other work to do needs more: each turn begins guided
  --seed     Default 1
  --table    Default docs/results/fuzzing.csv; "none": nothing is added up
  --distil   Reads nothing new: keeps in tools/fuzz/corpus what of the found inputs reaches something that the seeds do not
  --work     Where found inputs and faults are kept. Default: flashwick-fuzz in the system's folder for temporary files
`;

/** Inputs of one turn: what a run that is ended loses at most. */
const TURN_INPUTS = 100_000;

interface Settings {
  readonly inputs: number;
  readonly seed: number;
  readonly untilMs: number;
  /** Of a harness that takes a millisecond for each: the same share of a run as the others. */
  readonly turnMs: number;
  readonly table: string | null;
  readonly work: string;
}

const { values } = parseArgs({
  options: {
    harness: { type: "string" },
    inputs: { type: "string", default: "20000" },
    minutes: { type: "string" },
    turn: { type: "string", default: "20" },
    seed: { type: "string", default: "1" },
    table: { type: "string", default: join(ROOT, "docs/results/fuzzing.csv") },
    work: { type: "string", default: join(tmpdir(), "flashwick-fuzz") },
    distil: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

async function main(): Promise<void> {
  if (values.help) return void process.stdout.write(USAGE);
  if (values.distil) return await keepDistilled();
  const settings: Settings = {
    inputs: Number(values.inputs),
    seed: Number(values.seed),
    untilMs: values.minutes === undefined ? Number.MAX_SAFE_INTEGER : Date.now() + 60_000 * Number(values.minutes),
    turnMs: 1000 * Number(values.turn),
    table: values.table === "none" ? null : values.table,
    work: values.work,
  };
  const names = values.harness?.split(",") ?? HARNESSES.map(({ name }) => name);
  const table = settings.table === null ? new Map<string, HarnessTotals>() : readTotals(settings.table);
  const inputsOf = (name: string) => table.get(name)?.inputs ?? 0;
  let left = names;
  while (left.length > 0 && Date.now() < settings.untilMs) {
    // The one that is furthest behind comes first: a run that ends early leaves none out for ever.
    for (const name of left.toSorted((a, b) => inputsOf(a) - inputsOf(b))) await takeTurn(name, table, settings);
    left = settings.table === null ? [] : left.filter((name) => inputsOf(name) < settings.inputs);
  }
  const faults = [...table.values()].reduce((sum, totals) => sum + totals.faults, 0);
  const inputs = [...table.values()].reduce((sum, totals) => sum + totals.inputs, 0);
  process.stdout.write(`${inputs} inputs, ${faults} faults\n`);
  if (faults > 0) process.exitCode = 1;
}

async function keepDistilled(): Promise<void> {
  for (const name of values.harness?.split(",") ?? HARNESSES.map((one) => one.name)) {
    const found = [...readInputs(join(values.work, "found"), name).values()];
    const coverage = new BlockCoverage(import.meta.url);
    const kept = await distil(harnessOf(name), found, coverage);
    coverage.stop();
    writeInputs(CORPUS, name, kept);
    process.stdout.write(`${name}: ${kept.length} of ${found.length} inputs kept\n`);
  }
}

function harnessOf(name: string): Harness {
  const harness = HARNESSES.find((one) => one.name === name);
  if (harness) return harness;
  throw new Error(`unknown harness ${name}, expected one of ${HARNESSES.map((one) => one.name).join(", ")}`);
}

async function takeTurn(name: string, table: Map<string, HarnessTotals>, settings: Settings): Promise<void> {
  const harness = harnessOf(name);
  const done = table.get(name)?.inputs ?? 0;
  const inputs = Math.min(TURN_INPUTS, settings.inputs - done);
  if (inputs <= 0 || Date.now() >= settings.untilMs) return;
  const found = join(settings.work, "found");
  const kept = [...readInputs(CORPUS, name).values(), ...readInputs(found, name).values()];
  const untilMs = Math.min(settings.untilMs, Date.now() + settings.turnMs);
  // Other inputs each turn, and the same ones if it is run again from the same table.
  const result = await superviseCampaign(harness, { seed: settings.seed + done, inputs, kept, untilMs });
  writeInputs(found, name, result.found);
  table.set(name, added(table.get(name), result));
  if (settings.table !== null) writeTotals(settings.table, table);
  const rate = Math.round(result.inputs / result.seconds);
  process.stdout.write(
    `${name}: ${result.inputs} inputs, ${rate}/s, longest ${result.longestMs.toFixed(1)} ms, ${result.found.length} new\n`,
  );
  for (const { what, input, count } of result.faults) {
    const [path] = writeInputs(join(settings.work, "faults"), name, [input]);
    process.stdout.write(`  FAULT, ${count} times: ${what.slice(0, 1200)}\n  input: ${path}\n`);
  }
}

await (isMainThread ? main() : runWorker());
