// @ts-check
/**
 * Fails on what the structure of this repository does not allow: an import arrow that is not in src/arrows.mjs, an import
 * that package.json does not declare, cycles of files or packages, `export *`, default exports, `node:` imports where
 * browsers come by, relative imports that leave their package, and text that belongs to one machine only.
 *
 *     node tools/check-imports/check-imports.mjs [root]
 *
 * Prints `file:line: what is wrong; what to do` for each, and exits with 1 if there is any.
 */
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { findTextComplaints } from "./src/project-text.mjs";
import { findImportComplaints } from "./src/rules.mjs";
import { readWorkspace } from "./src/workspace.mjs";

const root = resolve(process.argv[2] ?? fileURLToPath(new URL("../..", import.meta.url)));
const workspace = readWorkspace(root);
const complaints = [...findImportComplaints(workspace), ...findTextComplaints(workspace.texts)];
for (const { path, line, message } of complaints) console.error(`${path}:${line}: ${message}`);
if (complaints.length > 0) {
  console.error(`check-imports: ${complaints.length} complaints`);
  process.exitCode = 1;
} else {
  const modules = workspace.members.reduce((sum, member) => sum + member.modules.size, 0);
  console.log(`check-imports: ${modules} modules and ${workspace.texts.length} texts, nothing to complain about`);
}
