// @ts-check
/** The rules, as pure functions from what was read to complaints. ARCHITECTURE.md says why each exists. */
import { builtinModules } from "node:module";
import { posix } from "node:path";
import { ARROWS, INSIDE_TOOLS, NODE_ONLY_PREFIXES, SCOPE } from "./arrows.mjs";
import { findFileCycles } from "./file-cycles.mjs";

/** @typedef {{ path: string, line: number, message: string }} Complaint */
/** @typedef {import("./workspace.mjs").Workspace} Workspace */
/** @typedef {import("./workspace.mjs").Member} Member */
/** @typedef {import("./module-file.mjs").ModuleImport} ModuleImport */

/** Files that are never published: they may import development dependencies and `node:` modules. */
const DEVELOPMENT_FILE = /\.(test|bench)\.\w+$|[.-]fixture\.\w+$|(^|\/)(bench|scripts|fixtures)\//;
const CONFIG_FILE = /(^|\/)[\w.-]+\.config\.\w+$/;
/** A `node/` folder, or a file that says so in its name: `node.ts`, `worker-node.ts`. */
const NODE_FILE = /(^|\/)node\/|(^|[/-])node[\w-]*\.\w+$/;

/** @param {string} path */
export function isDevelopmentFile(path) {
  return DEVELOPMENT_FILE.test(path) || CONFIG_FILE.test(path);
}

/**
 * @param {Workspace} workspace
 * @returns {Complaint[]} By path and line.
 */
export function findImportComplaints(workspace) {
  const complaints = [
    ...packageGraphComplaints(workspace),
    ...workspace.members.flatMap((member) => [
      ...[...member.modules].flatMap(([path, { imports }]) =>
        imports.flatMap((one) => importComplaints(workspace, member, path, one)),
      ),
      ...exportComplaints(member),
      ...cycleComplaints(member),
    ]),
  ];
  return complaints.sort((a, b) => (a.path === b.path ? a.line - b.line : a.path < b.path ? -1 : 1));
}

/** @param {Workspace} workspace @param {Member} member @param {string} path @param {ModuleImport} one @returns {Complaint[]} */
function importComplaints(workspace, member, path, one) {
  const { specifier, line } = one;
  /** @param {string | null} message @returns {Complaint[]} */
  const complain = (message) => (message === null ? [] : [{ path, line, message }]);
  if (specifier.startsWith(".")) return complain(leavingFolder(member, path, specifier));
  if (isNodeModule(specifier)) return complain(misplacedNodeImport(member, path, specifier));
  const name = packageName(specifier);
  if (name === member.manifest.name) return complain(`imports its own package as ${specifier}; import the file itself`);
  return [
    ...complain(forbiddenArrow(workspace, member, path, name)),
    ...complain(undeclared(workspace, member, path, name)),
  ];
}

/** @param {Member} member @param {string} path @param {string} specifier */
function leavingFolder(member, path, specifier) {
  if (CONFIG_FILE.test(path)) return null;
  const target = posix.join(posix.dirname(path), specifier);
  if (target.startsWith(`${member.folder}/`)) return null;
  if (target.startsWith("packages/") && INSIDE_TOOLS.some((prefix) => path.startsWith(prefix))) return null;
  return `imports ${specifier}, outside of ${member.folder}; import the other package by its name`;
}

/** @param {Member} member @param {string} path @param {string} specifier */
function misplacedNodeImport(member, path, specifier) {
  if (member.kind !== "packages" || NODE_ONLY_PREFIXES.some((prefix) => path.startsWith(prefix))) return null;
  const inside = path.slice(member.folder.length + 1);
  if (NODE_FILE.test(inside) || DEVELOPMENT_FILE.test(inside) || CONFIG_FILE.test(inside)) return null;
  return `imports ${specifier}, which browsers do not have; move it behind a ./node subpath, or take it as an argument`;
}

/** @param {Workspace} workspace @param {Member} member @param {string} path @param {string} name */
function forbiddenArrow(workspace, member, path, name) {
  const target = workspace.members.find(({ manifest }) => manifest.name === name);
  if (!target && !name.startsWith(SCOPE)) return null;
  if (!target) return `imports ${name}, which is no package of this workspace`;
  if (target.kind !== "packages") return `imports ${name}, but ${target.kind} are imported by nobody`;
  if (member.kind !== "packages" || DEVELOPMENT_FILE.test(path)) return null;
  return arrowMessage(member.id, target.id);
}

