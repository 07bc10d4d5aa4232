// @ts-check
/** Packs the check into a folder: `node tools/gpu-check/pack.mjs <folder>`, after `build`. */
import { existsSync } from "node:fs";

const built = new URL("dist/pack.js", import.meta.url);
if (existsSync(built)) {
  const { packFromCommandLine } = await import(built.href);
  await packFromCommandLine(process.argv.slice(2));
} else {
  console.error("gpu-check: tools/gpu-check/dist is not there; run `npx -y pnpm@10.34.9 build` first");
  process.exitCode = 2;
}
