// @ts-check
/** The manifests of the packages of others that are installed here. */
import { existsSync, lstatSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * @typedef {object} InstalledPackage
 * @property {string} id Name and version.
 * @property {string} licence As its manifest has it, an SPDX expression; empty: it says nothing.
 * @property {readonly string[]} installScripts Names of the scripts that would run when it is installed.
 */

const INSTALL_SCRIPTS = ["preinstall", "install", "postinstall"];

/** @param {string} root The repository. @returns {ReadonlyMap<string, InstalledPackage>} By id. */
export function installedPackages(root) {
  const store = join(root, "node_modules/.pnpm");
  const folders = readdirSync(store).flatMap((entry) => ownFolders(join(store, entry, "node_modules")));
  return new Map(folders.map((folder) => packageIn(folder)).map((found) => [found.id, found]));
}

/** Folders of packages that are no links to others'. @param {string} modules @returns {string[]} */
function ownFolders(modules) {
  if (!existsSync(modules)) return [];
  return readdirSync(modules).flatMap((name) => {
    const path = join(modules, name);
    if (lstatSync(path).isSymbolicLink()) return [];
    if (name.startsWith("@")) return ownFolders(path);
    return existsSync(join(path, "package.json")) ? [path] : [];
  });
}

/** @param {string} folder @returns {InstalledPackage} */
function packageIn(folder) {
  const {
    name,
    version,
    license,
    licenses,
    scripts = {},
  } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const named = INSTALL_SCRIPTS.filter((script) => script in scripts);
  // npm compiles these without being told to.
  const installScripts = named.length === 0 && existsSync(join(folder, "binding.gyp")) ? ["binding.gyp"] : named;
  return { id: `${name}@${version}`, licence: licenceOf(license ?? licenses), installScripts };
}

/** A text, or what older manifests have. @param {unknown} found @returns {string} */
function licenceOf(found) {
  if (typeof found === "string") return found;
  if (Array.isArray(found)) return found.map(licenceOf).join(" OR ");
  return typeof found === "object" && found !== null && "type" in found ? String(found.type) : "";
}
