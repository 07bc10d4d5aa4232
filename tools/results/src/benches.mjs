/** Every measurement of the repository: benches of packages, which stand beside their code, and scripts that write docs/results. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/**
 * @typedef {object} Bench
 * @property {string} name  Of the file, without endings.
 * @property {string} path  From the root of the repository.
 * @property {string} about  The first words of the file.
 */

const BENCH = /\.bench\.(mjs|ts)$/;

/** @param {string} root @returns {Bench[]} By path. */
export function findBenches(root) {
  const packages = readdirSync(join(root, "packages")).flatMap((id) => filesOf(root, `packages/${id}/bench`));
  const paths = [
    ...packages.filter((path) => BENCH.test(path)),
    "tools/browser/measure.mjs",
    ...filesOf(root, "tools/results").filter((path) => path.endsWith(".mjs") && !path.endsWith("/bench.mjs")),
  ];
  return paths.map((path) => ({ name: nameOf(path), path, about: aboutOf(readFileSync(join(root, path), "utf8")) }));
}

/**
 * What runs it, from the root.
 *
 * @param {Bench} bench @param {readonly string[]} args Its own.
 * @returns {string[]} A program of Node and its arguments.
 */
export function benchCommand({ path }, args) {
  return path.endsWith(".ts") ? ["node_modules/vitest/vitest.mjs", "bench", "--run", path, ...args] : [path, ...args];
}

/** @param {string} root @param {string} folder @returns {string[]} */
function filesOf(root, folder) {
  try {
    return readdirSync(join(root, folder)).map((name) => `${folder}/${name}`);
  } catch {
    // A package without benches.
    return [];
  }
}

/** @param {string} path */
function nameOf(path) {
  return path
    .replace(/^.*\//, "")
    .replace(BENCH, "")
    .replace(/\.mjs$/, "");
}

/** The first sentence, without its command. @param {string} source */
function aboutOf(source) {
  const [, words = ""] = /^\/\*\*\n? ?\*? ?([\s\S]*?)(?:[.;?](?:\s|$)|:\s*\n|: node )/.exec(source) ?? [];
  return words.replaceAll(/\s*\n \* ?/g, " ").trim();
}
