// @ts-check
/**
 * Draws the packages and their imports into ARCHITECTURE.md.
 *
 *     node tools/check-imports/draw-graph.mjs
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { withPackageGraph } from "./src/package-graph.mjs";
import { readWorkspace } from "./src/workspace.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const path = fileURLToPath(new URL("../../ARCHITECTURE.md", import.meta.url));
writeFileSync(path, withPackageGraph(readFileSync(path, "utf8"), readWorkspace(root)));
