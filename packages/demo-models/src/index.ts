/**
 * Where the demo checkpoint and its texts lie on this machine. For Node: the files are read by path, never bundled.
 *
 * `src/` and `dist/` stand at the same depth beside `models/` and `texts/`, so one relative address serves both.
 */
import { fileURLToPath } from "node:url";

/** Where a demo checkpoint, its predictor and its texts lie; absolute paths. */
export interface DemoModel {
  /** A Hugging Face checkpoint: config.json, model.safetensors, tokenizer.json. What `flashwick convert` takes. */
  readonly checkpointDir: string;
  /** The trained predictors of the checkpoint, for a model file of any dtype. Check that it exists: `flashwick train` makes it. */
  readonly predictorPath: string;
  /** Where the weights and the texts come from, and what they are not good for. */
  readonly cardPath: string;
  readonly texts: DemoTexts;
}

/** UTF-8 English. No document of one is in another. */
export interface DemoTexts {
  /** 2.4 MB of what the model was trained on: for training predictors. */
  readonly train: string;
  /** 160 KB that the model never saw: for thresholds. */
  readonly calibration: string;
  /** 160 KB that the model never saw, and nothing was tuned on: for figures. */
  readonly evaluation: string;
  /** 200 multiple-choice tasks made from the evaluation text, JSON lines, for `flashwick eval --tasks`. */
  readonly tasks: string;
}

const pathOf = (address: string) => fileURLToPath(new URL(`../${address}`, import.meta.url));

const texts: DemoTexts = {
  train: pathOf("texts/train.txt"),
  calibration: pathOf("texts/calibration.txt"),
  evaluation: pathOf("texts/evaluation.txt"),
  tasks: pathOf("texts/tasks.jsonl"),
};

function demoModel(name: string): DemoModel {
  return {
    checkpointDir: pathOf(`models/${name}`),
    predictorPath: pathOf(`models/${name}/${name}.predictor.gguf`),
    cardPath: pathOf("CARD.md"),
    texts,
  };
}

/** All paths are absolute. */
export const demoModels: Readonly<Record<"opt-demo" | "falcon-demo" | "gated-demo", DemoModel>> = {
  "opt-demo": demoModel("opt-demo"),
  "falcon-demo": demoModel("falcon-demo"),
  "gated-demo": demoModel("gated-demo"),
};

/** A demo without a predictor: what a mixture's router chooses is read, and nothing else. */
export type MixtureDemo = Omit<DemoModel, "predictorPath">;

/**
 * `olmoe-demo`, a mixture of experts. Beside {@link demoModels} and not in it: what goes through those asks for neurons that are zero, and
 * for a predictor.
 */
export const mixtureDemo: MixtureDemo = {
  checkpointDir: pathOf("models/olmoe-demo"),
  cardPath: pathOf("CARD.md"),
  texts,
};
