/** `flashwick profile`: what this machine and a device of it can do. */
import { formatBytes, KiB } from "@flashwick/core";
import type { DeviceProfile, KernelRate } from "@flashwick/cost-model";
import { keepProfile, measureProfile } from "@flashwick/runtime/node";
import type { Command } from "commander";
import { readMachine } from "../bench/machine.js";
import { frameCommand, withReport } from "../command-frame.js";
import type { Invocation } from "../invocation.js";
import { integer } from "../option-values.js";
import { checkOutput, writeOutput } from "../output-file.js";
import type { CommonFlags, Report } from "../report.js";
import { figure, table, wholePercent } from "../table.js";

interface ProfileFlags extends CommonFlags {
  readonly dir: string;
  readonly output?: string;
  readonly quick?: boolean;
  readonly threads?: number;
  readonly force?: boolean;
}

export function profileCommand(invocation: Invocation): Command {
  return frameCommand({
    name: "profile",
    summary: "Measure flash, memory and kernels, for predictions; runs on the same device then use what was measured.",
    example: "flashwick profile --dir /models -o device.json",
  })
    .option(
      "--dir <path>",
      "folder on the device that models will lie on (a file of 1 GiB is made there and removed), or a large file",
      ".",
    )
    .option("-o, --output <device.json>", "also write the profile here (default: it is only kept for this machine)")
    .option("--quick", "ten seconds: fewer sizes, depths and repetitions (default: half a minute)")
    .option("--threads <n>", "compute threads, beside one (default: one a core)", integer(1))
    .option("--force", "replace an existing output file (default: off)")
    .action(async (flags: ProfileFlags) => {
      invocation.exitStatus = await withReport(invocation.terminal, flags, (report) => profile(flags, report));
    });
}

async function profile(flags: ProfileFlags, report: Report): Promise<undefined> {
  checkOutput(flags.output, flags.force);
  const { onProgress, terminal } = report;
  const measured = await measureProfile({
    path: flags.dir,
    quick: flags.quick ?? false,
    onProgress,
    signal: terminal.signal,
    ...(flags.threads === undefined ? {} : { threads: flags.threads }),
  });
  const document = { ...measured, measuredAt: new Date().toISOString(), machine: readMachine() };
  if (flags.output !== undefined) await writeOutput(flags.output, `${JSON.stringify(document, null, 2)}\n`);
  const kept = keepProfile(flags.dir, measured, new Date());
  report.note(kept === null ? "note: the profile could not be kept for later runs" : `kept for later runs: ${kept}`);
  report.result(document, () => profileText(measured));
  return undefined;
}

function profileText({ name, source, flash, kernels, dramBytesPerSec, handOffUs }: DeviceProfile): string {
  const sizes = [...new Set(flash.reads.map(({ sizeBytes }) => sizeBytes))].sort((a, b) => a - b);
  const depths = [...new Set(flash.reads.map(({ depth }) => depth))].sort((a, b) => a - b);
  const cell = (depth: number, sizeBytes: number) => {
    const point = flash.reads.find((read) => read.depth === depth && read.sizeBytes === sizeBytes);
    return point
      ? `${figure(point.bytesPerSec / 1e6)}${point.spread === null ? "" : ` ±${wholePercent(point.spread / 2)}`}`
      : "-";
  };
  const widest = Math.max(...kernels.map(({ workingSetBytes }) => workingSetBytes));
  const rows = kernels.filter(({ workingSetBytes }) => workingSetBytes === widest);
  return [
    `${name}: ${source}`,
    "",
    `flash: ${flash.mode} reads, aligned to ${flash.alignmentBytes} bytes; in sequence ${figure(flash.sequentialBytesPerSec / 1e6)} MB/s; MB/s at random by read size and reads in flight:`,
    table([
      ["in flight", ...sizes.map((size) => `${size / KiB} KiB`)],
      ...depths.map((depth) => [depth, ...sizes.map((size) => cell(depth, size))]),
    ]),
    "",
    `DRAM ${figure(dramBytesPerSec / 1e9)} GB/s; hand-off between threads ${figure(handOffUs)} us; kernels over ${formatBytes(widest)}:`,
    table([["op", "dtype", "threads", "GB/s", "of DRAM"], ...rows.map((rate) => kernelRow(rate, dramBytesPerSec))]),
  ].join("\n");
}

function kernelRow({ op, dtype, threads, bytesPerSec }: KernelRate, dramBytesPerSec: number): (string | number)[] {
  return [op, dtype ?? "-", threads, (bytesPerSec / 1e9).toFixed(1), wholePercent(bytesPerSec / dramBytesPerSec)];
}
