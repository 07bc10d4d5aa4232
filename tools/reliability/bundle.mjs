// @ts-check
/** Bundles a script of this folder with the sources of all packages, so that nothing need be built, and runs it. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const folder = dirname(fileURLToPath(import.meta.url));

/** Fixtures read files beside themselves, which a bundle would look for elsewhere. */
const ownPlace = {
  name: "own-place",
  /** @param {import("esbuild").PluginBuild} build */
  setup({ onLoad }) {
    onLoad({ filter: /\.fixture\.ts$/ }, ({ path }) => ({
      contents: readFileSync(path, "utf8").replaceAll("import.meta.url", JSON.stringify(pathToFileURL(path).href)),
      loader: "ts",
    }));
  },
};

/**
 * Runs a script in the root of the repository, with this process's arguments; its exit status becomes this process's.
 *
 * @param {string} entry Relative to this folder.
 * @param {readonly string[]} [nodeFlags]
 */
export async function runBundled(entry, nodeFlags = []) {
  // Beside the tool, so that the bundle finds the repository around it; ignored by git.
  const outfile = join(folder, "dist", `${entry.replaceAll("/", "-").replace(/\.ts$/, "")}.mjs`);
  await build({
    entryPoints: [join(folder, entry)],
    ...{ outfile, bundle: true, platform: "node", format: "esm", target: "node20", logLevel: "warning" },
    conditions: ["flashwick-source"],
    plugins: [ownPlace],
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
  });
  const args = [...nodeFlags, outfile, ...process.argv.slice(2)];
  const { status } = spawnSync(process.execPath, args, { stdio: "inherit", cwd: join(folder, "../..") });
  process.exitCode = status ?? 1;
}
