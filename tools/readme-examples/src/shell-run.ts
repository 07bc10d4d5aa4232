/** Runs the commands of a guide as a reader would, with the built command line under its name. */
import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("../../../apps/cli/dist/flashwick.js", import.meta.url));

/** Why commands cannot run here; null if they can. */
export function shellMissing(): string | null {
  return existsSync(program) ? null : "apps/cli/dist is not there; run build";
}

/**
 * @param folder Their working directory.
 * @returns The lines that they print, standard output and standard error.
 * @throws {Error} with what was printed, if a command fails.
 */
export async function runCommands(commands: string, folder: string): Promise<string[]> {
  const shell = startShell(commands, folder);
  const status = await shell.ended;
  if (status !== 0) throw new Error(`ended with status ${status}:\n${shell.printed().join("\n")}`);
  return shell.printed();
}

/** Commands that go on. */
export interface Service {
  /** The lines so far. */
  printed(): string[];
  /** Ends it by SIGTERM, and waits for that. */
  stop(): Promise<void>;
}

/**
 * Starts commands, and returns when the URL answers with status 200.
 *
 * @throws {Error} with what was printed, if they end before that.
 */
export async function startService(commands: string, folder: string, url: string): Promise<Service> {
  const shell = startShell(commands, folder);
  let status: number | null | undefined;
  const ended = shell.ended.then((found) => {
    status = found;
  });
  while (!(await answers(url))) {
    if (status !== undefined) throw new Error(`ended with status ${status}:\n${shell.printed().join("\n")}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  return {
    printed: shell.printed,
    stop: async () => {
      // The shell and all that it has started.
      if (status === undefined) process.kill(-shell.pid, "SIGTERM");
      await ended;
    },
  };
}

const POLL_MS = 50;

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(url)).status === 200;
  } catch {
    // Nobody listens yet.
    return false;
  }
}

interface Shell {
  readonly pid: number;
  printed(): string[];
  /** Its status, when all of its output has come. */
  readonly ended: Promise<number | null>;
}

function startShell(commands: string, folder: string): Shell {
  const bin = mkdtempSync(join(tmpdir(), "flashwick-bin-"));
  const command = join(bin, "flashwick");
  writeFileSync(command, `#!/bin/sh\nexec "${process.execPath}" "${program}" "$@"\n`);
  chmodSync(command, 0o755);
  const path = [bin, dirname(process.execPath), process.env.PATH ?? ""].join(delimiter);
  const env = { ...process.env, PATH: path, NO_COLOR: "1" };
  // A group of its own, to be ended as one.
  const child = spawn("sh", ["-eu", "-c", commands], { cwd: folder, env, detached: true });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
    });
  }
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on("error", reject).on("close", resolve);
  }).finally(() => rmSync(bin, { recursive: true }));
  return { pid: child.pid!, printed: () => text.split("\n"), ended };
}
