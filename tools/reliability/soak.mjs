// @ts-check
/** Runs many thousand tokens in one process and says what is left over. Bundles its own sources; the packages are those that were built. `--help` says how. */
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const folder = dirname(fileURLToPath(import.meta.url));
// Beside the tool, so that the bundle finds the repository around it; ignored by git.
const outfile = join(folder, "dist/soak.mjs");
mkdirSync(dirname(outfile), { recursive: true });
await build({
  entryPoints: [join(folder, "src/soak/bin.ts")],
  ...{ outfile, bundle: true, platform: "node", format: "esm", target: "node20", logLevel: "warning" },
  packages: "external",
});
const { status } = spawnSync(process.execPath, [outfile, ...process.argv.slice(2)], { stdio: "inherit" });
process.exitCode = status ?? 1;
