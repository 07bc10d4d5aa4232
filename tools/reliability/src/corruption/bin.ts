/** The long run: every kind of file, every kind of damage. */
import { parseArgs } from "node:util";
import { damageSubject } from "./campaign.js";
import { writeTallies } from "./corruption-table.js";
import type { Tally } from "./damage.js";
import { SUBJECTS } from "./subjects.js";

const USAGE = `node tools/reliability/corruption.mjs [--file a,b] [--flips n] [--seed s] [--table file]

  --file   Of ${[...SUBJECTS.keys()].join(", ")}. Default: all
  --flips  Random places of each file, beside each byte of its header. Default 10000
  --seed   Default 1
  --table  Default docs/results/corruption.csv; "none": nothing is written
`;

const { values } = parseArgs({
  options: {
    file: { type: "string" },
    flips: { type: "string", default: "10000" },
    seed: { type: "string", default: "1" },
    table: { type: "string", default: "docs/results/corruption.csv" },
    help: { type: "boolean", default: false },
  },
});

async function main(): Promise<void> {
  if (values.help) return void process.stdout.write(USAGE);
  const names = values.file?.split(",") ?? [...SUBJECTS.keys()];
  const all: Tally[] = [];
  for (const name of names) {
    const make = SUBJECTS.get(name);
    if (!make) throw new Error(`unknown file ${name}, expected some of ${[...SUBJECTS.keys()].join(", ")}`);
    const begin = performance.now();
    const size = { seed: Number(values.seed), flips: Number(values.flips) };
    const tallies = await damageSubject(await make(), {
      ...size,
      wholeBytes: 2 ** 20,
      cuts: 3000,
      exchanges: 3000,
      outputs: 100,
      uses: 200,
    });
    all.push(...tallies);
    const seconds = (performance.now() - begin) / 1000;
    const sum = (of: (tally: Tally) => number) => tallies.reduce((total, tally) => total + of(tally), 0);
    process.stdout.write(
      `${name}: ${sum(({ count }) => count)} in ${seconds.toFixed(1)} s, ${sum(({ undetected }) => undetected)} undetected\n`,
    );
    for (const { faults } of tallies)
      for (const fault of faults.slice(0, 5)) process.stdout.write(`  FAULT ${fault}\n`);
    if (values.table !== "none") writeTallies(values.table, tallies);
  }
  const flips = all.filter(({ damage }) => damage === "flip").reduce((total, { count }) => total + count, 0);
  const undetected = all.reduce((total, tally) => total + tally.undetected, 0);
  process.stdout.write(`${flips} flips, ${undetected} pieces of damage undetected\n`);
  if (undetected > 0) process.exitCode = 1;
}

await main();
