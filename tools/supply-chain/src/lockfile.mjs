// @ts-check
/** The packages of others, as the lockfile has them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";

/**
 * @typedef {object} LockedPackage
 * @property {string} id Name and version: `valibot@1.5.0`.
 * @property {string} name
 * @property {string} version
 * @property {boolean} isForPlatform For some systems only: it need not be installed here.
 * @property {boolean} isProduction A published package needs it, directly or through others.
 * @property {string | null} integrity Hash of its tarball in the registry; null: it comes from elsewhere.
 */

/** @param {string} root The repository. @returns {readonly LockedPackage[]} By id. */
export function lockedPackages(root) {
  const lock = parse(readFileSync(join(root, "pnpm-lock.yaml"), "utf8"));
  const production = productionIds(lock, root);
  return Object.entries(lock.packages).map(([id, { resolution, os, cpu, libc }]) => {
    const at = id.lastIndexOf("@");
    return {
      ...{ id, name: id.slice(0, at), version: id.slice(at + 1) },
      isForPlatform: Boolean(os ?? cpu ?? libc),
      isProduction: production.has(id),
      integrity: Object.keys(resolution).length === 1 ? (resolution.integrity ?? null) : null,
    };
  });
}

/** Ids without what is in brackets: which packages beside it were chosen. @param {string} key */
const idOf = (key) => key.replace(/\(.*$/, "");

/** @param {any} lock @param {string} root @returns {Set<string>} */
function productionIds(lock, root) {
  const found = new Set();
  /** @param {string} key */
  const visit = (key) => {
    if (found.has(idOf(key)) || !(key in lock.snapshots)) return;
    found.add(idOf(key));
    const { dependencies, optionalDependencies } = lock.snapshots[key];
    // A peer that need not be there is not there where a user installs: here it is somebody else's.
    const { peerDependenciesMeta: peers = {} } = lock.packages[idOf(key)];
    for (const [name, version] of Object.entries({ ...dependencies, ...optionalDependencies })) {
      if (!peers[name]?.optional) visit(keyOf(name, version));
    }
  };
  for (const [folder, { dependencies, optionalDependencies }] of Object.entries(lock.importers)) {
    if (folder === "." || JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8")).private) continue;
    for (const [name, { version }] of Object.entries({ ...dependencies, ...optionalDependencies }))
      visit(keyOf(name, version));
  }
  return found;
}

/** An alias has the other package's whole key for a version. @param {string} name @param {string} version */
function keyOf(name, version) {
  return /^\d/.test(version) ? `${name}@${version}` : version;
}
