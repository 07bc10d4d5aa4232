/** The script on a small workspace that breaks every rule once, beside files that keep it. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const script = fileURLToPath(new URL("../check-imports.mjs", import.meta.url));
let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "check-imports-"));
  write("package.json", JSON.stringify({ name: "workspace", devDependencies: { vitest: "1.0.0" } }));
  addPackage("core");
  addPackage("kernels", ["core"]);
  addPackage("predictor", ["core", "kernels"]);
});
afterEach(() => rmSync(root, { recursive: true }));

function write(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

function addPackage(id: string, dependencies: string[] = [], devDependencies: string[] = [], kind = "packages"): void {
  const versions = (ids: string[]) => Object.fromEntries(ids.map((one) => [`@flashwick/${one}`, "workspace:*"]));
  const manifest = {
    name: `@flashwick/${id}`,
    dependencies: versions(dependencies),
    devDependencies: versions(devDependencies),
  };
  write(`${kind}/${id}/package.json`, JSON.stringify(manifest));
}

/** Lines of complaint, or [] when the script is content. */
function check(): string[] {
  try {
    execFileSync(process.execPath, [script, root], { stdio: "pipe" });
    return [];
  } catch (error) {
    const { stderr, status } = error as { stderr: Buffer; status: number };
    expect(status).toBe(1);
    return stderr.toString().trim().split("\n").slice(0, -1);
  }
}

describe("check-imports", () => {
  it("accepts what the design allows", () => {
    write("packages/core/src/index.ts", 'export { a } from "./a.js";\nexport type { B } from "./b.js";\n');
    write("packages/core/src/a.ts", 'import type { B } from "./b.js";\nexport const a: B = 1;\n');
    write("packages/core/src/b.ts", "export type B = number;\n");
    write("packages/core/src/node/index.ts", 'import { readSync } from "node:fs";\nexport const read = readSync;\n');
    write("packages/core/src/a.test.ts", 'import { it } from "vitest";\nimport "node:fs";\nit("is");\n');
    write("packages/core/tsup.config.ts", 'import base from "../../tsup.base.js";\nexport default base;\n');
    write("packages/kernels/src/index.ts", 'export { a } from "@flashwick/core";\n');
    write("README.md", "See https://example.org/home/page and https://www.npmjs.com/package/typescript.\n");
    expect(check()).toEqual([]);
  });

  it("names file and line of an arrow that is not in the table, type-only ones included", () => {
    addPackage("kernels", ["core", "predictor"]);
    write(
      "packages/kernels/src/index.ts",
      '// one\nimport type { P } from "@flashwick/predictor/train";\nexport type Q = P;\n',
    );
    expect(check()).toEqual([
      expect.stringMatching(/^packages\/kernels\/package\.json:1: .*kernels -> predictor is not an arrow/),
      expect.stringMatching(
        /^packages\/kernels\/package\.json:1: in a cycle of packages.*kernels, @flashwick\/predictor/,
      ),
      expect.stringMatching(/^packages\/kernels\/src\/index\.ts:2: kernels -> predictor .* may import only core$/),
      expect.stringMatching(/^packages\/predictor\/package\.json:1: in a cycle of packages/),
    ]);
  });

  it("lets tests import what package.json declares for development, but no app", () => {
    addPackage("core", [], ["dram-cache"]);
    addPackage("dram-cache");
    addPackage("cli", [], [], "apps");
    write("packages/core/src/a.test.ts", 'import "@flashwick/dram-cache";\nimport "@flashwick/cli";\n');
    expect(check()).toEqual([
      expect.stringMatching(/a\.test\.ts:2: imports @flashwick\/cli, but apps are imported by nobody$/),
      expect.stringMatching(/a\.test\.ts:2: imports @flashwick\/cli, which is neither in/),
    ]);
  });

  it("refuses packages that package.json does not declare, and unknown ones of our scope", () => {
    write(
      "packages/core/src/a.ts",
      'import "left-pad/sub";\nconst b = import("@flashwick/cores");\nimport "vitest";\n',
    );
    expect(check()).toEqual([
      expect.stringMatching(/a\.ts:1: imports left-pad, which is not among the dependencies of packages\/core/),
      expect.stringMatching(/a\.ts:2: imports @flashwick\/cores, which is no package of this workspace$/),
      expect.stringMatching(/a\.ts:2: imports @flashwick\/cores, which is not among/),
      expect.stringMatching(/a\.ts:3: imports vitest, which is not among/),
    ]);
  });

  it("finds cycles of files", () => {
    write("packages/core/src/a.ts", 'import { b } from "./b.js";\nexport const a = () => b;\n');
    write("packages/core/src/b.ts", 'export { c as b } from "./deep/c.js";\n');
    write("packages/core/src/deep/c.ts", 'import { a } from "../a.js";\nexport const c = a;\n');
    expect(check()).toEqual([
      "packages/core/src/a.ts:1: import cycle: src/a.ts -> src/b.ts -> src/deep/c.ts -> src/a.ts",
    ]);
  });

  it("finds cycles of files that only types or deferred imports close", () => {
    write("packages/core/src/a.ts", 'import type { B } from "./b.js";\nexport const a: B = 1;\n');
    write("packages/core/src/b.ts", 'import { type a } from "./a.js";\nexport type B = number | typeof a;\n');
    write("packages/core/src/c.ts", 'export const c = () => import("./d.js");\n');
    write("packages/core/src/d.ts", 'import { c } from "./c.js";\nexport const d = c;\n');
    expect(check()).toEqual([
      "packages/core/src/a.ts:1: import cycle: src/a.ts -> src/b.ts -> src/a.ts",
      "packages/core/src/c.ts:1: import cycle: src/c.ts -> src/d.ts -> src/c.ts",
    ]);
  });

  it("refuses export *, default exports, node: in browser code, and paths that leave the package", () => {
    write(
      "packages/core/src/a.ts",
      [
        'export * from "./b.js";',
        "export default 1;",
        'import fs from "node:fs";',
        'import path from "path/posix";',
        'import { k } from "../../kernels/src/k.js";',
        "export { k as default };",
        "export default class K {}",
      ].join("\n"),
    );
    write("packages/core/src/b.ts", "export const b = 1;\n");
    expect(check().map((line) => line.replace("packages/core/src/a.ts:", "").slice(0, 22))).toEqual([
      "1: export *: list what",
      "2: default export: giv",
      "3: imports node:fs, wh",
      "4: imports path/posix,",
      "5: imports ../../kerne",
      "6: default export: giv",
      "7: default export: giv",
    ]);
  });

  it("refuses text of one machine", () => {
    const path = ["", "home", "someone", "model.gguf"].join("/");
    const registry = ["https://", "registry", ".example.org/core.tgz"].join("");
    write("docs/a.md", `fine\nflashwick run ${path}\n`);
    write("pnpm-lock.yaml", `  resolution:\n    tarball: ${registry}\n`);
    expect(check()).toEqual([
      "docs/a.md:2: an absolute path of somebody's machine",
      "pnpm-lock.yaml:2: the address of a package registry",
      "pnpm-lock.yaml:2: a setting of one machine's registry",
    ]);
  });
});
