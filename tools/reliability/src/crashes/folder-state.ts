/** What lies in a folder, as data that can be compared. */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

/** SHA-256 of each file, and `null` of each folder, by path; sorted. */
export type FolderState = ReadonlyMap<string, string | null>;

export function folderState(folder: string): FolderState {
  const names = existsSync(folder) ? (readdirSync(folder, { recursive: true }) as string[]).sort() : [];
  return new Map(names.map((name) => [name, hashOf(join(folder, name))]));
}

/** One name of the whole. */
export function digestOf(state: FolderState): string {
  return createHash("sha256")
    .update(JSON.stringify([...state]))
    .digest("hex");
}

function hashOf(path: string): string | null {
  return statSync(path).isDirectory() ? null : createHash("sha256").update(readFileSync(path)).digest("hex");
}
