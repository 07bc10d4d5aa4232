/** Packages bundled for a page. */
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { build as buildByEsbuild } from "esbuild";
import { build as buildByVite, createLogger } from "vite";

/**
 * `@huggingface/hub` (2.17.5) names its build for browsers in the field `browser`, which esbuild does not follow where there are `exports`. The README of
 * @flashwick/hub tells its users to set the same alias.
 */
const BROWSER_BUILDS = { "@huggingface/hub": "dist/browser/index.mjs" };

/**
 * Bundles all of an entry by esbuild; fails on anything that a page has not, as modules of Node.
 *
 * @param folder A project that has the package installed.
 * @returns The code, minified.
 */
export async function bundleByEsbuild(folder: string, entry: string): Promise<string> {
  const alias = Object.entries(BROWSER_BUILDS).map(([name, file]) => [name, join(folder, "node_modules", name, file)]);
  const { outputFiles, warnings } = await buildByEsbuild({
    alias: Object.fromEntries(alias),
    stdin: { contents: `export * from "${entry}";`, resolveDir: folder },
    bundle: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    minify: true,
    write: false,
    logLevel: "silent",
  });
  if (warnings.length > 0) throw new Error(warnings.map(({ text }) => text).join("\n"));
  return outputFiles[0]!.text;
}

/** Compressed as a server would send it, bytes. */
export function transferBytes(code: string): number {
  return gzipSync(code, { level: 9 }).length;
}

/**
 * Bundles all entries by Vite, each as a page of its own.
 *
 * @returns Names of the files it wrote, and what it warned of: above all of modules that a browser has not.
 */
export async function bundleByVite(
  folder: string,
  entries: readonly string[],
): Promise<{ readonly files: readonly string[]; readonly warnings: readonly string[] }> {
  const warnings: string[] = [];
  const warn = (message: string) => void warnings.push(message);
  const logger = { ...createLogger("silent"), warn, warnOnce: warn, error: warn };
  const input = entries.map((entry, i) => {
    const path = join(folder, `page-${i}.js`);
    writeFileSync(path, `import * as all from "${entry}";\nglobalThis.all = all;\n`);
    return path;
  });
  const outDir = join(folder, "pages");
  await buildByVite({
    root: folder,
    configFile: false,
    customLogger: logger,
    worker: { format: "es" },
    build: {
      outDir,
      target: "es2022",
      chunkSizeWarningLimit: 4096,
      // How long plugins take is the machine's business.
      rollupOptions: { input, checks: { bundlerTimings: false, pluginTimings: false } },
    },
  });
  return { files: readdirSync(join(outDir, "assets")), warnings };
}
