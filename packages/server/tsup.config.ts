import { packageConfig } from "../../tsup.base.js";

const entry = { index: "src/index.ts", node: "src/node/index.ts" };
export default packageConfig(
  // The worker is plain JavaScript that Node runs as it stands, see src/node/grammar-thread.ts.
  { ...entry, "grammar-worker": "src/node/grammar-worker.js" },
  { dts: { entry } },
);
