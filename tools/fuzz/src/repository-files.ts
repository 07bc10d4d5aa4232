/** Files of this repository that inputs are made from. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The root of the repository: this code runs from its folder, or from a bundle below it. */
export const ROOT = findRoot(dirname(fileURLToPath(import.meta.url)));
const FIXTURES = join(ROOT, "packages/runtime/fixtures");

function findRoot(folder: string): string {
  return existsSync(join(folder, "pnpm-workspace.yaml")) ? folder : findRoot(dirname(folder));
}

/** A fixture of the engine's tests. */
export function fixture(path: string): Uint8Array {
  return readFileSync(join(FIXTURES, path));
}

/** The files of a folder of fixtures, by name. */
export function fixtureFolder(path: string): Map<string, Uint8Array> {
  return new Map(readdirSync(join(FIXTURES, path)).map((name) => [name, fixture(join(path, name))]));
}
