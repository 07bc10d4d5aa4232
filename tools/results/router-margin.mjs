/**
 * What other experts than the router's gain and cost: decodes the evaluation text, token after token, within half of the file, preferring resident experts at
 * several margins, or using fewer, and compares each position's logits with the exact model's; writes docs/results/router-margin.csv:
 *
 *     pnpm build && node tools/results/router-margin.mjs olmoe-demo.gguf
 */
import { statSync } from "node:fs";
import { mixtureDemo } from "@flashwick/demo-models";
import { openModel } from "@flashwick/runtime/node";
import { againstDense, decodeWindows, windowsOf } from "./src/against-dense.mjs";
import { writeTable } from "./src/results-table.mjs";
import { scriptArguments } from "./src/script-arguments.mjs";

const [file] = scriptArguments({ usage: "router-margin.mjs <olmoe-demo.gguf>", words: 1 }).words;
const BUDGET = 0.5;
const CHOICES = [
  ...[0, 0.05, 0.1, 0.2, 0.3, 0.5].map((residentMargin) => ({ residentMargin, routerKeep: 1 })),
  { residentMargin: 0.3, routerKeep: 0 },
  { residentMargin: 0, expertsPerToken: 1 },
];

const exact = await openModel(file);
const windows = windowsOf(exact, mixtureDemo.texts.evaluation);
const references = await decodeWindows(exact, windows);
await exact.close();
const rows = [];
for (const choice of CHOICES) {
  const model = await openModel(file, { dramBudgetBytes: Math.floor(BUDGET * statSync(file).size), ...choice });
  const found = againstDense(references, await decodeWindows(model, windows));
  await model.close();
  const { residentMargin, routerKeep = "", expertsPerToken = "" } = choice;
  rows.push({ budget: BUDGET, margin: residentMargin, keep: routerKeep, experts: expertsPerToken, ...found });
}
console.table(rows);
writeTable("router-margin.csv", rows);
