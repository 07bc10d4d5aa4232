/**
 * A Linux memory control group around one command: the honest way to be a small machine, since it counts the page cache, too.
 * Knows version 1 (a hierarchy of its own for memory) and version 2 (unified). Needs the right to make groups.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = "/sys/fs/cgroup";

/** Names within a group's folder. */
interface GroupFiles {
  readonly limit: string;
  readonly swapLimit: string;
  readonly usage: string;
  /** Highest usage; may be missing on older kernels of version 2. */
  readonly peak: string;
  /** Holds a line `oom_kill <n>`. */
  readonly events: string;
}

const VERSIONS: readonly { readonly root: string; readonly files: GroupFiles }[] = [
  {
    root: join(ROOT, "memory"),
    files: {
      limit: "memory.limit_in_bytes",
      swapLimit: "memory.memsw.limit_in_bytes",
      usage: "memory.usage_in_bytes",
      peak: "memory.max_usage_in_bytes",
      events: "memory.oom_control",
    },
  },
  {
    root: ROOT,
    files: {
      limit: "memory.max",
      swapLimit: "memory.swap.max",
      usage: "memory.current",
      peak: "memory.peak",
      events: "memory.events",
    },
  },
];

export interface GroupRequest {
  readonly limitBytes: number;
  readonly command: string;
  readonly args: readonly string[];
  /** Between two looks at it. Default 100. */
  readonly sampleMs?: number;
}

export interface GroupSample {
  readonly ms: number;
  readonly usageBytes: number;
  readonly residentBytes: number;
  readonly swapBytes: number;
}

export interface GroupRun {
  /** Null if a signal ended it. */
  readonly status: number | null;
  /** Processes that the kernel killed for memory. */
  readonly killed: number;
  /** Highest usage of the group, page cache included. */
  readonly peakBytes: number;
  readonly samples: readonly GroupSample[];
  readonly stdout: string;
  readonly stderr: string;
}

/** Why commands cannot be put into a memory group here; null if they can. */
export function memoryGroupsMissing(): string | null {
  if (process.platform !== "linux") return `memory control groups are Linux's; this is ${process.platform}`;
  const group = makeGroup(2 ** 30);
  if (typeof group === "string") return group;
  rmdirSync(group.path);
  return null;
}

/** Runs a command within `limitBytes` of memory, and watches it. */
export async function runInMemoryGroup({ limitBytes, command, args, sampleMs = 100 }: GroupRequest): Promise<GroupRun> {
  const group = makeGroup(limitBytes);
  if (typeof group === "string") throw new Error(group);
  const { path, files } = group;
  // The shell enters the group and becomes the command, so that not one page is counted elsewhere.
  const child = spawn("/bin/sh", ["-c", 'echo $$ > "$0" && exec "$@"', join(path, "cgroup.procs"), command, ...args]);
  const output = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text) => (output.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text) => (output.stderr += text));
  const begin = performance.now();
  const samples: GroupSample[] = [];
  const timer = setInterval(() => {
    const ms = Math.round(performance.now() - begin);
    samples.push({ ms, usageBytes: read(join(path, files.usage)), ...statusOf(child.pid) });
  }, sampleMs);
  const status = await new Promise<number | null>((resolve, reject) => child.on("error", reject).on("close", resolve));
  clearInterval(timer);
  const peak = join(path, files.peak);
  const run = {
    status,
    killed: Number(/^oom_kill (\d+)$/m.exec(readFileSync(join(path, files.events), "utf8"))?.[1] ?? 0),
    peakBytes: existsSync(peak) ? read(peak) : Math.max(0, ...samples.map(({ usageBytes }) => usageBytes)),
    samples,
    ...output,
  };
  rmdirSync(path);
  return run;
}

/** A fresh group, or why there is none. */
function makeGroup(limitBytes: number): { readonly path: string; readonly files: GroupFiles } | string {
  let why = `no memory control groups under ${ROOT}`;
  for (const { root, files } of VERSIONS) {
    const path = join(root, `flashwick-${process.pid}-${Math.random().toString(36).slice(2, 8)}`);
    try {
      if (!existsSync(root)) continue;
      mkdirSync(path);
    } catch (error) {
      why = (error as Error).message;
      continue;
    }
    if (existsSync(join(path, files.limit))) {
      writeFileSync(join(path, files.limit), `${limitBytes}`);
      // Version 1 limits memory and swap together, version 2 swap alone. Not every kernel counts swap at all.
      const swap = join(path, files.swapLimit);
      if (existsSync(swap)) writeFileSync(swap, files.swapLimit === "memory.swap.max" ? "0" : `${limitBytes}`);
      return { path, files };
    }
    rmdirSync(path);
  }
  return why;
}

function read(path: string): number {
  return Number(readFileSync(path, "utf8"));
}

function statusOf(pid: number | undefined): Pick<GroupSample, "residentBytes" | "swapBytes"> {
  let text = "";
  try {
    text = readFileSync(`/proc/${pid}/status`, "utf8");
  } catch {
    // It has ended since: nothing is resident.
  }
  const kib = (name: string) => 1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1] ?? 0);
  return { residentBytes: kib("VmRSS"), swapBytes: kib("VmSwap") };
}
