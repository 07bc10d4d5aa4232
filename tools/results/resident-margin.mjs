/**
 * What naming resident neurons more freely gains and costs: decodes the evaluation text, token after token, within a budget, at several margins,
 * and compares each position's logits with the dense model's; prints a table and writes docs/results/resident-margin.csv:
 *
 *     pnpm build && node tools/results/resident-margin.mjs <folder with opt-demo.gguf, falcon-demo.gguf and gated-demo.gguf>
 */
import { statSync } from "node:fs";
import { join } from "node:path";
import { demoModels } from "@flashwick/demo-models";
import { openModel } from "@flashwick/runtime/node";
import { againstDense, decodeWindows, windowsOf } from "./src/against-dense.mjs";
import { writeTable } from "./src/results-table.mjs";
import { scriptArguments } from "./src/script-arguments.mjs";

const [folder] = scriptArguments({ usage: "resident-margin.mjs <folder>", words: 1 }).words;
const BUDGET = 0.6;
const MARGINS = [0, 0.5, 1, 2];

const rows = [];
for (const [name, { predictorPath, texts }] of Object.entries(demoModels)) {
  const file = join(folder, `${name}.gguf`);
  const dense = await openModel(file, { mode: "dense", predictor: null });
  const windows = windowsOf(dense, texts.evaluation);
  const references = await decodeWindows(dense, windows);
  await dense.close();
  for (const residentMargin of MARGINS) {
    const dramBudgetBytes = Math.floor(BUDGET * statSync(file).size);
    const model = await openModel(file, { predictor: predictorPath, dramBudgetBytes, residentMargin });
    const found = againstDense(references, await decodeWindows(model, windows));
    await model.close();
    rows.push({ model: name, budget: BUDGET, resident_margin: residentMargin, ...found });
  }
}
console.table(rows);
writeTable("resident-margin.csv", rows);
