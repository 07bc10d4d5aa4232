/**
 * Random reads from the private file system of a page, beside the same reads in Node with buffered I/O, in turns, in one run; prints a table and
 * writes docs/results/opfs-rate.csv:
 *
 *     pnpm build && node tools/browser/opfs-rate.mjs
 */
import { mkdirSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

// The harness is TypeScript, which Node 20 does not run: bundled beside it, so that its packages are found.
const outfile = fileURLToPath(new URL("node_modules/.cache/opfs-rate.mjs", import.meta.url));
mkdirSync(new URL("node_modules/.cache/", import.meta.url), { recursive: true });
await build({
  entryPoints: [fileURLToPath(new URL("src/opfs-rate.ts", import.meta.url))],
  bundle: true,
  format: "esm",
  platform: "node",
  packages: "external",
  define: { "import.meta.url": JSON.stringify(new URL("src/opfs-rate.ts", import.meta.url).href) },
  outfile,
});
const { measureOpfsRate } = await import(pathToFileURL(outfile).href);
await measureOpfsRate();
