import { packageConfig } from "../../tsup.base.js";

export default packageConfig({ flashwick: "src/flashwick.ts" }, { platform: "node", dts: false });
