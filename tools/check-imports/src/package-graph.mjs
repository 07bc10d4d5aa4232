// @ts-check
/** The picture of packages in ARCHITECTURE.md, drawn from the imports that there are. */
import { isDevelopmentFile, packageName } from "./rules.mjs";

/** @typedef {import("./workspace.mjs").Workspace} Workspace */
/** @typedef {Map<string, Set<string>>} Arrows  A package's folder name -> those that its sources import. */

const BEGIN = "<!-- package graph: written by `node tools/check-imports/draw-graph.mjs` -->";
const END = "<!-- end of the package graph -->";
/** Everything that nobody imports, as one node. */
const PROGRAMS = "apps and tools";
/** For tests alone; no source that is shipped imports it. */
const LEFT_OUT = "test-capabilities";

/**
 * The text with the picture as the imports make it now.
 *
 * @param {string} text  Of ARCHITECTURE.md. @param {Workspace} workspace
 * @returns {string}
 * @throws {Error} if the marks that the picture stands between are not there.
 */
export function withPackageGraph(text, workspace) {
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`ARCHITECTURE.md: expected "${BEGIN}" and "${END}" around the graph`);
  const graph = `${BEGIN}\n\n\`\`\`mermaid\n${drawGraph(withoutDetours(realArrows(workspace)))}\n\`\`\`\n\n`;
  return text.slice(0, begin) + graph + text.slice(end);
}

/**
 * What imports what, types included, tests and benches apart.
 *
 * @param {Workspace} workspace @returns {Arrows}
 */
export function realArrows({ members }) {
  const packages = new Map(
    members.flatMap(({ kind, id, manifest }) => (kind === "packages" ? [[manifest.name, id]] : [])),
  );
  /** @type {Arrows} */
  const arrows = new Map([...packages.values()].filter((id) => id !== LEFT_OUT).map((id) => [id, new Set()]));
  arrows.set(PROGRAMS, new Set());
  for (const { kind, id, modules } of members) {
    const from = arrows.get(kind === "packages" ? id : PROGRAMS);
    for (const [path, { imports }] of modules) {
      if (isDevelopmentFile(path)) continue;
      for (const { specifier } of imports) {
        const to = packages.get(packageName(specifier));
        if (from && to !== undefined && to !== id && arrows.has(to)) from.add(to);
      }
    }
  }
  return arrows;
}

/**
 * Without arrows that lead where others lead, too: core is below everything, and is drawn below what nothing else stands between.
 *
 * @param {Arrows} arrows Without cycles. @returns {Arrows}
 */
export function withoutDetours(arrows) {
  /** @param {string} from @param {string} goal @returns {boolean} */
  const reaches = (from, goal) => [...(arrows.get(from) ?? [])].some((next) => next === goal || reaches(next, goal));
  return new Map(
    [...arrows].map(([from, targets]) => {
      const direct = [...targets].filter((to) => ![...targets].some((other) => other !== to && reaches(other, to)));
      return [from, new Set(direct.sort())];
    }),
  );
}

/** @param {Arrows} arrows @returns {string} Mermaid. */
function drawGraph(arrows) {
  const node = (/** @type {string} */ id) => (id === PROGRAMS ? `programs["${PROGRAMS}"]` : id);
  const lines = [...arrows]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([from, targets]) => `  ${node(from)}${targets.size > 0 ? ` --> ${[...targets].join(" & ")}` : ""}`);
  return ["graph BT", ...lines].join("\n");
}
