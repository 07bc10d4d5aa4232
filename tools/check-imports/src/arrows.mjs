// @ts-check
/**
 * The only arrows that may be between packages. A new arrow is a design decision: add it here, say why in docs/decisions,
 * and run tools/check-imports/draw-graph.mjs, which draws those that there are into ARCHITECTURE.md.
 */

export const SCOPE = "@flashwick/";

/** Folder name in packages/ -> the packages that its sources may import. */
export const ARROWS = new Map([
  ["core", []],
  ["flash-format", ["core", "kernels"]],
  ["flash-io", ["core"]],
  ["cost-model", ["core"]],
  ["dram-cache", ["core"]],
  ["kernels", ["core"]],
  ["kernels-wasm", ["core", "kernels"]],
  ["kernels-webgpu", ["core", "kernels"]],
  ["predictor", ["core", "kernels"]],
  [
    "runtime",
    [
      "core",
      "flash-format",
      "flash-io",
      "cost-model",
      "dram-cache",
      "kernels",
      "kernels-wasm",
      "kernels-webgpu",
      "predictor",
    ],
  ],
  ["hub", ["core", "flash-format", "flash-io"]],
  ["server", ["core", "runtime"]],
  ["demo-models", []],
  ["drawings", []],
  // For tests alone: no source that is shipped may import it.
  ["test-capabilities", []],
]);

/** Subpaths that exist for Node alone beside the `node/` folders: files under these may import `node:` modules. */
export const NODE_ONLY_PREFIXES = ["packages/demo-models/", "packages/runtime/src/train/"];

/** Tools that try the inside of packages: their files may import any file of packages/, also what no package exports. */
export const INSIDE_TOOLS = ["tools/reliability/"];
