import { defineConfig, type Options } from "tsup";

/** Without declarations and source maps, which take most of the time: `start` sets this, and nobody reads them then. Part of turbo's keys. */
const isFast = process.env.FLASHWICK_BUILD === "fast";

/**
 * The one build configuration of all packages: ESM, types, source maps, one output file per entry.
 * It lives in one place because tsup names a successor (tsdown): a swap is a change of this file.
 */
export function packageConfig(entry: Record<string, string>, more: Options = {}) {
  return defineConfig({
    entry,
    format: ["esm"],
    target: "es2022",
    platform: "neutral",
    dts: true,
    sourcemap: true,
    clean: true,
    splitting: true,
    treeshake: true,
    external: [/^node:/],
    silent: true,
    // "node:fs" stays "node:fs": bundlers and other runtimes know it by this name.
    removeNodeProtocol: false,
    ...more,
    ...(isFast && { dts: false, sourcemap: false, treeshake: false }),
  });
}
