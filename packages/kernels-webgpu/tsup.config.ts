import { packageConfig } from "../../tsup.base.js";

export default packageConfig({ index: "src/index.ts", conformance: "src/conformance/index.ts" });
