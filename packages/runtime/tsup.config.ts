import { packageConfig } from "../../tsup.base.js";

export default packageConfig(
  {
    index: "src/index.ts",
    browser: "src/browser/index.ts",
    engine: "src/engine-entry.ts",
    node: "src/node/index.ts",
    "node-estimate": "src/node/estimate.ts",
    train: "src/train/index.ts",
    "train-worker": "src/train/train-worker.ts",
  },
  // Model has Symbol.asyncDispose, which the libraries of a consumer's TypeScript need not have.
  { dts: { banner: '/// <reference lib="esnext.disposable" />' } },
);
