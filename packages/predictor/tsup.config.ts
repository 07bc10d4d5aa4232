import { packageConfig } from "../../tsup.base.js";

export default packageConfig({
  index: "src/index.ts",
  train: "src/train/index.ts",
  "train-node": "src/train/node/index.ts",
});
