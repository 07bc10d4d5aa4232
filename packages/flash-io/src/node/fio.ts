/** fio, the measure of what a device gives: random direct reads of one size at one depth. https://fio.readthedocs.io */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

export interface FioLoad {
  readonly path: string;
  readonly sizeBytes: number;
  readonly depth: number;
  readonly seconds: number;
  readonly signal?: AbortSignal | undefined;
}

/** How fio keeps reads in flight: by the kernel's queue, or by a thread each. */
export type FioEngine = "libaio" | "psync";

const run = promisify(execFile);

/** The best engine that the fio on the path has; null if there is no fio. */
export async function findFio(): Promise<FioEngine | null> {
  try {
    const { stdout } = await run("fio", ["--enghelp"]);
    return /\blibaio\b/.test(stdout) ? "libaio" : "psync";
  } catch {
    return null;
  }
}

/**
 * Bytes per second of fio's own account, which leaves its start-up out. Never writes.
 *
 * @throws What `execFile` throws when fio fails; the signal's reason comes as an AbortError.
 */
export async function measureFio(engine: FioEngine, load: FioLoad): Promise<number> {
  const { stdout } = await run("fio", fioArguments(engine, load), { signal: load.signal, maxBuffer: 2 ** 24 });
  // Warnings may come before the document.
  const report = JSON.parse(stdout.slice(stdout.indexOf("{"))) as { jobs: { read: { bw_bytes: number } }[] };
  return report.jobs[0]!.read.bw_bytes;
}

function fioArguments(engine: FioEngine, { path, sizeBytes, depth, seconds }: FioLoad): string[] {
  const queue =
    engine === "libaio"
      ? ["--ioengine=libaio", `--iodepth=${depth}`]
      : ["--ioengine=psync", "--thread", `--numjobs=${depth}`, "--group_reporting"];
  return [
    "--name=read",
    // A colon separates files for fio.
    `--filename=${path.replaceAll(":", "\\:")}`,
    "--readonly",
    "--rw=randread",
    "--norandommap",
    "--randrepeat=0",
    "--direct=1",
    `--bs=${sizeBytes}`,
    `--runtime=${Math.round(seconds * 1000)}ms`,
    "--time_based",
    "--output-format=json",
    ...queue,
  ];
}
