/** The statistics of a run as a table for a person. */
import { type DramAccount, formatBytes, type RunStats } from "@flashwick/core";
import { figure, percent, table } from "./table.js";

/** Every figure that the method is about, beside what the naive reader would pay. */
export function runTable(stats: RunStats): string {
  return table([
    ["speed", `${figure(stats.tokensPerSec)} tokens/s`, `first token after ${figure(stats.timeToFirstTokenMs)} ms`],
    [
      "token",
      `${figure(stats.tokenMs.mean)} ms mean`,
      `p50 ${figure(stats.tokenMs.p50)}, p99 ${figure(stats.tokenMs.p99)}`,
    ],
    ["time", phases(stats), ""],
    ["flash", `${formatBytes(stats.flashBytesPerToken)} per token`, fewerBytes(stats)],
    ["reads", `${figure(stats.readsPerToken)} per token`, fewerReads(stats)],
    ["neurons", `${figure(stats.neuronsNamedPerToken)} named per token`, hits(stats)],
    [
      "DRAM",
      `${formatBytes(stats.dramBytes.total)} of ${formatBytes(stats.dramBytes.budget)}`,
      dramByKind(stats.dramBytes),
    ],
    [
      "mode",
      `${stats.mode}, ${stats.policy}`,
      `${stats.backend}, ${stats.ioMode} reads, ${stats.kvDType} keys and values`,
    ],
  ]);
}

function phases({ msPerToken }: RunStats): string {
  return Object.entries(msPerToken)
    .filter(([, ms]) => ms > 0)
    .map(([phase, ms]) => `${phase} ${figure(ms)}`)
    .join(", ");
}

function fewerBytes({ flashBytesPerToken, naiveFlashBytesPerToken }: RunStats): string {
  return `naive ${formatBytes(naiveFlashBytesPerToken)}${timesFewer(naiveFlashBytesPerToken, flashBytesPerToken)}`;
}

function fewerReads({ readsPerToken, naiveReadsPerToken }: RunStats): string {
  return `naive ${naiveReadsPerToken}${timesFewer(naiveReadsPerToken, readsPerToken)}`;
}

function timesFewer(naive: number, ours: number): string {
  return ours > 0 ? `, ${figure(naive / ours)}× fewer` : "";
}

function hits({ cacheHits, cacheMisses }: RunStats): string {
  const total = cacheHits + cacheMisses;
  return total > 0 ? `${percent(cacheHits / total)} in DRAM already` : "";
}

function dramByKind({ budget: _, total: __, ...kinds }: DramAccount): string {
  return Object.entries(kinds)
    .filter(([, bytes]) => bytes > 0)
    .map(([kind, bytes]) => `${kind} ${formatBytes(bytes)}`)
    .join(", ");
}
