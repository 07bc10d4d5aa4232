import { packageConfig } from "../../tsup.base.js";

const entry = { index: "src/index.ts", node: "src/node/index.ts", browser: "src/browser/index.ts" };
export default packageConfig(
  // The workers are loaded by their address only; bundlers of pages find theirs in src/browser/compute-pool.ts.
  {
    ...entry,
    "compute-worker": "src/node/compute-worker.js",
    "page-compute-worker": "src/browser/page-compute-worker.js",
  },
  { dts: { entry } },
);
