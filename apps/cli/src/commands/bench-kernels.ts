/** `flashwick bench kernels`: the matrix-vector product of each dtype beside a loop that only reads the weights. */
import { availableParallelism } from "node:os";
import { type KernelRow, measureHandOffUs, measureKernels } from "@flashwick/kernels-wasm/node";
import type { Command } from "commander";
import { readMachine } from "../bench/machine.js";
import { frameCommand, withReport } from "../command-frame.js";
import type { Invocation } from "../invocation.js";
import { integer } from "../option-values.js";
import type { CommonFlags, Report } from "../report.js";
import { table, wholePercent } from "../table.js";

interface KernelsFlags extends CommonFlags {
  readonly threads?: number;
  readonly mib: number;
}

export function benchKernelsCommand(invocation: Invocation): Command {
  return frameCommand({
    name: "kernels",
    summary: "Kernels on one thread and on several, after every conformance case: GB/s and share of a read loop's.",
    example: "flashwick bench kernels --threads 4",
  })
    .option("--threads <n>", "compute threads, beside one (default: one a core)", integer(1))
    .option("--mib <n>", "MiB of weights a pass; less than the last cache holds measures the cache", integer(1), 192)
    .action(async (_, command: Command) => {
      const flags = command.optsWithGlobals<KernelsFlags>();
      invocation.exitStatus = await withReport(invocation.terminal, flags, (report) => benchKernels(flags, report));
    });
}

async function benchKernels(flags: KernelsFlags, report: Report): Promise<undefined> {
  const { signal } = report.terminal;
  const threads = flags.threads ?? availableParallelism();
  const rows = await measureKernels({
    threads,
    weightMiB: flags.mib,
    signal,
    onRow: (row) => report.note(rowText(row)),
  });
  signal.throwIfAborted();
  // One thread hands nothing over.
  const handOffUs = threads === 1 ? null : await measureHandOffUs(threads);
  report.result({ machine: readMachine(), rows, handOffUs }, () => kernelsText(rows, threads, handOffUs));
  return undefined;
}

function rowText({ kernel, dtype, threads, gbPerSec, share }: KernelRow): string {
  const beside = dtype === null ? "" : `, ${wholePercent(share)} of the read loop`;
  return `${kernel}${dtype ? ` ${dtype}` : ""} x ${threads}: ${gbPerSec.toFixed(1)} GB/s${beside}`;
}

function kernelsText(rows: readonly KernelRow[], threads: number, handOffUs: number | null): string {
  const cells = rows.map((row) => [
    row.kernel,
    row.dtype ?? "-",
    row.shape,
    row.threads,
    row.ms.toFixed(3),
    row.gbPerSec.toFixed(1),
    row.ceilingGbPerSec.toFixed(1),
    row.dtype === null ? "-" : wholePercent(row.share),
  ]);
  const head = ["kernel", "dtype", "shape", "threads", "ms", "GB/s", "read loop GB/s", "share"];
  const handOff = handOffUs === null ? "" : `\nhand-off to ${threads - 1} more and back: ${handOffUs.toFixed(2)} us`;
  return `${table([head, ...cells])}${handOff}`;
}
