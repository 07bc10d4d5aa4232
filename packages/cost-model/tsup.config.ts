import { packageConfig } from "../../tsup.base.js";

export default packageConfig({
  index: "src/index.ts",
  paper: "src/paper/index.ts",
  simulate: "src/simulate/index.ts",
});
