import { packageConfig } from "../../tsup.base.js";

export default packageConfig(
  { "scale-model": "src/bin.ts", "made-mixture": "src/mixture-bin.ts" },
  { platform: "node", dts: false },
);