/** @param {string} from @param {string} to @returns {string | null} Null where the arrow is in the table. */
function arrowMessage(from, to) {
  const allowed = ARROWS.get(from);
  if (!allowed) return `package ${from} is not in tools/check-imports/src/arrows.mjs; decide what it may import`;
  if (allowed.includes(to)) return null;
  const list = allowed.length === 0 ? "no other package" : `only ${allowed.join(", ")}`;
  return `${from} -> ${to} is not an arrow of the design; ${from} may import ${list}`;
}

/** @param {Workspace} workspace @param {Member} member @param {string} path @param {string} name */
function undeclared({ rootManifest }, member, path, name) {
  const { manifest } = member;
  if (manifest.dependencies.has(name)) return null;
  const development = member.kind === "tools" || DEVELOPMENT_FILE.test(path) || CONFIG_FILE.test(path);
  if (!development) return `imports ${name}, which is not among the dependencies of ${manifest.path}`;
  if (manifest.devDependencies.has(name) || rootManifest.devDependencies.has(name)) return null;
  return `imports ${name}, which is neither in ${manifest.path} nor among the devDependencies of package.json`;
}

/** @param {Member} member @returns {Complaint[]} */
function exportComplaints({ modules }) {
  return [...modules].flatMap(([path, { starExports, defaultExports }]) => {
    const stars = starExports.map((line) => ({ path, line, message: "export *: list what is public by name" }));
    if (CONFIG_FILE.test(path)) return stars;
    return [...stars, ...defaultExports.map((line) => ({ path, line, message: "default export: give it a name" }))];
  });
}

/** @param {Member} member @returns {Complaint[]} */
function cycleComplaints({ folder, modules }) {
  return findFileCycles(modules).map((cycle) => {
    const names = cycle.map((path) => path.slice(folder.length + 1)).join(" -> ");
    return { path: /** @type {string} */ (cycle[0]), line: 1, message: `import cycle: ${names}` };
  });
}

/**
 * Arrows that a package.json declares, used or not, and cycles of packages when their tests' dependencies count, too:
 * builds run in that order.
 * @param {Workspace} workspace @returns {Complaint[]}
 */
function packageGraphComplaints({ members }) {
  const packages = members.filter(({ kind }) => kind === "packages");
  const byName = new Map(packages.map((member) => [member.manifest.name ?? "", member]));
  const complaints = packages.flatMap(({ id, manifest }) =>
    [...manifest.dependencies].flatMap((name) => {
      const target = byName.get(name);
      const message = target ? arrowMessage(id, target.id) : null;
      return message === null ? [] : [{ path: manifest.path, line: 1, message: `depends on ${name}: ${message}` }];
    }),
  );
  return [...complaints, ...packageCycles(byName)];
}

/** @param {Map<string, Member>} byName @returns {Complaint[]} */
function packageCycles(byName) {
  /** @param {string} from @param {string} goal @param {Set<string>} seen @returns {boolean} */
  const reaches = (from, goal, seen) => {
    const manifest = byName.get(from)?.manifest;
    if (!manifest || seen.has(from)) return false;
    seen.add(from);
    const next = [...manifest.dependencies, ...manifest.devDependencies];
    return next.includes(goal) || next.some((name) => reaches(name, goal, seen));
  };
  const tied = [...byName].filter(([name]) => reaches(name, name, new Set()));
  const names = tied.map(([name]) => name).join(", ");
  const message = `in a cycle of packages, devDependencies included: ${names}`;
  return tied.map(([, { manifest }]) => ({ path: manifest.path, line: 1, message }));
}

/** @param {string} specifier */
function isNodeModule(specifier) {
  return specifier.startsWith("node:") || builtinModules.includes(specifier.split("/")[0] ?? "");
}

/** @param {string} specifier `@scope/name/sub` -> `@scope/name`. */
export function packageName(specifier) {
  const parts = specifier.split("/");
  return specifier.startsWith("@") ? parts.slice(0, 2).join("/") : (parts[0] ?? specifier);
}
