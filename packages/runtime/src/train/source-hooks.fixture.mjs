// @ts-check
/**
 * Test support: module hooks of a worker thread that runs the sources as they stand, as vitest does in its own threads.
 * `.js` means the `.ts` beside it, workspace packages are their sources, and types are stripped.
 */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { transform } from "esbuild";

/** @type {import("node:module").ResolveHook} */
export async function resolve(specifier, context, next) {
  const conditions = ["flashwick-source", ...context.conditions];
  try {
    return await next(specifier, { ...context, conditions });
  } catch (error) {
    if (!specifier.startsWith(".") || !specifier.endsWith(".js")) throw error;
    return await next(specifier.replace(/\.js$/, ".ts"), { ...context, conditions });
  }
}

/** @type {import("node:module").LoadHook} */
export async function load(url, context, next) {
  if (!url.endsWith(".ts")) return await next(url, context);
  const text = await readFile(fileURLToPath(url), "utf8");
  const { code } = await transform(text, { loader: "ts", format: "esm", target: "node20" });
  return { format: "module", source: code, shortCircuit: true };
}
