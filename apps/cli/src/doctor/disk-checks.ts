/** What the disk under a folder is: whether it can be read past the page cache, how much room there is, and how fast it is. */
import { statfs } from "node:fs/promises";
import { formatBytes, KiB } from "@flashwick/core";
import { type DeviceProfile, readBytesPerSec } from "@flashwick/cost-model";
import { measureBriefProfile } from "@flashwick/runtime/node";
import { figure } from "../table.js";
import { type Check, checkOf } from "./check.js";

/** Of a neuron of a model of 7 billion weights. */
const RECORD_BYTES = 16 * KiB;

const BRINGS = {
  direct: "reads past the page cache: the DRAM budget is all the memory that a model takes",
  mode: "how models of 64 MiB and more are read",
  space: "room for models",
  speed: "the most bytes a second that a token can wait for, of a model that streams",
  dram: "the same of weights that are held",
} as const;

/**
 * Writes a file of 64 MiB to `folder`, reads it for half a second, and removes it.
 *
 * @throws The signal's own reason.
 */
export async function diskChecks(folder: string, signal: AbortSignal): Promise<Check[]> {
  const space = await checkOf("disk space", BRINGS.space, async () => {
    const { bavail, bsize } = await statfs(folder);
    return `${formatBytes(bavail * bsize)} free under ${folder}`;
  });
  return [space, ...(await speedChecks(folder, signal))];
}

async function speedChecks(path: string, signal: AbortSignal): Promise<Check[]> {
  try {
    return checksOf(await measureBriefProfile({ path, signal }));
  } catch (error) {
    signal.throwIfAborted();
    const found = (error as Error).message;
    return [{ name: "disk speed", ok: false, found, brings: BRINGS.speed }];
  }
}

/** What a measured profile says of disk and memory. */
export function checksOf({ flash, dramBytesPerSec, cores }: DeviceProfile): Check[] {
  const isDirect = flash.mode === "direct";
  const depth = Math.max(...flash.reads.map((read) => read.depth));
  const random = readBytesPerSec(flash, RECORD_BYTES, depth) / 1e6;
  const sequential = flash.sequentialBytesPerSec / 1e6;
  return [
    {
      name: "direct I/O",
      ok: isDirect,
      found: isDirect ? `there, aligned to ${flash.alignmentBytes} bytes` : "this file system refuses it",
      brings: BRINGS.direct,
    },
    { name: "io mode", ok: true, found: flash.mode, brings: BRINGS.mode },
    {
      name: "disk speed",
      ok: true,
      found: `${figure(random)} MB/s at random in reads of 16 KiB, ${depth} in flight; ${figure(sequential)} MB/s in sequence`,
      brings: BRINGS.speed,
    },
    {
      name: "DRAM speed",
      ok: true,
      found: `${figure(dramBytesPerSec / 1e9)} GB/s on ${cores} ${cores === 1 ? "thread" : "threads"}`,
      brings: BRINGS.dram,
    },
  ];
}
