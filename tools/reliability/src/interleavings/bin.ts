/** The long searches: one row each in the table of results. */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { computeExploration, LONG_COMPUTE, SHORT_COMPUTE } from "./compute-threads.js";
import { type Exploration, explore } from "./explore.js";
import { LONG_READERS, readerExploration, SHORT_READERS } from "./reader-threads.js";
import { explorePages } from "./sequence-pages.js";

const USAGE = `node tools/reliability/interleavings.mjs [--states n] [--depth n] [--table file]

  --states  Searches with more states end unfinished. Default 3000000
  --depth   Operations on sequences that share pages. Default 9
  --table   Default docs/results/interleavings.csv; "none": nothing is written
`;

const { values } = parseArgs({
  options: {
    states: { type: "string", default: "3000000" },
    depth: { type: "string", default: "9" },
    table: { type: "string", default: "docs/results/interleavings.csv" },
    help: { type: "boolean", default: false },
  },
});

const rows = ["protocol,setting,states,searched,fault,node"];

function search(protocol: string, setting: string, exploration: Exploration): void {
  let [states, searched, fault] = [Number(values.states), "part", "none"];
  try {
    const found = explore({ ...exploration, mostStates: states });
    [states, searched, fault] = [found.states, "all", found.fault?.split("\n")[0] ?? "none"];
  } catch (error) {
    if (!/^more than \d+ states$/.test((error as Error).message)) throw error;
  }
  tell([protocol, setting, states, searched, fault]);
}

function tell(row: readonly (string | number)[]): void {
  const line = [...row.map((cell) => String(cell).replaceAll(",", ";")), process.version].join(",");
  process.stdout.write(`${line}\n`);
  rows.push(line);
}

async function main(): Promise<void> {
  if (values.help) return void process.stdout.write(USAGE);
  for (const setting of [...SHORT_COMPUTE, ...LONG_COMPUTE]) {
    search(
      "compute threads",
      `${setting.workers} workers; ops of ${setting.ops.join(" ")}`,
      computeExploration(setting),
    );
  }
  for (const setting of [...SHORT_READERS, ...LONG_READERS]) {
    search("reader threads", setting.name, readerExploration(setting));
  }
  const { states, fault } = await explorePages(Number(values.depth));
  tell(["pages of sequences", `${values.depth} operations`, states, "all", fault ?? "none"]);
  if (values.table !== "none") writeFileSync(values.table, `${rows.join("\n")}\n`);
  if (rows.slice(1).some((row) => row.split(",")[4] !== "none")) process.exitCode = 1;
}

await main();
