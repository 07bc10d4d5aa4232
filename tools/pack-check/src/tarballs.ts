/** Packages as they would be published. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pnpm, run } from "./command.js";
import { type Manifest, publicPackages, root } from "./public-packages.js";

export interface Tarball {
  readonly path: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Without the leading `package/`. */
  readonly files: readonly string[];
  /** As it is published: versions in place of `workspace:*`, `publishConfig` in effect. */
  readonly manifest: Manifest;
}

/**
 * Packs every public package, which must have been built.
 *
 * @param folder Where the tarballs go.
 * @returns By package name.
 */
export async function packAll(folder: string): Promise<ReadonlyMap<string, Tarball>> {
  const packed = publicPackages.map(async ({ folder: of, manifest: { name } }) => {
    const { stdout } = await pnpm(["pack", "--json", "--pack-destination", folder], join(root, of));
    const { filename } = JSON.parse(stdout);
    return [name, await readTarball(filename)] as const;
  });
  return new Map(await Promise.all(packed));
}

async function readTarball(path: string): Promise<Tarball> {
  const listed = await run("tar", ["-tzf", path], root);
  const { stdout: json } = await run("tar", ["-xzOf", path, "package/package.json"], root);
  return {
    path,
    bytes: new Uint8Array(readFileSync(path)),
    files: listed.stdout
      .trim()
      .split("\n")
      .map((file) => file.replace(/^package\//, "")),
    manifest: JSON.parse(json),
  };
}
