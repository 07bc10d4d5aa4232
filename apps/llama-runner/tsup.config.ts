import { packageConfig } from "../../tsup.base.js";

export default packageConfig({ "llama-runner": "src/bin.ts" }, { platform: "node", dts: false });
