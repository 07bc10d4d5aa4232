/**
 * Is the planner's choice a good one? Measures a grid of settings by brute force, in turns, and sets the planner's pick beside the fastest; writes
 * docs/results/settings-grid.csv:
 *
 *     pnpm build && node tools/results/settings-grid.mjs opt-1.3b-f16.gguf [budget in % of the file]
 */
import { demoModels } from "@flashwick/demo-models";
import { predictedRun, quickProfile, recordText } from "./src/predicted-run.mjs";
import { writeTable } from "./src/results-table.mjs";
import { scriptArguments } from "./src/script-arguments.mjs";

const { words } = scriptArguments({ usage: "settings-grid.mjs <model.gguf> [percent of the file]", words: 1 });
const [file, percent = "50"] = words;
const length = { promptTokens: 16, warmUpTokens: 8, decodeTokens: 32 };
const PASSES = 2;
const grid = [8, 16, 32].flatMap((readers) =>
  [0, 32768, 65536].flatMap((mergeGapBytes) =>
    [false, true].map((overlap) => ({ readers, mergeGapBytes, overlap, threads: 2 })),
  ),
);
grid.push(
  { readers: 16, mergeGapBytes: 0, overlap: false, threads: 1 },
  { readers: 16, mergeGapBytes: 65536, overlap: true, threads: 1 },
);

const total = length.promptTokens + length.warmUpTokens + length.decodeTokens;
const { tokens, ...recorded } = await recordText(file, demoModels["opt-demo"].texts.evaluation, 2000, total);
const profile = await quickProfile(file);
const run = (options) =>
  predictedRun({ file, budgetPercent: Number(percent), options }, tokens, length, recorded, profile);
/** The planner's pick is one of the rows: measured in the same turns. */
const rows = [{ title: "the planner's pick", options: {} }, ...grid.map((options) => ({ title: "", options }))].map(
  (row) => ({
    ...row,
    ms: [],
  }),
);
for (let pass = 0; pass < PASSES; pass++) {
  for (const row of rows) {
    const { measured, overlap, predict } = await run(row.options);
    row.ms.push(measured.tokenMs.mean);
    row.settings = {
      readers: measured.readers,
      threads: measured.threads,
      mergeGapBytes: measured.mergeGapBytes,
      overlap,
    };
    row.predicted = predict(profile).own?.tokenMs;
  }
}
const best = (row) => Math.min(...row.ms);
const fastest = Math.min(...rows.map(best));
const columns = {
  row: ({ title }) => title,
  readers: ({ settings }) => settings.readers,
  threads: ({ settings }) => settings.threads,
  gap_bytes: ({ settings }) => settings.mergeGapBytes,
  overlap: ({ settings }) => settings.overlap,
  best_ms: (row) => best(row).toFixed(1),
  passes_ms: ({ ms }) => ms.map((pass) => pass.toFixed(1)).join(" "),
  predicted_ms: ({ predicted }) => predicted?.toFixed(1),
};
process.stdout.write(writeTable("settings-grid.csv", rows, columns));
console.log(
  `the planner's pick: ${best(rows[0]).toFixed(1)} ms, the fastest of ${grid.length}: ${fastest.toFixed(1)} ms, ${(100 * (best(rows[0]) / fastest - 1)).toFixed(1)} % slower`,
);
