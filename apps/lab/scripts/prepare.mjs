/** Puts the bundled model where the site serves it: the demo checkpoint as a model file, and its predictor. Runs before every build. */
import { copyFileSync, existsSync, mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { demoModels } from "@flashwick/demo-models";
import { createModelWriter } from "@flashwick/flash-format";
import { convertCheckpoint } from "@flashwick/flash-format/convert";
import { openCheckpointFolder } from "@flashwick/flash-format/convert/node";
import { fileSink } from "@flashwick/flash-format/node";

const target = fileURLToPath(new URL("../public/models/", import.meta.url));
mkdirSync(target, { recursive: true });
const { checkpointDir, predictorPath, texts } = demoModels["opt-demo"];
const model = `${target}opt-demo.gguf`;
if (!existsSync(model)) {
  const folder = await openCheckpointFolder(checkpointDir);
  await convertCheckpoint(folder, async (spec) => await createModelWriter(await fileSink(model), spec), {
    dtype: "f16",
  });
}
copyFileSync(texts.calibration, `${target}text.txt`);
copyFileSync(predictorPath, `${target}opt-demo.predictor.gguf`);
