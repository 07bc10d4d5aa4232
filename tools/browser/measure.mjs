/**
 * Measures in a real Chromium with a profile on disk:
 *
 *     pnpm build && node tools/browser/measure.mjs opfs-rate
 *     pnpm build && node tools/browser/measure.mjs large-model <model.gguf of 1 GiB or more, its predictor beside it>
 *     pnpm build && node tools/browser/measure.mjs lab-chat <model.gguf of llama.cpp's, with a chat template>
 *     pnpm build && node tools/browser/measure.mjs lab-mixture <mixture.gguf>… [--budget 25] [--tokens 256] [--policy lru]
 *     pnpm build && node tools/browser/measure.mjs lab-soak [minutes] [model.gguf of llama.cpp's, with a chat template]
 *
 * opfs-rate:   random reads from a page's private file system beside the same reads in Node with buffered I/O; writes docs/results/opfs-rate.csv.
 * large-model: the lab, as built: import, a run within a quarter of the file, a reload, a run again; writes docs/results/lab.csv.
 * lab-chat:    the lab, as built: import, a conversation within half of the file and within enough for all of it, the same in Node; writes
 *              docs/results/lab-chat.csv.
 * lab-mixture: the lab, as built: import of mixtures of experts, a text within a quarter of the file, from cold storage and again, the same in Node;
 *              writes docs/results/lab-mixture.csv. A copy of each file is made in a temporary folder (TMPDIR), and removed.
 */
import { mkdirSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const [name, ...args] = process.argv.slice(2);
if (!["opfs-rate", "large-model", "lab-chat", "lab-mixture", "lab-soak"].includes(name)) {
  console.error(
    "usage: measure.mjs opfs-rate | large-model <model.gguf> | lab-chat <model.gguf> | lab-mixture <model.gguf>… | lab-soak [minutes] [model.gguf]",
  );
  process.exit(2);
}
// The harness is TypeScript, which Node 20 does not run: bundled beside it, so that its packages are found.
const entry = new URL(`src/${name}.ts`, import.meta.url);
const outfile = fileURLToPath(new URL(`node_modules/.cache/${name}.mjs`, import.meta.url));
mkdirSync(new URL("node_modules/.cache/", import.meta.url), { recursive: true });
await build({
  entryPoints: [fileURLToPath(entry)],
  bundle: true,
  format: "esm",
  platform: "node",
  packages: "external",
  define: { "import.meta.url": JSON.stringify(entry.href) },
  outfile,
});
const { measure } = await import(pathToFileURL(outfile).href);
await measure(...args);
