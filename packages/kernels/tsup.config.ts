import { packageConfig } from "../../tsup.base.js";

export default packageConfig({
  index: "src/index.ts",
  checked: "src/checked/index.ts",
  conformance: "src/conformance/index.ts",
  reference: "src/reference/index.ts",
});
