// @ts-check
/** What the site consists of, and how typedoc is told. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { arrangeSite } from "./arrange-site.mjs";
import { extendMarkdown, simplifyPages } from "./page-markup.mjs";

/** Guides in the order in which a reader needs them; one that is not listed stands at the end. */
const GUIDES = [
  "README",
  "run-a-model",
  "chat",
  "mixtures-of-experts",
  "convert",
  "train-a-predictor",
  "read-the-results",
  "embed-in-an-app",
  "embed-in-a-page",
  "array-jobs",
  "write-a-cache-policy",
  "write-a-chooser",
  "write-a-kernel-backend",
  "read-the-file-format",
  "when-not-to-use",
];

/** Everything that is exported must say what it is. Members of a type speak for themselves where their names do. */
const MUST_BE_DOCUMENTED = ["Enum", "Variable", "Function", "Class", "Interface", "TypeAlias", "Method", "Accessor"];

/** @typedef {{ readonly name: string, readonly entry: string, readonly folder: string }} ApiModule */

/**
 * @param {string} root  The repository. @param {string} out  The folder of the site.
 * @returns {Partial<import("typedoc").TypeDocOptions>}
 */
export function siteOptions(root, out) {
  const modules = apiModules(root);
  const pages = sitePages(root);
  return {
    name: "flashwick",
    entryPoints: modules.map(({ entry }) => join(root, entry)),
    tsconfig: join(root, "tsconfig.json"),
    exclude: ["**/*.test.ts", "**/*.fixture.ts"],
    out,
    basePath: root,
    readme: join(root, "README.md"),
    projectDocuments: pages.map(({ path }) => join(root, path)),
    plugin: [(app) => arrangeSite(app, root, modules, pages), simplifyPages],
    markdownItLoader: extendMarkdown,
    customCss: join(root, "tools/docs-site/src/site.css"),
    navigation: { includeGroups: true, includeFolders: false },
    headings: { readme: false, document: false },
    navigationLeaves: modules.map(({ name }) => name),
    groupOrder: ["Guides", "Background", "Packages", "Programs", "Results", "Decisions", "*"],
    sort: ["alphabetical-ignoring-documents"],
    sortEntryPoints: false,
    searchInComments: true,
    searchInDocuments: true,
    searchGroupBoosts: { Guides: 6, Background: 2 },
    excludePrivate: true,
    excludeInternal: true,
    hideGenerator: true,
    disableSources: true,
    requiredToBeDocumented: /** @type {any} */ (MUST_BE_DOCUMENTED),
    packagesRequiringDocumentation: [...new Set(modules.map(({ name }) => name.split("/").slice(0, 2).join("/")))],
    validation: { notExported: false, invalidLink: true, invalidPath: true, rewrittenLink: true, notDocumented: true },
  };
}

/**
 * Every subpath that a package exports, by the condition that names its sources.
 *
 * @param {string} root @returns {ApiModule[]}
 */
export function apiModules(root) {
  return foldersIn(root, "packages").flatMap((folder) => {
    const manifest = JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8"));
    if (manifest.private) return [];
    return Object.entries(manifest.exports).flatMap(([subpath, conditions]) => {
      const source = conditions["flashwick-source"];
      if (typeof source !== "string") return [];
      return [{ name: join(manifest.name, subpath), entry: join(folder, source), folder }];
    });
  });
}

/** @typedef {{ readonly path: string, readonly group: string }} SitePage */

/** @param {string} root @returns {SitePage[]} In the order of the site. */
export function sitePages(root) {
  const pages = (/** @type {string} */ group, /** @type {string[]} */ paths) => paths.map((path) => ({ path, group }));
  const markdown = (/** @type {string} */ folder) =>
    readdirSync(join(root, folder))
      .filter((name) => name.endsWith(".md"))
      .sort()
      .map((name) => `${folder}/${name}`);
  const rank = (/** @type {string} */ path) =>
    (GUIDES.findIndex((id) => path.endsWith(`/${id}.md`)) + GUIDES.length + 1) % (GUIDES.length + 1);
  const guides = markdown("docs/guides").sort((a, b) => rank(a) - rank(b));
  const specifications = foldersIn(root, "packages").map((folder) => `${folder}/SPEC.md`);
  const programs = ["apps", "tools"].flatMap((kind) => foldersIn(root, kind)).map((folder) => `${folder}/README.md`);
  return [
    ...pages("Guides", guides),
    ...pages("Background", ["ARCHITECTURE.md", ...markdown("docs"), "CONTRIBUTING.md", "SECURITY.md"]),
    ...pages("Background", [...specifications, "packages/demo-models/CARD.md"]),
    ...pages("Programs", programs),
    ...pages("Results", markdown("docs/results")),
    ...pages("Decisions", markdown("docs/decisions")),
  ].filter(({ path }) => existsSync(join(root, path)));
}

/** @param {string} root @param {string} kind @returns {string[]} */
function foldersIn(root, kind) {
  const entries = readdirSync(join(root, kind), { withFileTypes: true });
  return entries
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => `${kind}/${name}`)
    .sort();
}
