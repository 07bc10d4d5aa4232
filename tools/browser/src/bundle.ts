/** Sources of this repository as one script for a page. */
import { build } from "esbuild";

/** @param entry A TypeScript file. @returns An ES module. */
export async function bundle(entry: string): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    conditions: ["flashwick-source"],
    write: false,
    logLevel: "silent",
    // Classic names for errors in what a page prints.
    keepNames: true,
  });
  return outputFiles[0]!.text;
}
