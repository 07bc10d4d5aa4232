import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

// By address: the scripts are JavaScript, which Node 20 runs as it stands, and TypeScript does not look into.
const scripts = (name: string) => import(new URL(name, import.meta.url).href);
const { realArrows, withoutDetours, withPackageGraph } = await scripts("./package-graph.mjs");
const { readWorkspace } = await scripts("./workspace.mjs");

const root = fileURLToPath(new URL("../../..", import.meta.url));
const workspace = readWorkspace(root);

it("the graph in ARCHITECTURE.md shows the imports that there are: run tools/check-imports/draw-graph.mjs", () => {
  const text = readFileSync(`${root}/ARCHITECTURE.md`, "utf8");
  expect(withPackageGraph(text, workspace)).toBe(text);
});

it("an arrow is an import of a source, not of a test", () => {
  const arrows: ReadonlyMap<string, ReadonlySet<string>> = realArrows(workspace);
  expect(arrows.get("core")).toEqual(new Set());
  expect(arrows.get("runtime")).toContain("kernels-webgpu");
  expect([...arrows.values()].flatMap((targets) => [...targets])).not.toContain("test-capabilities");
});

it("leaves out an arrow beside a longer way", () => {
  const arrows = new Map([
    ["a", new Set(["b", "c"])],
    ["b", new Set(["c"])],
    ["c", new Set<string>()],
  ]);
  expect(withoutDetours(arrows)).toEqual(
    new Map([
      ["a", new Set(["b"])],
      ["b", new Set(["c"])],
      ["c", new Set()],
    ]),
  );
});

it("refuses a page without marks", () => {
  expect(() => withPackageGraph("# Architecture\n", workspace)).toThrow(/around the graph/);
});
