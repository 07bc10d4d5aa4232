/** Runs a script of this folder where SwiftShader is the graphics processor: its driver must be named in the environment before Node starts. */
import { execFile } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";
import { unpackChromium } from "./chromium.js";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** What a process needs in its environment so that WebGPU finds SwiftShader, and nothing else. */
export async function swiftShaderEnvironment(): Promise<NodeJS.ProcessEnv> {
  const { libraries, icd } = await unpackChromium();
  return { ...process.env, VK_ICD_FILENAMES: icd, LD_LIBRARY_PATH: libraries.join(":") };
}

/**
 * @param scripts The one to run, and those that it starts; without ending.
 * @returns The JSON document that it prints last.
 */
export async function runOnDevice<T>(scripts: readonly string[], args: readonly string[]): Promise<T> {
  const folder = here("../node_modules/.cache/webgpu/");
  mkdirSync(folder, { recursive: true });
  for (const name of scripts) {
    await build({
      entryPoints: [here(`${name}.ts`)],
      bundle: true,
      format: "esm",
      platform: "node",
      target: "node20",
      conditions: ["flashwick-source"],
      external: ["webgpu"],
      outfile: join(folder, `${name}.mjs`),
      logLevel: "silent",
    });
  }
  const { stdout } = await promisify(execFile)(process.execPath, [join(folder, `${scripts[0]}.mjs`), ...args], {
    env: await swiftShaderEnvironment(),
    maxBuffer: 2 ** 26,
  });
  // The device's own complaints, if it has any, stand before.
  return JSON.parse(stdout.trimEnd().split("\n").at(-1)!);
}
