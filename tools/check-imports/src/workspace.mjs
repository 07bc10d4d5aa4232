// @ts-check
/** What is checked: the members of the workspace with their modules, and every text file of the project. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseModule } from "./module-file.mjs";

/** Results of builds and installs, and AssemblyScript, whose imports are not ES modules. Names of folders anywhere. */
const SKIPPED_FOLDERS = new Set(["node_modules", "dist", "coverage", "generated", "assembly"]);
const MODULE_FILE = /(?<!\.d)\.m?[jt]sx?$/;
const TEXT_FILE = /\.(m?[jt]sx?|json|ya?ml|md|html|css|svg|csv|py|sh|wgsl|npmrc)$|\/(run|LICENSE)$/;

/**
 * @typedef {object} Member  A folder in packages/, apps/ or tools/.
 * @property {"packages" | "apps" | "tools"} kind
 * @property {string} id  Its folder's name.
 * @property {string} folder  Relative to the root, with `/`.
 * @property {Manifest} manifest  The root's own where it has none.
 * @property {Map<string, import("./module-file.mjs").ModuleFile>} modules  By path relative to the root.
 */

/**
 * @typedef {object} Manifest
 * @property {string} path
 * @property {string | null} name
 * @property {Set<string>} dependencies  Peer and optional ones included.
 * @property {Set<string>} devDependencies
 */

/**
 * @typedef {object} Workspace
 * @property {Member[]} members
 * @property {Manifest} rootManifest
 * @property {{ path: string, text: string }[]} texts
 */

/**
 * @param {string} root
 * @returns {Workspace}
 */
export function readWorkspace(root) {
  const rootManifest = readManifest(root, "package.json");
  const members = /** @type {const} */ (["packages", "apps", "tools"]).flatMap((kind) =>
    foldersIn(join(root, kind)).map((id) => readMember(root, kind, id, rootManifest)),
  );
  const texts = filesUnder(root, "", (path) => TEXT_FILE.test(`/${path}`)).map((path) => ({
    path,
    text: readFileSync(join(root, path), "utf8"),
  }));
  return { members, rootManifest, texts };
}

/**
 * @param {string} root @param {Member["kind"]} kind @param {string} id @param {Manifest} rootManifest
 * @returns {Member}
 */
function readMember(root, kind, id, rootManifest) {
  const folder = `${kind}/${id}`;
  const manifestPath = `${folder}/package.json`;
  const manifest = existsSync(join(root, manifestPath)) ? readManifest(root, manifestPath) : rootManifest;
  const paths = filesUnder(root, folder, (path) => MODULE_FILE.test(path));
  const modules = new Map(paths.map((path) => [path, parseModule(path, readFileSync(join(root, path), "utf8"))]));
  return { kind, id, folder, manifest, modules };
}

/** @param {string} root @param {string} path @returns {Manifest} */
function readManifest(root, path) {
  const json = JSON.parse(readFileSync(join(root, path), "utf8"));
  const { dependencies = {}, peerDependencies = {}, optionalDependencies = {}, devDependencies = {} } = json;
  return {
    path,
    name: json.name ?? null,
    dependencies: new Set(Object.keys({ ...dependencies, ...peerDependencies, ...optionalDependencies })),
    devDependencies: new Set(Object.keys(devDependencies)),
  };
}

/** @param {string} path @returns {string[]} */
function foldersIn(path) {
  if (!existsSync(path)) return [];
  const entries = readdirSync(path, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith(".")).map(({ name }) => name);
}

/**
 * Files under `folder`, as paths relative to `root`, in a fixed order.
 * @param {string} root @param {string} folder @param {(path: string) => boolean} wanted
 * @returns {string[]}
 */
function filesUnder(root, folder, wanted) {
  const entries = readdirSync(join(root, folder), { withFileTypes: true });
  return entries
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const path = folder === "" ? entry.name : `${folder}/${entry.name}`;
      if (entry.isDirectory()) return isSkipped(path, entry.name) ? [] : filesUnder(root, path, wanted);
      return entry.isFile() && wanted(path) ? [path] : [];
    });
}

/** @param {string} path @param {string} name */
function isSkipped(path, name) {
  // `models` at the root and `docs/site` are made by commands; hidden folders belong to tools, but for those we write.
  if (path === "models" || path === "docs/site") return true;
  if (name.startsWith(".")) return name !== ".ci" && name !== ".changeset" && name !== ".github";
  return SKIPPED_FOLDERS.has(name);
}
