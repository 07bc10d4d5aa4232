// @ts-check
/** Writes docs/licences.csv anew, from the lockfile and from what is installed. */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { installedPackages } from "./src/installed-packages.mjs";
import { makeTable, readTable, tablePath, writtenTable } from "./src/licence-table.mjs";
import { lockedPackages } from "./src/lockfile.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const rows = makeTable(lockedPackages(root), installedPackages(root), readTable(root));
writeFileSync(tablePath(root), writtenTable(rows));
console.log(`${rows.length} packages, ${rows.filter(({ use }) => use === "production").length} of them in production`);
