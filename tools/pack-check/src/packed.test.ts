/**
 * Every package as it would be published: packed, looked at by publint and are-the-types-wrong, published to nowhere, and installed into
 * empty projects, where its README's examples run, its types are compiled and its code is bundled for a page.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { capability } from "@flashwick/test-capabilities";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { BILL_PATH, writeBill } from "./bill-of-materials.js";
import { bundleByEsbuild, bundleByVite, transferBytes } from "./bundles.js";
import { npm, run } from "./command.js";
import { installByNpm, installByPnpm } from "./consumer.js";
import { RESOLUTIONS, typeErrors } from "./consumer-types.js";
import { entryPoints, installedByReadme, type PublicPackage, publicPackages, root } from "./public-packages.js";
import { runExamples } from "./readme-programs.js";
import { SIZE_BUDGETS } from "./size-budgets.js";
import { publintRemarks, typeProblems } from "./tarball-lint.js";
import { packAll, type Tarball } from "./tarballs.js";

// Package managers and bundlers at work, perhaps on a busy machine: this tells a hang.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

const unbuilt = publicPackages.find(({ folder }) => !existsSync(join(root, folder, "dist")));
const build = capability("build", unbuilt ? `${unbuilt.folder}/dist is not there; run build` : null);
const registry = capability("registry", await registryMissing());
const node24 = capability("node-24", await node24Missing());

/** Packages of others come from npm's cache or from the registry. One that all projects need stands for all. */
async function registryMissing(): Promise<string | null> {
  try {
    await npm(["view", "valibot@1.5.0", "version", "--prefer-offline", "--fetch-retries=0"], root);
    return null;
  } catch {
    return "npm finds neither a registry nor the package in its cache";
  }
}

async function node24Missing(): Promise<string | null> {
  const { FLASHWICK_NODE_24: path } = process.env;
  if (!path) return "FLASHWICK_NODE_24 names no executable";
  const { stdout } = await run(path, ["--version"], root);
  return stdout.startsWith("v24.") ? null : `FLASHWICK_NODE_24 is ${stdout.trim()}`;
}

/** Entries of all packages, for pages or for Node. */
const allEntries = publicPackages.flatMap(({ manifest }) => entryPoints(manifest));
const pageEntries = allEntries.filter(({ nodeOnly }) => !nodeOnly).map(({ path }) => path);
const libraries = publicPackages.filter(({ manifest }) => manifest.bin === undefined);

