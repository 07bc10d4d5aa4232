/** The statistics of a run as a table for a person. */
import { type DramAccount, formatBytes, type RunStats } from "@flashwick/core";
import { figure, percent, table } from "./table.js";

/** Every figure that the method is about, beside what the naive reader would pay. */
export function runTable(stats: RunStats): string {
  const { tokenMs, dramBytes } = stats;
  const { p50, p99 } = tokenMs;
  return table([
    ["speed", `${figure(stats.tokensPerSec)} tokens/s, first token after ${figure(stats.timeToFirstTokenMs)} ms`],
    ["token", `${figure(tokenMs.mean)} ms on average, p50 ${figure(p50)}, p99 ${figure(p99)}: ${phases(stats)}`],
    ["flash", `${formatBytes(stats.flashBytesPerToken)} per token, ${fewerBytes(stats)}`],
    ["reads", `${figure(stats.readsPerToken)} per token, ${fewerReads(stats)}`],
    [
      "neurons",
      `${figure(stats.neuronsNamedPerToken)} named per token, ${percent(hitShare(stats))} of them in DRAM already`,
    ],
    ["DRAM", `${formatBytes(dramBytes.total)} of ${formatBytes(dramBytes.budget)}: ${dramByKind(dramBytes)}`],
    ["mode", `${stats.mode}, cache policy ${stats.policy}, keys and values ${stats.kvDType}`],
    ["machine", `${stats.backend} kernels on ${counted(stats.threads, "thread")}, ${reading(stats)}`],
  ]);
}

function reading({ ioMode, readers, mergeGapBytes }: RunStats): string {
  const by = readers === 0 ? "" : ` by ${counted(readers, "reader")}`;
  return `${ioMode} reads${by}${mergeGapBytes > 0 ? `, over gaps of up to ${formatBytes(mergeGapBytes)}` : ""}`;
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
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

/** Nothing where nothing is read, or nothing is gained. */
function timesFewer(naive: number, ours: number): string {
  return ours > 0 && naive > ours ? ` (${figure(naive / ours)}× fewer)` : "";
}

function hitShare({ cacheHits, cacheMisses }: RunStats): number {
  return cacheHits / Math.max(1, cacheHits + cacheMisses);
}

function dramByKind({ budget: _, total: __, ...kinds }: DramAccount): string {
  return Object.entries(kinds)
    .filter(([, bytes]) => bytes > 0)
    .map(([kind, bytes]) => `${kind} ${formatBytes(bytes)}`)
    .join(", ");
}
