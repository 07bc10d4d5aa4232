import { packageConfig } from "../../tsup.base.js";

const entry = {
  index: "src/index.ts",
  node: "src/node/index.ts",
  http: "src/http/index.ts",
  conformance: "src/conformance/index.ts",
  opfs: "src/opfs/index.ts",
};
export default packageConfig(
  // The worker is plain JavaScript that Node runs as it stands, see src/node/node-threads.ts.
  {
    ...entry,
    "flash-reader-worker": "src/node/flash-reader-worker.js",
    // So is this one: bundlers of pages find it by its address, see src/opfs/opfs-reader.ts.
    "opfs-reader-worker": "src/opfs/opfs-reader-worker.js",
  },
  { dts: { entry } },
);
