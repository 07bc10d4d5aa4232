import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

// By address: the scripts are JavaScript, which Node 20 runs as it stands, and TypeScript does not look into.
const scripts = (name: string) => import(new URL(name, import.meta.url).href);
const { brokenLinks } = await scripts("./broken-links.mjs");
const { apiModules, sitePages } = await scripts("./site-options.mjs");

const root = fileURLToPath(new URL("../../..", import.meta.url));

describe("broken links", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "docs-site-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("are those to no file, to a folder, and to no place in a page", () => {
    writeFileSync(join(folder, "other.html"), '<h1 id="top&amp;all">Other</h1>');
    const links = ["other.html#top&amp;all", "#here", "https://example.org", "none.html", "other.html#end", "."];
    writeFileSync(
      join(folder, "index.html"),
      `<p id="here">${links.map((link) => `<a href="${link}">x</a>`).join("")}</p>`,
    );
    expect(brokenLinks(folder)).toEqual([
      { page: "index.html", link: "none.html", reason: "no such file" },
      { page: "index.html", link: "other.html#end", reason: 'no place "end" in that page' },
      { page: "index.html", link: ".", reason: "a folder, expected a file" },
    ]);
  });
});

it("the site has every subpath that a package exports, by the name of its import", () => {
  const names = apiModules(root).map(({ name }: { readonly name: string }) => name);
  expect(names).toEqual(
    expect.arrayContaining(["@flashwick/core", "@flashwick/runtime/node", "@flashwick/predictor/train/node"]),
  );
  expect(names).not.toContain("@flashwick/test-capabilities");
});

it("the site has every guide, and their list first", () => {
  const paths = sitePages(root).map(({ path }: { readonly path: string }) => path);
  expect(paths.slice(0, 2)).toEqual(["docs/guides/README.md", "docs/guides/run-a-model.md"]);
  expect(paths).toEqual(
    expect.arrayContaining(["docs/paper-map.md", "packages/flash-format/SPEC.md", "docs/decisions/README.md"]),
  );
});
