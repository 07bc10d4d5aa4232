// @ts-check
/** Cycles between the modules of one member: also through types and `import()`, since files in a cycle can be read only together. */
import { posix } from "node:path";

/**
 * One cycle for each strongly connected knot of files, as paths that begin and end with the same file, smallest first.
 *
 * @param {ReadonlyMap<string, import("./module-file.mjs").ModuleFile>} modules
 * @returns {string[][]}
 */
export function findFileCycles(modules) {
  /** @type {Map<string, "open" | "done">} */
  const state = new Map();
  /** @type {string[]} */
  const trail = [];
  /** @type {string[][]} */
  const cycles = [];
  /** @param {string} path */
  const visit = (path) => {
    state.set(path, "open");
    trail.push(path);
    for (const next of namedBy(path, modules)) {
      if (state.get(next) === "open") cycles.push([...trail.slice(trail.indexOf(next)), next]);
      else if (!state.has(next)) visit(next);
    }
    trail.pop();
    state.set(path, "done");
  };
  for (const path of modules.keys()) if (!state.has(path)) visit(path);
  return cycles;
}

/** @param {string} path @param {ReadonlyMap<string, import("./module-file.mjs").ModuleFile>} modules @returns {string[]} */
function namedBy(path, modules) {
  const imports = modules.get(path)?.imports ?? [];
  const relative = imports.filter(({ specifier }) => specifier.startsWith("."));
  return relative.map(({ specifier }) => resolveModule(path, specifier, modules)).filter((target) => target !== null);
}

/**
 * The file that a relative specifier means, or null when it is not among `modules` (generated, JSON, a folder away).
 * @param {string} from @param {string} specifier @param {ReadonlyMap<string, unknown>} modules
 * @returns {string | null}
 */
function resolveModule(from, specifier, modules) {
  const path = posix.join(posix.dirname(from), specifier);
  const candidates = [
    path,
    path.replace(/\.js$/, ".ts"),
    path.replace(/\.js$/, ".tsx"),
    path.replace(/\.mjs$/, ".mts"),
  ];
  return candidates.find((candidate) => modules.has(candidate)) ?? null;
}
