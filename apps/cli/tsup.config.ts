import { packageConfig } from "../../tsup.base.js";

export default packageConfig(
  { flashwick: "src/flashwick.ts", "bench-peer": "src/bench/peer-process.ts" },
  { platform: "node", dts: false },
);
