/** The long run: every operation of every model and device, struck by every kind of fault. */
import { parseArgs } from "node:util";
import { DEVICES, KINDS, strikeEach } from "./engine-faults.js";
import { type FaultRow, writeRows } from "./faults-table.js";
import { TINY_MODELS } from "./tiny-models.js";

const USAGE = `node tools/reliability/faults.mjs [--model a,b] [--device a,b] [--fault a,b] [--step n] [--seed s] [--table file]

  --model   Of ${[...TINY_MODELS.keys()].join(", ")}. Default: all
  --device  Of ${DEVICES.join(", ")}. Default: all
  --fault   Of ${KINDS.join(", ")}. Default: all
  --step    Every n-th operation. Default 1
  --seed    Default 1
  --table   Default docs/results/faults.csv; "none": nothing is written
`;

const { values } = parseArgs({
  options: {
    model: { type: "string" },
    device: { type: "string" },
    fault: { type: "string" },
    step: { type: "string", default: "1" },
    seed: { type: "string", default: "1" },
    table: { type: "string", default: "docs/results/faults.csv" },
    help: { type: "boolean", default: false },
  },
});

function chosen<T extends string>(all: readonly T[], wanted: string | undefined): readonly T[] {
  const unknown = wanted?.split(",").find((name) => !all.includes(name as T));
  if (unknown !== undefined) throw new Error(`unknown: ${unknown}, expected some of ${all.join(", ")}`);
  return (wanted?.split(",") as T[] | undefined) ?? all;
}

async function main(): Promise<void> {
  if (values.help) return void process.stdout.write(USAGE);
  let faulty = 0;
  for (const name of chosen([...TINY_MODELS.keys()], values.model)) {
    const model = await TINY_MODELS.get(name)!();
    for (const device of chosen(DEVICES, values.device)) {
      for (const kind of chosen(KINDS, values.fault)) {
        const totals = await strikeEach(model, device, kind, {
          from: 1,
          step: Number(values.step),
          seed: Number(values.seed),
        });
        const row: FaultRow = { model: name, device, kind, operations: totals.operations, totals };
        if (values.table !== "none") writeRows(values.table, [row]);
        process.stdout.write(`${name}, ${device}, ${kind}: ${totals.struck} struck, ${totals.faults.length} faults\n`);
        for (const fault of totals.faults) process.stdout.write(`  FAULT ${fault}\n`);
        faulty += totals.faults.length;
      }
    }
  }
  if (faulty > 0) process.exitCode = 1;
}

await main();
