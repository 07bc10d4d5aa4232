/**
 * A small file that can be made again: written whole under a name of its own, which has the number of the process in it, and renamed. What processes have left
 * that died in between is removed by the next one that keeps the same file.
 */
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";

/**
 * Keeps a text; a reader of the file sees the old or the new one, never half of it.
 *
 * @param path Its folder is made if it is not there.
 * @returns False where it cannot be written: that is no failure.
 */
export function keepText(path: string, text: string): boolean {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    mkdirSync(dirname(path), { recursive: true });
    removeLeftovers(path);
    // What is renamed before it is durable may be empty after a loss of power.
    writeFileSync(temporary, text, { flush: true });
    renameSync(temporary, path);
    return true;
  } catch {
    removeIfThere(temporary);
    return false;
  }
}

function removeLeftovers(path: string): void {
  const start = `${basename(path)}.`;
  for (const name of readdirSync(dirname(path))) {
    const pid = name.startsWith(start) ? /^(\d+)\.tmp$/.exec(name.slice(start.length))?.[1] : undefined;
    if (pid !== undefined && !isAlive(Number(pid))) removeIfThere(join(dirname(path), name));
  }
}

/** Whether a process of this machine has the number. Of another machine's, which shares a disk, nothing is known. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

function removeIfThere(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // The folder is not one, or is not ours: then there is nothing of ours in it.
  }
}
