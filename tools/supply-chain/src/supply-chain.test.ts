/** What the packages of others bring: where they come from, under which licence, and what they may run here. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";

// By address: the scripts are JavaScript, which Node 20 runs as it stands, and TypeScript does not look into.
const scripts = (name: string) => import(new URL(name, import.meta.url).href);
const { lockedPackages } = await scripts("./lockfile.mjs");
const { installedPackages } = await scripts("./installed-packages.mjs");
const { isCompatible, makeTable, readTable, writtenTable } = await scripts("./licence-table.mjs");

interface LockedPackage {
  readonly id: string;
  readonly name: string;
  readonly version: string;
  readonly isForPlatform: boolean;
  readonly isProduction: boolean;
  readonly integrity: string | null;
}
interface InstalledPackage {
  readonly id: string;
  readonly licence: string;
  readonly installScripts: readonly string[];
}
interface LicenceRow {
  readonly id: string;
  readonly use: string;
  readonly licence: string;
}

const root = fileURLToPath(new URL("../../..", import.meta.url));
const locked: readonly LockedPackage[] = lockedPackages(root);
const installed: ReadonlyMap<string, InstalledPackage> = installedPackages(root);
const table: readonly LicenceRow[] = readTable(root);
const workspace: { onlyBuiltDependencies: string[]; ignoredBuiltDependencies: string[]; strictDepBuilds: boolean } =
  parse(readFileSync(join(root, "pnpm-workspace.yaml"), "utf8"));

describe("the lockfile", () => {
  it("has every package of others from the registry, by the hash of its tarball", () => {
    expect(locked.length).toBeGreaterThan(100);
    expect(locked.filter(({ integrity }) => !integrity?.startsWith("sha512-")).map(({ id }) => id)).toEqual([]);
  });
  it("is what CI installs, and nothing newer", () => {
    expect(readFileSync(join(root, ".ci/run"), "utf8")).toMatch(/install --frozen-lockfile/);
  });
  it("has few packages that users get: a new one is a decision", () => {
    const names = new Set(locked.filter(({ isProduction }) => isProduction).map(({ name }) => name));
    for (const name of ["valibot", "hono", "@huggingface/jinja"]) expect(names).toContain(name);
    for (const name of ["vitest", "esbuild", "typescript"]) expect(names).not.toContain(name);
  });
});

describe("install scripts", () => {
  const withScripts = [...installed.values()].filter(({ installScripts }) => installScripts.length > 0);
  const nameOf = (id: string) => id.slice(0, id.lastIndexOf("@"));

  it("of packages that nobody has looked at are none: each is allowed or ignored by name", () => {
    const decided = [...workspace.onlyBuiltDependencies, ...workspace.ignoredBuiltDependencies];
    expect(withScripts.map(({ id }) => nameOf(id)).filter((name) => !decided.includes(name))).toEqual([]);
    expect(withScripts.map(({ id }) => nameOf(id))).toContain("esbuild");
  });
  it("run for one package alone, and an install with an undecided one fails", () => {
    expect(workspace.onlyBuiltDependencies).toEqual(["esbuild"]);
    expect(workspace.strictDepBuilds).toBe(true);
  });
});

describe("licences", () => {
  it("are listed for every package of the lockfile; else run node tools/supply-chain/write-licences.mjs", () => {
    expect(writtenTable(table)).toBe(writtenTable(makeTable(locked, installed, table)));
  });
  it("go together with Apache-2.0, of what is published and of tools", () => {
    expect(table.filter((row) => !isCompatible(row))).toEqual([]);
  });
  it.each([
    ["production", "MIT", true],
    ["production", "(MIT OR GPL-3.0)", true],
    ["production", "MIT AND GPL-3.0", false],
    ["production", "MPL-2.0", false],
    ["development", "MPL-2.0", true],
    ["development", "AGPL-3.0", false],
    ["production", "", false],
  ])("for %s %j is judged %s", (use, licence, expected) => {
    expect(isCompatible({ id: "a@1.0.0", use, licence })).toBe(expected);
  });
  it("of a package that says nothing must be looked up", () => {
    const added = [...locked, { ...locked[0]!, id: "unheard-of@1.0.0", name: "unheard-of", version: "1.0.0" }];
    expect(() => makeTable(added, installed, table)).toThrow(/unheard-of@1\.0\.0: .*look it up/);
  });
});
