/**
 * Climbs the ladder, and writes docs/results/ladder-<name>.csv and .svg:
 *
 *     pnpm build && node tools/results/ladder.mjs 6.7b model.gguf [--split split.gguf] [--int8 int8.gguf] [flags of bench ladder…]
 *
 * The model files are made by tools/scale-model. Every figure is what `flashwick bench ladder` printed in this one run.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ladderPicture } from "./src/ladder-picture.mjs";
import { machineName } from "./src/machine-name.mjs";
import { writeTable } from "./src/results-table.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const [name, model, ...flags] = process.argv.slice(2);
if (!name || !model) {
  console.error("usage: ladder.mjs <name> <model.gguf> [flags of bench ladder…]");
  process.exit(2);
}
const program = join(root, "apps/cli/dist/flashwick.js");
const args = ["bench", "ladder", model, ...flags, "--json"];
const { stdout, status } = spawnSync(process.execPath, [program, ...args], {
  stdio: ["ignore", "pipe", "inherit"],
  maxBuffer: 1 << 28,
});
const document = JSON.parse(stdout.toString("utf8"));
if (status !== 0) {
  console.error(document.error?.message);
  process.exit(1);
}

/** OPT's rungs are named by size alone, as scale-model's presets are. */
const titleOf = (preset) => (/^\d/.test(preset) ? `OPT ${preset}` : preset);

const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root }).toString().trim();
const columns = {
  rung: ({ title }) => title,
  bytes: ({ bytes }) => bytes,
  reads: ({ reads }) => reads,
  gb_per_s: ({ gbPerSec }) => gbPerSec,
  io_ms: ({ ioMs }) => ioMs,
  exposed_io_ms: ({ exposedMs }) => exposedMs,
  memory_management_ms: ({ manageMs }) => manageMs,
  checksum_ms: ({ checkMs }) => checkMs,
  compute_ms: ({ computeMs }) => computeMs,
  total_ms: ({ totalMs }) => totalMs,
  p50_ms: ({ p50Ms }) => p50Ms,
  p99_ms: ({ p99Ms }) => p99Ms,
  limit_dram_ms: ({ limit }) => limit?.dramMs ?? "",
  limit_flash_ms: ({ limit }) => limit?.flashMs ?? "",
  limit_ms: ({ limit }) => limit?.togetherMs ?? "",
  times_limit: ({ limit }) => limit?.times ?? "",
  ...Object.fromEntries(
    ["reads", "compute", "cache", "check", "other", "inTurns"].map((cause) => [
      `left_${cause}_ms`,
      ({ limit }) => limit?.leftMs[cause] ?? "",
    ]),
  ),
  io_times_fewer: ({ ioTimesFewer }) => ioTimesFewer,
  total_times_fewer: ({ totalTimesFewer }) => totalTimesFewer,
  paper_io_ms: ({ paper }) => paper?.ioMs ?? "",
  paper_io_times_fewer: ({ paper }) => paper?.ioTimesFewer ?? "",
  named_share: ({ namedShare }) => namedShare,
  hit_share: ({ hitShare }) => hitShare,
  dram_bytes: ({ dramBytes }) => dramBytes.total,
  io_mode: ({ ioMode }) => ioMode,
  readers: ({ readers }) => readers,
  threads: ({ threads }) => threads,
  merge_gap_bytes: ({ mergeGapBytes }) => mergeGapBytes,
  machine: machineName,
  node: () => process.version,
  commit: () => commit,
};
writeTable(`ladder-${name}.csv`, document.rungs, columns);
writeFileSync(
  join(root, `docs/results/ladder-${name}.svg`),
  ladderPicture(document.rungs, `${titleOf(name)} geometry, milliseconds per token`),
);

const row = (cells) => `| ${cells.join(" | ")} |`;
const figure = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));
console.log(
  row([
    "rung",
    "MB",
    "reads",
    "GB/s",
    "I/O ms",
    "exposed",
    "manage",
    "check",
    "compute",
    "total",
    "limit",
    "times",
    "I/O",
    "total",
    "paper I/O",
  ]),
);
console.log(row(Array.from({ length: 15 }, () => "---")));
for (const rung of document.rungs) {
  console.log(
    row([
      rung.title,
      ...[rung.bytes / 1e6, rung.reads, rung.gbPerSec, rung.ioMs, rung.exposedMs, rung.manageMs, rung.checkMs].map(
        figure,
      ),
      ...[rung.computeMs, rung.totalMs].map(figure),
      ...(rung.limit ? [figure(rung.limit.togetherMs), `${figure(rung.limit.times)}x`] : ["", ""]),
      `${rung.ioTimesFewer.toFixed(1)}x`,
      `${rung.totalTimesFewer.toFixed(1)}x`,
      rung.paper ? `${rung.paper.ioMs}, ${rung.paper.ioTimesFewer.toFixed(1)}x` : "",
    ]),
  );
}
