import { packageConfig } from "../../tsup.base.js";

export default packageConfig(
  {
    index: "src/index.ts",
    node: "src/node/index.ts",
    "compute-worker": "src/node/compute-worker.js",
  },
  // The worker is loaded by its address only.
  { dts: { entry: { index: "src/index.ts", node: "src/node/index.ts" } } },
);