describe.skipIf(build.isMissing)(build.title("a packed package"), () => {
  const folder = mkdtempSync(join(tmpdir(), "packed-"));
  const together = join(folder, "npm");
  let tarballs: ReadonlyMap<string, Tarball>;
  let gguf = "";
  beforeAll(async () => {
    tarballs = await packAll(folder);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  describe.each(publicPackages)("$manifest.name", ({ manifest: { name, exports = {}, bin = {} } }) => {
    const tarball = () => tarballs.get(name)!;

    it("holds what it names: code, types, README, licence, and no sources", () => {
      const { files, manifest } = tarball();
      const targets = Object.values(manifest.exports ?? {}).flatMap((one) =>
        typeof one === "string" ? one : Object.values(one),
      );
      const named = [...targets, ...Object.values(bin)].map((path) => path.replace(/^\.\//, ""));
      expect(files).toEqual(expect.arrayContaining([...named, "README.md", "LICENSE"]));
      expect(Object.keys(manifest.exports ?? {})).toEqual(Object.keys(exports));
      expect(files.filter((file) => file.startsWith("src/") || /\.test\./.test(file))).toEqual([]);
      expect(JSON.stringify(manifest)).not.toMatch(/workspace:|flashwick-source|\.\.\//);
    });

    it("is nothing that publint remarks on", async () => {
      expect(await publintRemarks(tarball())).toEqual([]);
    });

    it("has types that every resolver of ES modules finds", async () => {
      expect(await typeProblems(tarball())).toEqual([]);
    });

    it("would be published", async () => {
      const nowhere = "--registry=http://127.0.0.1:9/";
      const dryRun = ["publish", tarball().path, "--dry-run", "--json", nowhere, "--fetch-retries=0"];
      const { stdout, stderr } = await npm(dryRun, folder);
      expect(stdout).toContain(`"name": "${name}"`);
      expect(stderr).not.toMatch(/corrected|removed|invalid/);
    });

    it("is within its budget, and not below half of it", () => {
      const kib = tarball().bytes.length / 1024;
      expect(SIZE_BUDGETS, "size-budgets.ts has a row for every package").toHaveProperty([name]);
      const { tarballKiB } = SIZE_BUDGETS[name]!;
      expect(kib).toBeLessThanOrEqual(tarballKiB);
      expect(kib).toBeGreaterThan(tarballKiB / 2);
    });
  });

  describe.skipIf(registry.isMissing)(registry.title("in an empty project"), () => {
    beforeAll(async () => {
      await installByNpm(
        together,
        publicPackages.map(({ manifest }) => manifest.name),
        tarballs,
      );
      const checkpoint = join(together, "node_modules/@flashwick/demo-models/models/opt-demo");
      gguf = join(together, "opt-demo.gguf");
      await run(
        join(together, "node_modules/.bin/flashwick"),
        ["convert", checkpoint, "-o", gguf, "--quiet"],
        together,
      );
    });

    it("leaves a bill of materials: each package with its version, hash and licence", async () => {
      const bill = await writeBill(together);
      expect([bill.bomFormat, bill.specVersion]).toEqual(["CycloneDX", "1.5"]);
      const names = bill.components.map(({ name }) => name);
      expect(names).toEqual(
        expect.arrayContaining([...publicPackages.map(({ manifest }) => manifest.name), "valibot"]),
      );
      expect(names).not.toContain("vitest");
      for (const { name, purl, hashes, licenses } of bill.components) {
        expect(purl, name).toMatch(/^pkg:npm\//);
        expect(hashes?.[0]?.alg, name).toBe("SHA-512");
        expect(licenses?.length, name).toBeGreaterThan(0);
      }
      expect(readFileSync(BILL_PATH, "utf8")).not.toContain('"file:');
    });

    const nodes = [
      { version: process.version, path: process.execPath, needs: null },
      { version: "v24", path: process.env.FLASHWICK_NODE_24 ?? "", needs: node24 },
    ];
    for (const { version, path, needs } of nodes) {
      const title = `by npm, on Node ${version}`;
      describe.skipIf(needs?.isMissing)(needs ? needs.title(title) : title, () => {
        it.each(libraries)("the README's examples of $manifest.name run", async ({ readme }) => {
          expect(await runExamples(path, together, readme)).toEqual([]);
        });
        it("the command line runs a model", async () => {
          expect(await generate(path, together, gguf)).toBe(" him, I will not go");
        });
        it("a CommonJS file may require every entry", async () => {
          expect(await requireAll(path, together)).toEqual(allEntries.map(({ path }) => path));
        });
      });
    }

    describe.each(publicPackages)("by pnpm, alone", ({ folder: of, readme, manifest }: PublicPackage) => {
      it(`${manifest.name} does what its README says`, async () => {
        const alone = join(folder, "pnpm", of);
        await installByPnpm(alone, installedByReadme(readme), tarballs);
        if (!existsSync(join(alone, "opt-demo.gguf"))) symlinkSync(gguf, join(alone, "opt-demo.gguf"));
        expect(await runExamples(process.execPath, alone, readme)).toEqual([]);
        if (manifest.bin) expect(await generate(process.execPath, alone, gguf)).toBe(" him, I will not go");
      });
    });

    it.each(Object.keys(RESOLUTIONS) as (keyof typeof RESOLUTIONS)[])("public types compile by %s", (how) => {
      expect(
        typeErrors(
          together,
          allEntries.map(({ path }) => path),
          how,
        ),
      ).toEqual([]);
    });

    it("types that do not fit are noticed", () => {
      expect(typeErrors(together, ["@flashwick/core/src/index.ts"], "bundler").join()).toContain("Cannot find module");
    });

    it.each(pageEntries)("esbuild bundles %s for a page", async (entry) => {
      const code = await bundleByEsbuild(together, entry);
      const budget = SIZE_BUDGETS[entry]?.bundleKiB;
      if (budget == null) return expect(code.length).toBeGreaterThan(100);
      const kib = transferBytes(code) / 1024;
      expect(kib).toBeLessThanOrEqual(budget);
      expect(kib).toBeGreaterThan(budget / 2);
    });

    it("esbuild notices what a page has not", async () => {
      await expect(bundleByEsbuild(together, "@flashwick/flash-io/node")).rejects.toThrow(/Could not resolve "node:/);
    });

    it("Vite bundles them all, with the scripts of their workers", async () => {
      const { files, warnings } = await bundleByVite(together, pageEntries);
      expect(warnings).toEqual([]);
      const worker = (name: string) => files.filter((file) => file.startsWith(`${name}-`) && file.endsWith(".js"));
      expect(worker("page-compute-worker")).toHaveLength(1);
      expect(worker("opfs-reader-worker")).toHaveLength(1);
    });
  });
});

/** What the command line makes of a prompt, greedily. */
async function generate(node: string, folder: string, gguf: string): Promise<string> {
  const program = join(folder, "node_modules/flashwick/dist/flashwick.js");
  const prompt = ["--prompt", "And the king said unto", "--max-tokens", "6", "--json", "--quiet"];
  const { stdout } = await run(node, [program, "run", gguf, ...prompt], folder);
  return JSON.parse(stdout).text;
}

/** The entries that `require` gives: Node 20.19 and later do so for ES modules. */
async function requireAll(node: string, folder: string): Promise<string[]> {
  const path = join(folder, "require-all.cjs");
  const entries = JSON.stringify(allEntries.map(({ path }) => path));
  const program = `const found = ${entries}.filter((entry) => Object.keys(require(entry)).length > 0);\nconsole.log(JSON.stringify(found));\n`;
  writeFileSync(path, program);
  const { stdout } = await run(node, [path], folder);
  return JSON.parse(stdout);
}
