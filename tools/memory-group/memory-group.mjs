// @ts-check
/**
 * Runs a command in a memory control group and prints what it took:
 *
 *     node tools/memory-group/memory-group.mjs <limit in MiB> [--csv <file>] -- <command> [arguments…]
 *
 * The command's own output goes to standard error; one JSON document to standard output. `--csv` writes usage and resident
 * size over time.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { runInMemoryGroup } from "./src/memory-group.mjs";

const split = process.argv.indexOf("--");
const { positionals, values } = parseArgs({
  args: process.argv.slice(2, split < 0 ? undefined : split),
  options: { csv: { type: "string" } },
  allowPositionals: true,
});
const limitMiB = Number(positionals[0]);
const [command, ...args] = split < 0 ? [] : process.argv.slice(split + 1);
if (!(limitMiB > 0) || command === undefined) {
  console.error("usage: memory-group.mjs <limit in MiB> [--csv <file>] -- <command> [arguments…]");
  process.exit(2);
}
const { samples, stdout, stderr, ...run } = await runInMemoryGroup({ limitBytes: limitMiB * 2 ** 20, command, args });
process.stderr.write(stderr + stdout);
if (values.csv) {
  const rows = samples.map((sample) => `${sample.ms},${sample.usageBytes},${sample.residentBytes},${sample.swapBytes}`);
  writeFileSync(values.csv, `${["ms,usage_bytes,resident_bytes,swap_bytes", ...rows].join("\n")}\n`);
}
const peakResidentBytes = Math.max(0, ...samples.map(({ residentBytes }) => residentBytes));
const peakSwapBytes = Math.max(0, ...samples.map(({ swapBytes }) => swapBytes));
console.log(JSON.stringify({ limitBytes: limitMiB * 2 ** 20, ...run, peakResidentBytes, peakSwapBytes }));
process.exitCode = run.status === 0 && run.killed === 0 ? 0 : 1;
