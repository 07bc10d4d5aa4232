/** `flashwick bench memory`: any command in a memory control group, and what it took over time. */
import { formatBytes, InputError } from "@flashwick/core";
import type { Command } from "commander";
import { memoryGroupsMissing, runInMemoryGroup } from "../bench/memory-group.js";
import { frameCommand, withReport } from "../command-frame.js";
import type { Invocation } from "../invocation.js";
import { plainBytes } from "../option-values.js";
import { checkOutput, writeOutput } from "../output-file.js";
import type { CommonFlags, Report } from "../report.js";
import { table } from "../table.js";

interface MemoryFlags extends CommonFlags {
  readonly limit: number;
  readonly csv?: string;
  readonly force?: boolean;
}

export function benchMemoryCommand(invocation: Invocation): Command {
  return frameCommand({
    name: "memory",
    summary: "Run a command in a memory control group, page cache included, and watch what it takes.",
    example: "flashwick bench memory --limit 7GiB --csv usage.csv -- flashwick run opt-6.7b.gguf --prompt Once",
  })
    .argument("<command...>", "command and its arguments, after --")
    .requiredOption("--limit <size>", "memory of the group: bytes, KiB, MiB or GiB (no default)", plainBytes)
    .option("--csv <file>", "write usage, resident size and swap over time (default: not written)")
    .option("--force", "replace an existing file (default: off)")
    .action(async (words: readonly string[], _, command: Command) => {
      const flags = command.optsWithGlobals<MemoryFlags>();
      invocation.exitStatus = await withReport(invocation.terminal, flags, (report) => run(words, flags, report));
    });
}

async function run([command, ...args]: readonly string[], flags: MemoryFlags, report: Report): Promise<number> {
  const missing = memoryGroupsMissing();
  if (missing !== null) throw new InputError("INPUT_INVALID", `bench memory needs memory control groups: ${missing}`);
  checkOutput(flags.csv, flags.force);
  const limitBytes = flags.limit;
  const { samples, ...rest } = await runInMemoryGroup({ limitBytes, command: command!, args });
  const { stdout, stderr, ...group } = rest;
  report.note(`${stderr}${stdout}`.trimEnd());
  if (flags.csv !== undefined) {
    const rows = samples.map(
      (sample) => `${sample.ms},${sample.usageBytes},${sample.residentBytes},${sample.swapBytes}`,
    );
    await writeOutput(flags.csv, `${["ms,usage_bytes,resident_bytes,swap_bytes", ...rows].join("\n")}\n`);
  }
  const peakResidentBytes = Math.max(0, ...samples.map(({ residentBytes }) => residentBytes));
  const peakSwapBytes = Math.max(0, ...samples.map(({ swapBytes }) => swapBytes));
  const document = { limitBytes, ...group, peakResidentBytes, peakSwapBytes };
  report.result(document, () =>
    table([
      ["limit", formatBytes(limitBytes)],
      [
        "peak",
        `${formatBytes(group.peakBytes)}, resident ${formatBytes(peakResidentBytes)}, swapped ${formatBytes(peakSwapBytes)}`,
      ],
      ["ended", group.killed > 0 ? `killed by the kernel for memory (${group.killed})` : `status ${group.status}`],
    ]),
  );
  return group.status === 0 && group.killed === 0 ? 0 : 1;
}
