/** The packages that are published: every member of packages/ and apps/ that is not private. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../../..", import.meta.url));

/** Targets of an entry by condition. */
export type Conditions = Readonly<Record<string, string>>;

export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly private?: boolean;
  readonly description?: string;
  readonly keywords?: readonly string[];
  readonly homepage?: string;
  readonly bugs?: string;
  readonly license?: string;
  readonly repository?: { readonly type: string; readonly url: string; readonly directory: string };
  readonly files?: readonly string[];
  readonly bin?: Readonly<Record<string, string>>;
  readonly exports?: Readonly<Record<string, string | Conditions>>;
  readonly publishConfig?: {
    readonly access?: string;
    readonly provenance?: boolean;
    readonly exports?: Readonly<Record<string, string | Conditions>>;
  };
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  /** Of the root: `pnpm@<version>`. */
  readonly packageManager?: string;
}

export interface PublicPackage {
  /** Relative to the root: `packages/core`. */
  readonly folder: string;
  readonly manifest: Manifest;
  readonly readme: string;
}

/** An import path of a package: `@flashwick/kernels/reference`. */
export interface EntryPoint {
  readonly path: string;
  /** What browsers have no use for: it needs modules of Node. */
  readonly nodeOnly: boolean;
  /** Types as they are published, relative to the package. */
  readonly types: string;
}

export const publicPackages: readonly PublicPackage[] = ["packages", "apps"]
  .flatMap((kind) => readdirSync(join(root, kind)).map((id) => `${kind}/${id}`))
  .filter((folder) => existsSync(join(root, folder, "package.json")))
  .map((folder) => ({ folder, manifest: readManifest(join(root, folder)), readme: readReadme(folder) }))
  .filter(({ manifest }) => !manifest.private);

/** The manifest of a folder. */
export function readManifest(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
}

function readReadme(folder: string): string {
  const path = join(root, folder, "README.md");
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}

/** Entries for Node alone that do not say so by a part of their name. */
const NODE_ENTRIES = new Set(["@flashwick/demo-models", "@flashwick/runtime/train", "@flashwick/server"]);

/** What can be imported of a package. */
export function entryPoints({ name, exports = {} }: Manifest): EntryPoint[] {
  return Object.entries(exports).flatMap(([subpath, conditions]) => {
    if (typeof conditions === "string") return [];
    const path = name + subpath.slice(1);
    return [
      { path, nodeOnly: NODE_ENTRIES.has(path) || path.split("/").includes("node"), types: conditions.types ?? "" },
    ];
  });
}

/** Packages of ours that `names` need, themselves included. */
export function closureOf(names: readonly string[]): string[] {
  const found = new Set<string>();
  const visit = (name: string) => {
    const member = publicPackages.find(({ manifest }) => manifest.name === name);
    if (!member || found.has(name)) return;
    found.add(name);
    for (const dependency of Object.keys(member.manifest.dependencies ?? {})) visit(dependency);
  };
  for (const name of names) visit(name);
  return [...found];
}

/** What a README tells its reader to install: the names behind its `npm install`; empty where it says nothing. */
export function installedByReadme(readme: string): string[] {
  const [, names = ""] = /^npm install ([^#\n]*)/m.exec(readme) ?? [];
  return names.split(" ").filter((name) => name !== "" && !name.startsWith("-"));
}
