import { packageConfig } from "../../tsup.base.js";

/** Each entry is one file that needs nothing but Node, so that a packed folder has no node_modules. Demo models are found beside their package's own file. */
export default packageConfig(
  { "gpu-check": "src/bin.ts", "conformance-worker": "src/conformance-worker.ts", pack: "src/pack.ts" },
  { platform: "node", dts: false, splitting: false, sourcemap: false, noExternal: [/^(?!@flashwick\/demo-models$)/] },
);
