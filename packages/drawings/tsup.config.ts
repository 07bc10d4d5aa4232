import { packageConfig } from "../../tsup.base.js";

export default packageConfig({ index: "src/index.ts", "run-page": "src/run-page/index.ts" });
