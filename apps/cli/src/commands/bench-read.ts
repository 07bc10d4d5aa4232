/** `flashwick bench read`: random reads of a file by our reader, beside fio on the same file in the same minute. */
import { stat } from "node:fs/promises";
import { formatBytes, InputError, KiB } from "@flashwick/core";
import { type BestRow, bestRows, measureReads, type ReadRow } from "@flashwick/flash-io/node";
import type { Command } from "commander";
import { readMachine } from "../bench/machine.js";
import { frameCommand, withReport } from "../command-frame.js";
import type { Invocation } from "../invocation.js";
import { integer, integers, number } from "../option-values.js";
import type { CommonFlags, Report } from "../report.js";
import { table, wholePercent } from "../table.js";

const SIZES_KIB = [4, 8, 16, 32, 64, 128, 256, 512, 1024];
/** Each read in flight lands in a place of its own: {@link MOST_READERS} of these are 2 GiB. */
const MOST_KIB = 8192;
const DEPTHS = [1, 2, 4, 8, 16, 32, 64];
/** What the reader has threads for. */
const MOST_READERS = 256;
const LEAST_SECONDS = 0.01;

interface ReadFlags extends CommonFlags {
  /** KiB. */
  readonly sizes: readonly number[];
  readonly depths: readonly number[];
  readonly seconds: number;
  readonly turns: number;
}

export function benchReadCommand(invocation: Invocation): Command {
  return frameCommand({
    name: "read",
    summary: "Random reads of a file, past the page cache where possible: our reader and fio, in turns. Never writes.",
    example: "flashwick bench read opt-6.7b-f16.gguf --sizes 8,16,32 --depths 8,16,32",
  })
    .argument("<file>", "any file of real bytes; much larger than the caches of its device, or these are measured")
    .option(
      "--sizes <list>",
      "KiB of each read; sizes beyond the file's are left out",
      integers(1, MOST_KIB),
      SIZES_KIB,
    )
    .option(
      "--depths <list>",
      "reads in flight: threads of ours, queue depth of fio",
      integers(1, MOST_READERS),
      DEPTHS,
    )
    .option("--seconds <x>", "of each turn of each side", number(LEAST_SECONDS), 1)
    .option("--turns <n>", "of each side; a row is their mean", integer(1), 2)
    .action(async (path: string, _, command: Command) => {
      const flags = command.optsWithGlobals<ReadFlags>();
      invocation.exitStatus = await withReport(invocation.terminal, flags, (report) => benchRead(path, flags, report));
    });
}

async function benchRead(path: string, flags: ReadFlags, report: Report): Promise<undefined> {
  const sizes = flags.sizes.map((kib) => kib * KiB);
  await checkFits(path, Math.min(...sizes));
  const rows = await measureReads(path, {
    sizes,
    depths: flags.depths,
    secondsEach: flags.seconds,
    turns: flags.turns,
    signal: report.terminal.signal,
    onRow: (row) => report.note(rowText(row)),
  });
  const best = bestRows(rows);
  const { mode } = rows[0]!;
  report.result({ machine: readMachine(), file: path, mode, rows, best }, () => readText(path, rows, best));
  return undefined;
}

/** @throws {InputError} if no read would fit. A file that is not there is for the reader to report. */
async function checkFits(path: string, leastSizeBytes: number): Promise<void> {
  const fileBytes = await stat(path).then(
    ({ size }) => size,
    () => Number.POSITIVE_INFINITY,
  );
  if (fileBytes >= leastSizeBytes) return;
  throw new InputError(
    "INPUT_INVALID",
    `${path}: expected at least ${formatBytes(leastSizeBytes)}, the smallest of --sizes; found ${formatBytes(fileBytes)}; name a larger file`,
    { details: { path, fileBytes, leastSizeBytes } },
  );
}

function rowText({ sizeBytes, depth, bytesPerSec, fioBytesPerSec, share }: ReadRow): string {
  const beside = share === null ? "no fio" : `fio ${gigabytes(fioBytesPerSec)}, ${wholePercent(share)}`;
  return `${sizeBytes / KiB} KiB x ${depth}: ${gigabytes(bytesPerSec)} GB/s, ${beside}`;
}

function readText(path: string, rows: readonly ReadRow[], best: readonly BestRow[]): string {
  const { mode, fioEngine } = rows[0]!;
  const beside = fioEngine === null ? "no fio on the path to compare with" : `beside fio (${fioEngine}, direct)`;
  const all = rows.map(({ sizeBytes, depth, bytesPerSec, fioBytesPerSec, share }) => [
    sizeBytes / KiB,
    depth,
    gigabytes(bytesPerSec),
    gigabytes(fioBytesPerSec),
    shareText(share),
  ]);
  const each = best.map(({ sizeBytes, depth, bytesPerSec, fioDepth, fioBytesPerSec, share }) => [
    sizeBytes / KiB,
    gigabytes(bytesPerSec),
    depth,
    gigabytes(fioBytesPerSec),
    fioDepth ?? "-",
    shareText(share),
  ]);
  return [
    `${path}: random ${mode} reads, ${beside}`,
    table([["KiB", "depth", "ours GB/s", "fio GB/s", "share"], ...all]),
    "",
    "each side at its best depth",
    table([["KiB", "ours GB/s", "at", "fio GB/s", "at", "share"], ...each]),
  ].join("\n");
}

function gigabytes(bytesPerSec: number | null): string {
  return bytesPerSec === null ? "no fio" : (bytesPerSec / 1e9).toFixed(3);
}

function shareText(share: number | null): string {
  return share === null ? "-" : wholePercent(share);
}
