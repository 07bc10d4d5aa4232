// @ts-check
/** docs/licences.csv: every package of others, what it is needed for, and its licence. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** @typedef {{ id: string, use: "production" | "development", licence: string }} LicenceRow */

const HEAD = "package,use,licence";

/** Licences under which code may be part of, or beside, what is published under Apache-2.0. */
const PERMISSIVE = [
  "MIT",
  "MIT-0",
  "ISC",
  "Apache-2.0",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "0BSD",
  "BlueOak-1.0.0",
  "CC0-1.0",
  "Unlicense",
  "Zlib",
];
/** Further ones of tools: nothing of them is published. */
const OF_TOOLS = ["MPL-2.0", "EPL-2.0", "Python-2.0", "CC-BY-3.0", "CC-BY-4.0"];

/**
 * Whether a package may be used so. Of an expression with OR one part must fit, of one with AND every part.
 *
 * @param {LicenceRow} row
 */
export function isCompatible({ use, licence }) {
  const known = use === "production" ? PERMISSIVE : [...PERMISSIVE, ...OF_TOOLS];
  return licence
    .replace(/[()]/g, "")
    .split(" OR ")
    .some((part) => part.split(" AND ").every((one) => known.includes(one.trim())));
}

/** What a manifest does not say as an expression: read in the package's own file. */
const LOOKED_UP = new Map([["spawndamnit@3.0.1", "MIT"]]);

/** @param {string} root @returns {string} */
export function tablePath(root) {
  return join(root, "docs/licences.csv");
}

/** @param {string} root The repository. @returns {LicenceRow[]} */
export function readTable(root) {
  const path = tablePath(root);
  const lines = existsSync(path) ? readFileSync(path, "utf8").trim().split("\n").slice(1) : [];
  return lines.map((line) => {
    const [id = "", use = "", licence = ""] = line.split(",");
    return { id, use: /** @type {LicenceRow["use"]} */ (use), licence };
  });
}

/** @param {readonly LicenceRow[]} rows */
export function writtenTable(rows) {
  return `${[HEAD, ...rows.map(({ id, use, licence }) => `${id},${use},${licence}`)].join("\n")}\n`;
}

/**
 * The table of what is locked. The licence of a package that is not installed, since it is for another system, is the one in the table so far, or that of
 * its siblings: packages of one scope or name that are for other systems.
 *
 * @param {readonly import("./lockfile.mjs").LockedPackage[]} locked
 * @param {ReadonlyMap<string, import("./installed-packages.mjs").InstalledPackage>} installed
 * @param {readonly LicenceRow[]} before
 * @returns {LicenceRow[]}
 * @throws {Error} naming a package whose licence is not known.
 */
export function makeTable(locked, installed, before) {
  const known = new Map(before.map(({ id, licence }) => [id, licence]));
  return locked.map(({ id, name, version, isProduction }) => {
    const licence =
      LOOKED_UP.get(id) || installed.get(id)?.licence || known.get(id) || siblingLicence(name, version, installed);
    if (!licence)
      throw new Error(
        `${id}: its manifest names no licence, or it is not installed here; look it up, and add "${id},<use>,<licence>" to docs/licences.csv`,
      );
    return { id, use: isProduction ? "production" : "development", licence };
  });
}

/** @param {string} name @param {string} version @param {ReadonlyMap<string, import("./installed-packages.mjs").InstalledPackage>} installed */
function siblingLicence(name, version, installed) {
  const family = name.startsWith("@") ? name.slice(0, name.indexOf("/") + 1) : `${name.split("-")[0]}-`;
  for (const [id, { licence }] of installed) if (id.startsWith(family) && id.endsWith(`@${version}`)) return licence;
  return "";
}
