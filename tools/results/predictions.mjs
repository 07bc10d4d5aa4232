/**
 * Predicted beside measured, over many runs; writes docs/results/predictions.csv and predictions.svg:
 *
 *     pnpm build && node tools/results/predictions.mjs small=opt-1.3b large=opt-6.7b
 *
 * <name>-f16.gguf, <name>-f16-split.gguf and <name>-int8.gguf are made by tools/scale-model. Runs that others disturb are made again
 * (src/undisturbed-run.mjs), and their rows say so.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { demoModels } from "@flashwick/demo-models";
import { machineName } from "./src/machine-name.mjs";
import { predictedRun, recordText } from "./src/predicted-run.mjs";
import { writeTable } from "./src/results-table.mjs";
import { scatterPicture } from "./src/scatter-picture.mjs";
import { scriptArguments } from "./src/script-arguments.mjs";
import { undisturbedRun } from "./src/undisturbed-run.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const { words } = scriptArguments({ usage: "predictions.mjs small=<model> large=<model>", words: 1 });
const names = Object.fromEntries(words.map((argument) => argument.split("=")));
const LENGTHS = {
  small: { promptTokens: 16, warmUpTokens: 16, decodeTokens: 96 },
  large: { promptTokens: 16, warmUpTokens: 16, decodeTokens: 48 },
};
/** Somewhere in the text for each: the statistics of training are of another text. */
const FIRST_TOKEN = { small: 2000, large: 9000 };

const SETTINGS = [
  ...[45, 50, 65, 80].map((budgetPercent) => ({ dtype: "f16", budgetPercent, options: {} })),
  { dtype: "f16", budgetPercent: 50, options: { windowTokens: 4 } },
  { dtype: "f16", budgetPercent: 65, options: { policy: "lru" } },
  ...[55, 65, 75, 85].map((budgetPercent) => ({ dtype: "int8", budgetPercent, options: {} })),
  { dtype: "int8", budgetPercent: 65, options: { windowTokens: 4 } },
  { dtype: "int8", budgetPercent: 75, options: { policy: "lru" } },
  { dtype: "f16", layout: "split", budgetPercent: 50, options: {} },
  { dtype: "f16", layout: "split", budgetPercent: 80, options: {} },
];

const { texts } = demoModels["opt-demo"];
const rows = [];
for (const size of Object.keys(names)) {
  const length = LENGTHS[size];
  const total = length.promptTokens + length.warmUpTokens + length.decodeTokens;
  const reference = `${names[size]}-f16.gguf`;
  const { tokens, ...recorded } = await recordText(reference, texts.evaluation, FIRST_TOKEN[size], total);
  for (const setting of SETTINGS) {
    const layout = setting.layout ?? "bundled";
    const file = `${names[size]}-${setting.dtype}${layout === "split" ? "-split" : ""}.gguf`;
    if (!existsSync(file)) continue;
    rows.push(await measure(size, { ...setting, layout, file }, tokens, length, recorded));
    write();
  }
}
summarize();

async function measure(size, setting, tokens, length, recorded) {
  return await undisturbedRun(setting.file, {
    run: (profile) => predictedRun(setting, tokens, length, recorded, profile),
    tokenMs: ({ replayed }) => replayed.tokenMs,
    row: (run, predictions) => rowOf(size, setting, run, predictions),
    onAttempt: report,
  });
}

function rowOf(size, setting, { measured, overlap }, [a, b]) {
  const mean = (pick) => (pick(a) + pick(b)) / 2;
  return {
    size,
    dtype: setting.dtype,
    layout: setting.layout,
    budget_percent: setting.budgetPercent,
    policy: setting.options.policy ?? "window",
    window: setting.options.windowTokens ?? "auto",
    readers: measured.readers,
    threads: measured.threads,
    gap_bytes: measured.mergeGapBytes,
    overlap,
    measured_ms: measured.tokenMs.mean,
    predicted_ms: mean((p) => p.text.tokenMs),
    replayed_ms: mean((p) => p.replayed.tokenMs),
    error: mean((p) => p.replayed.tokenMs) / measured.tokenMs.mean - 1,
    statistics_error: mean((p) => p.text.tokenMs) / measured.tokenMs.mean - 1,
    measured_p90_ms: measured.tokenMs.p90,
    replayed_p90_ms: mean((p) => p.replayed.tokenMsQuantiles.p90),
    measured_mb: measured.flashBytesPerToken / 1e6,
    predicted_mb: mean((p) => p.text.flashBytesPerToken) / 1e6,
    replayed_mb: mean((p) => p.replayed.flashBytesPerToken) / 1e6,
    bytes_error: mean((p) => p.replayed.flashBytesPerToken) / measured.flashBytesPerToken - 1,
    statistics_bytes_error: mean((p) => p.text.flashBytesPerToken) / measured.flashBytesPerToken - 1,
    own_statistics_ms: mean((p) => p.own.tokenMs),
    own_statistics_mb: mean((p) => p.own.flashBytesPerToken) / 1e6,
    ...phases(measured.msPerToken, mean),
  };
}

function report(row) {
  console.error(
    [
      row.size,
      row.dtype,
      row.layout,
      row.budget_percent,
      row.policy,
      row.window,
      `r${row.readers} t${row.threads} g${row.gap_bytes} o${row.overlap}`,
      `measured ${row.measured_ms.toFixed(1)} replayed ${row.replayed_ms.toFixed(1)} (${(100 * row.error).toFixed(1)} %) statistics ${row.predicted_ms.toFixed(1)} (${(100 * row.statistics_error).toFixed(1)} %)`,
      `MB ${row.measured_mb.toFixed(2)} ${row.replayed_mb.toFixed(2)} (${(100 * row.bytes_error).toFixed(1)} %) ${row.predicted_mb.toFixed(2)} (${(100 * row.statistics_bytes_error).toFixed(1)} %)`,
      `others ${(100 * row.others_share).toFixed(0)} %, device ±${(100 * row.device_change).toFixed(0)} %, attempt ${row.attempt}`,
    ].join("  "),
  );
}

function phases(measured, mean) {
  const names = ["predict", "cache", "check", "readWait", "attention", "ffn", "head"];
  return Object.fromEntries(
    names.flatMap((phase) => [
      [`measured_${phase}`, measured[phase]],
      [`predicted_${phase}`, mean((p) => p.text.msPerToken[phase])],
      [`replayed_${phase}`, mean((p) => p.replayed.msPerToken[phase])],
    ]),
  );
}

function write() {
  writeTable("predictions.csv", rows);
  writeFileSync(join(root, "docs/results/predictions.svg"), scatterPicture(rows));
}

function summarize() {
  const of = (key) => rows.map((row) => Math.abs(row[key]));
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root }).toString().trim();
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  console.log(`${rows.length} runs; ${machineName()}, Node ${process.version}, commit ${commit}`);
  const say = (what, errors) =>
    console.log(`${what}: mean absolute error ${percent(mean(errors))}, worst ${percent(Math.max(...errors))}`);
  say("time, recording replayed", of("error"));
  say("time, statistics of the recording", of("statistics_error"));
  say("flash bytes, recording replayed", of("bytes_error"));
  say("flash bytes, statistics of the recording", of("statistics_bytes_error"));
  console.log(readFileSync(join(root, "docs/results/predictions.csv"), "utf8").split("\n").length - 2, "rows written");
}
