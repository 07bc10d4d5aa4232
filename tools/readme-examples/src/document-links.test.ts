/** Documents point at files that exist: links of every page, and the paths in the paper map. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const SKIPPED = /^(node_modules|dist|models|site|coverage|\..*)$/;

/** Markdown files, relative to the root. */
function pages(folder = ""): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return SKIPPED.test(entry.name) ? [] : pages(path);
    return entry.name.endsWith(".md") ? [path] : [];
  });
}

/** Targets of links and pictures that are neither addresses nor places in the same page, without code blocks. */
function relativeTargets(markdown: string): string[] {
  const prose = markdown.replace(/^```[\s\S]*?^```$/gm, "").replace(/`[^`\n]*`/g, "");
  const targets = [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target);
  return targets.filter((target) => !/^(https?:|mailto:|#)/.test(target)).map((target) => target.split("#")[0]!);
}

it.each(pages())("%s links to files that exist", (page) => {
  const targets = relativeTargets(readFileSync(join(root, page), "utf8"));
  expect(targets.filter((target) => !existsSync(join(root, dirname(page), target)))).toEqual([]);
});

it("docs/paper-map.md names files that exist", () => {
  const text = readFileSync(join(root, "docs/paper-map.md"), "utf8");
  const paths = [...text.matchAll(/`([\w-]+\/src\/[\w./-]*)`/g)].map(([, path = ""]) => path);
  expect(paths.length).toBeGreaterThan(20);
  expect(paths.filter((path) => !existsSync(join(root, "packages", path)))).toEqual([]);
});
