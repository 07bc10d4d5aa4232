import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

// By address: the scripts are JavaScript, which TypeScript does not look into.
const { benchCommand, findBenches } = await import(new URL("./benches.mjs", import.meta.url).href);

interface Bench {
  readonly name: string;
  readonly path: string;
  readonly about: string;
}

const root = fileURLToPath(new URL("../../../", import.meta.url));
const benches: readonly Bench[] = findBenches(root);

it("finds every bench that git knows, under a name of its own, with a word on what it measures", () => {
  const files = execFileSync("git", ["ls-files", "*.bench.*"], { cwd: root, encoding: "utf8" }).trim().split("\n");
  const paths = benches.map(({ path }) => path);
  expect(paths).toEqual(expect.arrayContaining(files));
  expect(paths).toContain("tools/results/quality.mjs");
  expect(new Set(benches.map(({ name }) => name)).size).toBe(benches.length);
  expect(benches.filter(({ about }) => !/^[A-Z]\S* \S+/.test(about))).toEqual([]);
});

it("runs scripts by Node, and benches in TypeScript by vitest", () => {
  const commandOf = (name: string) => benchCommand(benches.find((bench) => bench.name === name)!, ["-x"]);
  expect(commandOf("kernels")).toEqual(["packages/kernels-wasm/bench/kernels.bench.mjs", "-x"]);
  expect(commandOf("cache")).toEqual([
    "node_modules/vitest/vitest.mjs",
    "bench",
    "--run",
    "packages/dram-cache/bench/cache.bench.ts",
    "-x",
  ]);
});
