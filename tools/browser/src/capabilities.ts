/** What the tests of this folder need of the machine: a browser, a graphics processor, and what `build` makes. */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { capability } from "@flashwick/test-capabilities";
import { chromiumMissing } from "./chromium.js";
import { labFolder } from "./lab-site.js";

export const program = fileURLToPath(new URL("../../../apps/cli/dist/flashwick.js", import.meta.url));

export const chromium = capability("chromium", chromiumMissing());

/** In Node and in Chromium, both on the SwiftShader that comes with Chromium. */
export const webgpu = capability("webgpu", chromiumMissing() ?? webgpuPackageMissing());

export const build = capability(
  "build",
  existsSync(program) && existsSync(join(labFolder, "index.html"))
    ? null
    : "the command line or the lab is not built; run build",
);

const { FLASHWICK_MODELS_DIR: modelsFolder } = process.env;

/** A published model, which is not in this repository. */
export const smolPath = join(modelsFolder ?? "", "SmolLM2-135M-Instruct.Q4_1.gguf");

export const models = capability(
  "models",
  modelsFolder !== undefined && existsSync(smolPath)
    ? null
    : `FLASHWICK_MODELS_DIR names no folder with ${basename(smolPath)}`,
);

function webgpuPackageMissing(): string | null {
  try {
    createRequire(import.meta.url).resolve("webgpu");
    return null;
  } catch {
    return "the npm package webgpu is not installed";
  }
}
