/** A project of somebody else: an empty folder outside of this repository, with tarballs installed. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { npm, pnpm } from "./command.js";
import { closureOf } from "./public-packages.js";
import type { Tarball } from "./tarballs.js";

/**
 * Installs packages by npm. Others of ours that they need come from their tarballs, everything else from npm's cache or the registry.
 *
 * @param folder Made here.
 */
export async function installByNpm(
  folder: string,
  names: readonly string[],
  tarballs: ReadonlyMap<string, Tarball>,
): Promise<void> {
  writeProject(folder, {});
  const paths = closureOf(names).map((name) => tarballs.get(name)!.path);
  await npm(["install", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error", ...paths], folder);
}

/** The same by pnpm, which lets a package import what its manifest names and nothing else. */
export async function installByPnpm(
  folder: string,
  names: readonly string[],
  tarballs: ReadonlyMap<string, Tarball>,
): Promise<void> {
  const files = (wanted: readonly string[]) =>
    Object.fromEntries(wanted.map((name) => [name, `file:${tarballs.get(name)!.path}`]));
  writeProject(folder, { dependencies: files(names), pnpm: { overrides: files(closureOf(names)) } });
  await pnpm(["install", "--prefer-offline", "--ignore-workspace", "--reporter=silent"], folder);
}

function writeProject(folder: string, more: object): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module", ...more }));
}
