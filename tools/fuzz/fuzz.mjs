// @ts-check
/** Fuzzes every reader of foreign bytes: bundles the sources of all packages, and runs the bundle. `--help` says how. */
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const folder = dirname(fileURLToPath(import.meta.url));
// Beside the tool, so that the bundle finds the repository around it; ignored by git.
const outfile = join(folder, "dist/fuzz.mjs");
mkdirSync(dirname(outfile), { recursive: true });
await build({
  entryPoints: [join(folder, "src/bin.ts")],
  ...{ outfile, bundle: true, platform: "node", format: "esm", target: "node20", logLevel: "warning" },
  conditions: ["flashwick-source"],
  banner: {
    js: "import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);",
  },
});
// What works grammars out is a file of its own beside the code that starts it. A link: its libraries are found from where it lies.
const worker = join(folder, "dist/grammar-worker.js");
rmSync(worker, { force: true });
symlinkSync(join(folder, "../../packages/server/src/node/grammar-worker.js"), worker);
const { status } = spawnSync(process.execPath, [outfile, ...process.argv.slice(2)], { stdio: "inherit" });
process.exitCode = status ?? 1;
