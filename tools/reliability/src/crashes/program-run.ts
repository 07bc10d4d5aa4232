/** One run of a program in a process of its own, which may be made to die or to fail on the way. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The root of the repository: this code runs from its folder, or from a bundle below it. */
export const ROOT = findRoot(dirname(fileURLToPath(import.meta.url)));
const KILL_AT = join(ROOT, "tools/reliability/src/crashes/kill-at.mjs");
/** A program that takes longer hangs, milliseconds. */
const HANG_MS = 120_000;

/** What may happen at an operation; `kill-at.mjs` says what each one does. */
export type KillMode = "count" | "before" | "half" | "after" | "power" | "power-zeros" | "ENOSPC" | "EIO" | "EACCES";

/** Where a process dies, or fails. */
export interface KillPlace {
  readonly root: string;
  readonly mode: KillMode;
  readonly at?: number;
  readonly list?: string;
}

export interface ProgramOptions {
  readonly env: Readonly<Record<string, string>>;
  readonly kill?: KillPlace | undefined;
  /** Killed from outside after so long, milliseconds. */
  readonly killAfterMs?: number | undefined;
}

export interface ProgramEnd {
  /** Null after a signal. */
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
  readonly hangs: boolean;
  readonly ms: number;
}

/** Runs `node <words>`. Never throws: how it ended is the result. */
export async function runProgram(words: readonly string[], options: ProgramOptions): Promise<ProgramEnd> {
  const { env, kill, killAfterMs } = options;
  const startMs = performance.now();
  const child = spawn(process.execPath, [...(kill ? ["--import", KILL_AT] : []), ...words], {
    env: { ...process.env, ...env, ...(kill && { FLASHWICK_KILL_AT: JSON.stringify(kill) }) },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let err = "";
  child.stdout.on("data", (text) => {
    out += text;
  });
  child.stderr.on("data", (text) => {
    err += text;
  });
  let hangs = false;
  const hang = setTimeout(() => {
    hangs = true;
    child.kill("SIGKILL");
  }, HANG_MS);
  const end = killAfterMs === undefined ? null : setTimeout(() => child.kill("SIGKILL"), killAfterMs);
  const status = await new Promise<number | null>((resolve) => child.on("close", resolve));
  clearTimeout(hang);
  if (end) clearTimeout(end);
  return { status, out, err, hangs, ms: performance.now() - startMs };
}

function findRoot(folder: string): string {
  return existsSync(join(folder, "pnpm-workspace.yaml")) ? folder : findRoot(dirname(folder));
}
