import { packageConfig } from "../../tsup.base.js";

export default packageConfig({ "opt-runner": "src/opt-runner.ts" }, { platform: "node", dts: false });
