import { packageConfig } from "../../tsup.base.js";

const entry = { index: "src/index.ts", node: "src/node/index.ts", http: "src/http/index.ts" };
export default packageConfig(
  // The worker is plain JavaScript that Node runs as it stands, see src/node/reader-threads.ts.
  { ...entry, "flash-reader-worker": "src/node/flash-reader-worker.js" },
  { dts: { entry } },
);
