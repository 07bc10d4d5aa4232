import { packageConfig } from "../../tsup.base.js";

export default packageConfig({ "opt-runner": "src/bin.ts" }, { platform: "node", dts: false });
