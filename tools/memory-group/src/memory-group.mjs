// @ts-check
/**
 * A Linux memory control group around one command: the honest way to be a small machine, since it counts the page cache, too.
 * Knows version 1 (a hierarchy of its own for memory) and version 2 (unified). Needs the right to make groups.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = "/sys/fs/cgroup";

/**
 * @typedef {object} GroupFiles
 * @property {string} limit
 * @property {string} swapLimit
 * @property {string} usage
 * @property {string} peak Highest usage; may be missing on older kernels of version 2.
 * @property {string} events Holds a line `oom_kill <n>`.
 */

/** @type {readonly { readonly root: string, readonly files: GroupFiles }[]} */
const VERSIONS = [
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

/**
 * A fresh group, or why there is none.
 *
 * @param {number} limitBytes
 * @returns {{ readonly path: string, readonly files: GroupFiles } | string}
 */
function makeGroup(limitBytes) {
  let why = `no memory control groups under ${ROOT}`;
  for (const { root, files } of VERSIONS) {
    const path = join(root, `flashwick-${process.pid}-${Math.random().toString(36).slice(2, 8)}`);
    try {
      if (!existsSync(root)) continue;
      mkdirSync(path);
    } catch (error) {
      why = /** @type {Error} */ (error).message;
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

/** Why commands cannot be put into a memory group here; null if they can. */
export function memoryGroupsMissing() {
  if (process.platform !== "linux") return `memory control groups are Linux's; this is ${process.platform}`;
  const group = makeGroup(2 ** 30);
  if (typeof group === "string") return group;
  rmdirSync(group.path);
  return null;
}

/**
 * @typedef {object} GroupRun
 * @property {number | null} status  Exit status; null if a signal ended it.
 * @property {number} killed         Processes that the kernel killed for memory.
 * @property {number} peakBytes      Highest usage of the group, page cache included.
 * @property {readonly { readonly ms: number, readonly usageBytes: number, readonly residentBytes: number, readonly swapBytes: number }[]} samples
 * @property {string} stdout
 * @property {string} stderr
 */

/**
 * Runs a command within `limitBytes` of memory, and watches it.
 *
 * @param {{ readonly limitBytes: number, readonly command: string, readonly args: readonly string[], readonly sampleMs?: number }} request
 * @returns {Promise<GroupRun>}
 */
export async function runInMemoryGroup({ limitBytes, command, args, sampleMs = 100 }) {
  const group = makeGroup(limitBytes);
  if (typeof group === "string") throw new Error(group);
  const { path, files } = group;
  // The shell enters the group and becomes the command, so that not one page is counted elsewhere.
  const child = spawn("/bin/sh", ["-c", 'echo $$ > "$0" && exec "$@"', join(path, "cgroup.procs"), command, ...args]);
  const output = { stdout: "", stderr: "" };
  child.stdout.setEncoding("utf8").on("data", (text) => (output.stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text) => (output.stderr += text));
  const begin = performance.now();
  /** @type {{ ms: number, usageBytes: number, residentBytes: number, swapBytes: number }[]} */
  const samples = [];
  const timer = setInterval(() => {
    const sample = {
      ms: Math.round(performance.now() - begin),
      usageBytes: read(join(path, files.usage)),
      ...statusOf(child.pid),
    };
    samples.push(sample);
  }, sampleMs);
  const status = await new Promise((resolve, reject) => child.on("error", reject).on("close", resolve));
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

/** @param {string} path */
function read(path) {
  return Number(readFileSync(path, "utf8"));
}

/** @param {number | undefined} pid */
function statusOf(pid) {
  let text = "";
  try {
    text = readFileSync(`/proc/${pid}/status`, "utf8");
  } catch {
    // It has ended since: nothing is resident.
  }
  const kib = (/** @type {string} */ name) =>
    1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1] ?? 0);
  return { residentBytes: kib("VmRSS"), swapBytes: kib("VmSwap") };
}
