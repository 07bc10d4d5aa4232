import { packageConfig } from "../../tsup.base.js";

export default packageConfig({ "falcon-runner": "src/bin.ts" }, { platform: "node", dts: false });
