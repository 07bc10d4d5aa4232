// @ts-check
/** Cycles between the modules of one member, through imports that exist when the program runs. */
import { posix } from "node:path";

/**
 * One cycle for each strongly connected knot of files, as paths that begin and end with the same file, smallest first.
 * Type-only imports vanish and `import()` runs later, so neither ties a knot.
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
    for (const next of loadedBy(path, modules)) {
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
function loadedBy(path, modules) {
  const imports = modules.get(path)?.imports ?? [];
  const loaded = imports.filter(
    ({ specifier, typeOnly, deferred }) => specifier.startsWith(".") && !typeOnly && !deferred,
  );
  return loaded.map(({ specifier }) => resolveModule(path, specifier, modules)).filter((target) => target !== null);
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
