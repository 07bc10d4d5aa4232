/** The long soak of the engine; its figures go into the table of results. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { soak } from "./soak.js";
import { makeSoakModels, type SoakCast } from "./soak-models.js";
import { soakTable } from "./soak-table.js";
import { faultsOf, figuresOf } from "./verdict.js";

const USAGE = `node tools/reliability/soak.mjs [--tokens n] [--minutes m] [--seed s] [--models all|tiny] [--stories n] [--round n] [--table file]

  --tokens   In all. Default 100000
  --minutes  Ends after so long, with fewer tokens. Default: no limit
  --seed     Default 1
  --models   all: opt-demo, olmoe-demo and two tiny ones; tiny: the latter alone. Default all
  --stories  Of each model. Default 12
  --round    Tokens of a model's round, of which a lap has four. Default 300
  --table    Default docs/results/soak.csv; "none": nothing is written
`;

const { values } = parseArgs({
  options: {
    tokens: { type: "string", default: "100000" },
    minutes: { type: "string" },
    seed: { type: "string", default: "1" },
    models: { type: "string", default: "all" },
    stories: { type: "string", default: "12" },
    round: { type: "string", default: "300" },
    table: { type: "string" },
    help: { type: "boolean", default: false },
  },
});

async function main(): Promise<void> {
  // On the disk of the sources: a temporary folder may be memory, where nothing can be read directly.
  const root = findRoot(dirname(fileURLToPath(import.meta.url)));
  const cache = join(root, "node_modules/.cache");
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, "soak-"));
  try {
    const models = await makeSoakModels(folder, values.models as SoakCast);
    const untilMs = values.minutes === undefined ? Number.POSITIVE_INFINITY : 60_000 * Number(values.minutes);
    const result = await soak({
      models,
      isOver: () => performance.now() >= untilMs,
      ...{ tokens: Number(values.tokens), seed: Number(values.seed), stories: Number(values.stories) },
      roundTokens: Number(values.round),
      onTold: (model, tokens, seconds) =>
        process.stderr.write(`${model}: ${tokens} tokens told alone in ${seconds.toFixed(1)} s\n`),
      onLap: ({ tokens, loadedBytes, closedBytes, counts }) =>
        process.stderr.write(
          `${tokens} tokens, ${mib(loadedBytes)} MiB loaded, ${mib(closedBytes)} closed, ${JSON.stringify(counts)}\n`,
        ),
    });
    const figures = figuresOf(
      result,
      models.map(({ name }) => name),
    );
    for (const { figure, value, unit } of figures) process.stdout.write(`${figure}: ${value} ${unit}\n`);
    const faults = faultsOf(result);
    for (const fault of faults) process.stdout.write(`FAULT ${fault}\n`);
    const table = values.table ?? join(root, "docs/results/soak.csv");
    const machine = `${cpus()[0]!.model.trim()} x${cpus().length}`;
    if (table !== "none") writeFileSync(table, soakTable(figures, process.version, machine));
    if (faults.length > 0) process.exitCode = 1;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function mib(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1);
}

function findRoot(folder: string): string {
  return existsSync(join(folder, "pnpm-workspace.yaml")) ? folder : findRoot(dirname(folder));
}

if (values.help) process.stdout.write(USAGE);
else await main();
