/** The statistics of a run as a table for a person. */
import {
  type DramAccount,
  formatBytes,
  type LeftMs,
  type PhaseMs,
  type PredictedRun,
  type RunLimit,
  type RunStats,
} from "@flashwick/core";
import { figure, percent, table } from "./table.js";

/**
 * Every figure that the method is about, beside what the naive reader would pay.
 *
 * @param unit What caches hold: `unitName` of the model's geometry.
 */
export function runTable(stats: RunStats, unit: "neuron" | "expert"): string {
  const { tokenMs, dramBytes } = stats;
  const { p50, p99, max } = tokenMs;
  return table([
    ["speed", `${figure(stats.tokensPerSec)} tokens/s, first token after ${figure(stats.timeToFirstTokenMs)} ms`],
    [
      "token",
      `${figure(tokenMs.mean)} ms on average, p50 ${figure(p50)}, p99 ${figure(p99)}, slowest ${figure(max)}: ${phases(stats)}`,
    ],
    ["flash", `${formatBytes(stats.flashBytesPerToken)} per token, ${fewerBytes(stats)}`],
    ["reads", `${figure(stats.readsPerToken)} per token, ${fewerReads(stats)}`],
    [`${unit}s`, usedUnits(stats, unit)],
    ["DRAM", `${formatBytes(dramBytes.total)} of ${formatBytes(dramBytes.budget)}: ${dramByKind(dramBytes)}`],
    ["mode", `${stats.mode}, cache policy ${stats.policy}, keys and values ${stats.kvDType}`],
    ...speculationRow(stats),
    ["machine", `${stats.backend} kernels${threads(stats)}${activations(stats)}, ${reading(stats)}`],
    ["predicted", stats.predicted === null ? notPredicted(stats) : predictedText(stats.predicted, stats)],
    ...(stats.limit === null ? [] : [["limit", limitText(stats.limit)]]),
  ]);
}

/** Nothing where nothing was drafted. */
function speculationRow({ speculation }: RunStats): [string, string][] {
  if (speculation === null) return [];
  const { drafter, drafted, accepted, steps, tokensPerStep, draftMs, verifyMs } = speculation;
  const drafting = draftMs + verifyMs > 0 ? `, ${percent(draftMs / (draftMs + verifyMs))} of the time drafting` : "";
  const share = drafted > 0 ? ` (${percent(accepted / drafted)})` : "";
  return [
    [
      "drafts",
      `${drafter}: ${accepted} of ${drafted} accepted${share}, ${figure(tokensPerStep)} tokens a step in ${counted(steps, "step")}${drafting}`,
    ],
  ];
}

function notPredicted({ backend, speculation, activationBits }: RunStats): string {
  if (speculation !== null)
    return "nothing: steps with drafts are not predicted beside a run; flashwick plan --lossless is beforehand";
  if (activationBits !== null) return "nothing: profiles know kernels with activations of 15 bits only";
  if (backend === "webgpu") return "nothing: profiles know the processor's kernels only";
  return "nothing: no profile of this machine is kept for this run (flashwick profile measures one), or its experts depend on the cache";
}

/** A device's are nobody's to count. */
function threads({ backend, threads }: RunStats): string {
  return backend === "webgpu" ? "" : ` on ${counted(threads, "thread")}`;
}

/** Nothing where they are as always. */
function activations({ activationBits }: RunStats): string {
  return activationBits === null ? "" : `, activations of ${activationBits} bits beside blocks`;
}

/** What the cost model expected, phase by phase, and how far that was from what was measured. */
function predictedText(predicted: PredictedRun, { tokenMs, flashBytesPerToken, msPerToken }: RunStats): string {
  const times = Object.entries(predicted.msPerToken)
    .filter(([phase, ms]) => ms > 0 || msPerToken[phase as keyof PhaseMs] > 0)
    .map(([phase, ms]) => `${phase} ${figure(ms)}`);
  return [
    `${figure(predicted.tokenMs)} ms a token (${difference(predicted.tokenMs, tokenMs.mean)}): ${times.join(", ")}`,
    `${formatBytes(predicted.flashBytesPerToken)} (${difference(predicted.flashBytesPerToken, flashBytesPerToken)})`,
  ].join("; ");
}

/** What the machine could have done, and where the rest of the time went. */
function limitText(limit: RunLimit): string {
  const { dramBytes, dramBytesPerSec, dramMs, flashBytesPerSec, flashMs, togetherMs, times } = limit;
  const flash = flashMs > 0 ? `, flash ${figure(flashMs)} (${gigabytesPerSec(flashBytesPerSec)})` : "";
  return [
    `${figure(togetherMs)} ms a token: DRAM ${figure(dramMs)} (${formatBytes(dramBytes)} at ${gigabytesPerSec(dramBytesPerSec)})${flash}`,
    `this run took ${figure(times)} times that; left: ${leftText(limit.leftMs)}`,
  ].join("; ");
}

function gigabytesPerSec(bytesPerSec: number): string {
  return `${figure(bytesPerSec / 1e9)} GB/s`;
}

const LEFT_NAMES: Readonly<Record<keyof LeftMs, string>> = {
  reads: "reads",
  compute: "compute",
  cache: "cache",
  check: "check",
  other: "other",
  inTurns: "in turns",
};

/** Milliseconds beyond the limit, by cause, the longest first. */
export function leftText(left: LeftMs): string {
  return Object.entries(left)
    .filter(([, ms]) => Math.abs(ms) >= LEAST_LEFT_MS)
    .sort(([, a], [, b]) => b - a)
    .map(([cause, ms]) => `${LEFT_NAMES[cause as keyof LeftMs]} ${figure(ms)}`)
    .join(", ");
}

/** What rounds to nothing is not listed. */
const LEAST_LEFT_MS = 0.005;

/** "+4 %": how much more was expected than measured. */
function difference(expected: number, measured: number): string {
  if (measured === 0) return expected === 0 ? "as measured" : "none measured";
  const share = Math.round((100 * (expected - measured)) / measured);
  return `${share > 0 ? "+" : ""}${share} %`;
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

function usedUnits({ neuronsNamedPerToken, cacheHitShare }: RunStats, unit: "neuron" | "expert"): string {
  const used = `${figure(neuronsNamedPerToken)} ${unit === "expert" ? "chosen" : "named"} per token`;
  return cacheHitShare === null ? used : `${used}, ${percent(cacheHitShare)} of them in DRAM already`;
}

function dramByKind({ budget: _, total: __, ...kinds }: DramAccount): string {
  return Object.entries(kinds)
    .filter(([, bytes]) => bytes > 0)
    .map(([kind, bytes]) => `${kind} ${formatBytes(bytes)}`)
    .join(", ");
}
