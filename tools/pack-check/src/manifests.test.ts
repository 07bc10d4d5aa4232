/** What a registry shows of each package, and that what is published points at nothing outside of the tarball. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import getReleasePlan from "@changesets/get-release-plan";
import { describe, expect, it } from "vitest";
import { closureOf, entryPoints, installedByReadme, publicPackages, root } from "./public-packages.js";

/** The condition that resolves to sources, inside this repository only. */
const SOURCE_CONDITION = "flashwick-source";

describe.each(publicPackages)("the manifest of $manifest.name", ({ folder, manifest, readme }) => {
  it("says what it is, where it comes from, and under which licence", () => {
    expect(manifest.description).toMatch(/^.{30,150}$/);
    expect(manifest.keywords?.length).toBeGreaterThan(3);
    expect(manifest.license).toBe("Apache-2.0");
    expect(manifest.repository).toEqual({
      type: "git",
      url: "git+https://github.com/flashwick/flashwick.git",
      directory: folder,
    });
    expect(manifest.homepage).toBe(`https://github.com/flashwick/flashwick/tree/main/${folder}#readme`);
    expect(manifest.bugs).toBe("https://github.com/flashwick/flashwick/issues");
    expect(manifest.publishConfig?.access).toBe("public");
    // npm then attests which commit and which run of CI a tarball was built from, and refuses to publish from anywhere else.
    expect(manifest.publishConfig?.provenance).toBe(true);
  });

  it("publishes the entries that the repository uses, without the condition for sources", () => {
    const published = Object.entries(manifest.exports ?? {}).map(([subpath, target]) => {
      if (typeof target === "string") return [subpath, target];
      const { [SOURCE_CONDITION]: source, ...others } = target;
      expect(existsSync(join(root, folder, source!)), source).toBe(true);
      expect(Object.keys(others), subpath).toEqual(["types", "default"]);
      return [subpath, others];
    });
    const exports = manifest.publishConfig?.exports ?? manifest.exports;
    expect(exports).toEqual(Object.fromEntries(published));
    expect(exports).toHaveProperty(["./package.json"], "./package.json");
  });

  it("names everything that its README imports in the line that installs it", () => {
    const installed = installedByReadme(readme);
    expect(installed).toContain(manifest.name);
    const imported = [...readme.matchAll(/from "(@flashwick\/[\w-]+)/g)].map(([, name]) => name!);
    expect(installed).toEqual(expect.arrayContaining([...new Set(imported)]));
  });
});

it("a package's closure has what it imports, and nothing of other packages", () => {
  expect(closureOf(["@flashwick/predictor"]).toSorted()).toEqual(
    ["@flashwick/core", "@flashwick/kernels", "@flashwick/predictor"].toSorted(),
  );
});

it("entries for Node alone are told from those for browsers", () => {
  const runtime = publicPackages.find(({ manifest }) => manifest.name === "@flashwick/runtime")!.manifest;
  const nodeOnly = entryPoints(runtime).filter((entry) => entry.nodeOnly);
  expect(nodeOnly.map(({ path }) => path)).toEqual([
    "@flashwick/runtime/node",
    "@flashwick/runtime/train",
    "@flashwick/runtime/node/estimate",
  ]);
});

it("the changesets release every package as one version, 0.1.0 at first", async () => {
  const { releases } = await getReleasePlan(root);
  const next = new Map(releases.map(({ name, newVersion }) => [name, newVersion]));
  const versions = publicPackages.map(({ manifest }) => next.get(manifest.name) ?? manifest.version);
  expect(new Set(versions).size).toBe(1);
  if (publicPackages.every(({ manifest }) => manifest.version === "0.0.0")) expect(versions[0]).toBe("0.1.0");
});
