import { packageConfig } from "../../tsup.base.js";

export default packageConfig({
  index: "src/index.ts",
  browser: "src/browser/index.ts",
  node: "src/node/index.ts",
  "node-estimate": "src/node/estimate.ts",
  train: "src/train/index.ts",
  "train-worker": "src/train/train-worker.ts",
});
