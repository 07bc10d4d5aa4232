/** Puts the bundled model where the site serves it: the demo checkpoint as a model file, and its predictor. Runs before every build. */
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { demoModels } from "@flashwick/demo-models";
import { createModelWriter } from "@flashwick/flash-format";
import { convertCheckpoint } from "@flashwick/flash-format/convert";
import { openCheckpointFolder } from "@flashwick/flash-format/convert/node";
import { fileSink } from "@flashwick/flash-format/node";

/** Of the text to train on: at 3.7 characters a token, the 32 768 tokens that the page trains on at most. */
const TEXT_LENGTH = 124_000;
const target = fileURLToPath(new URL("../public/models/", import.meta.url));
mkdirSync(target, { recursive: true });
const { checkpointDir, predictorPath, texts } = demoModels["opt-demo"];
const model = `${target}opt-demo.gguf`;
// Anew each time, in half a second: one that is there may be of another format.
rmSync(model, { force: true });
const folder = await openCheckpointFolder(checkpointDir);
await convertCheckpoint(folder, async (spec) => await createModelWriter(await fileSink(model), spec), { dtype: "f16" });
writeFileSync(`${target}text.txt`, readFileSync(texts.calibration, "utf8").slice(0, TEXT_LENGTH));
copyFileSync(predictorPath, `${target}opt-demo.predictor.gguf`);
