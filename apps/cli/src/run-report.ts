/** The statistics of a run as a table for a person. */
import { type DramAccount, formatBytes, type LeftMs, type RunLimit, type RunStats } from "@flashwick/core";
import { figure, percent, table } from "./table.js";

/** {@link runRows} as a table. */
export function runTable(stats: RunStats, unit: "neuron" | "expert"): string {
  return table(runRows(stats, unit));
}

/**
 * Every figure that the method is about, beside what the naive reader would pay: a name and a line each.
 *
 * @param unit What caches hold: `unitName` of the model's geometry.
 */
export function runRows(stats: RunStats, unit: "neuron" | "expert"): [string, string][] {
  return [
    ["speed", speedText(stats)],
    ["time", phases(stats)],
    ["flash", flashText(stats)],
    [`${unit}s`, usedUnits(stats, unit)],
    ["DRAM", dramText(stats)],
    ...speculationRow(stats),
    ["predicted", predictedText(stats)],
    ...limitRows(stats.limit),
    [
      "run",
      `${stats.mode}, cache policy ${stats.policy}; ${stats.backend} kernels${threads(stats)}${activations(stats)}, ${reading(stats)}`,
    ],
  ];
}

function speedText({ tokensPerSec, tokenMs: { mean, p99, max }, timeToFirstTokenMs }: RunStats): string {
  const token = `${figure(mean)} ms a token, p99 ${figure(p99)}, slowest ${figure(max)}`;
  return `${figure(tokensPerSec)} tokens/s: ${token}; first token after ${figure(timeToFirstTokenMs)} ms`;
}

/** Bytes and reads of a token; fewer than naive ones where that is so. */
function flashText(stats: RunStats): string {
  const { flashBytesPerToken, readsPerToken, naiveFlashBytesPerToken, naiveReadsPerToken } = stats;
  const ours = `${formatBytes(flashBytesPerToken)} in ${figure(readsPerToken)} reads per token`;
  const naive = `naive ${formatBytes(naiveFlashBytesPerToken)}${timesFewer(naiveFlashBytesPerToken, flashBytesPerToken)}`;
  return `${ours}; ${naive} in ${naiveReadsPerToken}${timesFewer(naiveReadsPerToken, readsPerToken)}`;
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
    return "nothing: runs with drafts are not predicted; flashwick plan --lossless predicts them beforehand";
  if (activationBits !== null) return "nothing: profiles know only kernels with activations of 15 bits";
  if (backend === "webgpu") return "nothing: profiles know only the processor's kernels";
  return "nothing: too little is known of what this run uses";
}

/** A device's are nobody's to count. */
function threads({ backend, threads }: RunStats): string {
  return backend === "webgpu" ? "" : ` on ${counted(threads, "thread")}`;
}

/** Nothing where they are as always. */
function activations({ activationBits }: RunStats): string {
  return activationBits === null ? "" : `, activations of ${activationBits} bits beside blocks`;
}

/** What the cost model expected, how far that was from what was measured, and by which profile; or why it expected nothing. */
export function predictedText(stats: RunStats): string {
  const { predicted, tokenMs, flashBytesPerToken } = stats;
  if (predicted === null) return notPredicted(stats);
  const token = `${figure(predicted.tokenMs)} ms a token (${difference(predicted.tokenMs, tokenMs.mean)})`;
  const flash = `${formatBytes(predicted.flashBytesPerToken)} of flash (${difference(predicted.flashBytesPerToken, flashBytesPerToken)})`;
  return `${token}, ${flash}; by ${predicted.device}`;
}

/** What the machine could have done, and where the rest of the time went. */
function limitRows(limit: RunLimit | null): [string, string][] {
  if (limit === null) return [];
  const { dramBytes, dramBytesPerSec, dramMs, flashBytesPerSec, flashMs, togetherMs, times } = limit;
  const flash = flashMs > 0 ? `, flash ${figure(flashMs)} (${gigabytesPerSec(flashBytesPerSec)})` : "";
  const dram = `DRAM ${figure(dramMs)} (${formatBytes(dramBytes)} at ${gigabytesPerSec(dramBytesPerSec)})`;
  return [
    ["limit", `${figure(togetherMs)} ms a token: ${dram}${flash}`],
    ["beyond it", `this run took ${figure(times)} times that; left: ${leftText(limit.leftMs)}`],
  ];
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

/** Nothing where nothing is read, or nothing is gained. */
function timesFewer(naive: number, ours: number): string {
  return ours > 0 && naive > ours ? ` (${figure(naive / ours)}× fewer)` : "";
}

function usedUnits({ neuronsNamedPerToken, cacheHitShare }: RunStats, unit: "neuron" | "expert"): string {
  const used = `${figure(neuronsNamedPerToken)} ${unit === "expert" ? "chosen" : "named"} per token`;
  return cacheHitShare === null ? used : `${used}, ${percent(cacheHitShare)} of them in DRAM already`;
}

const DRAM_NAMES: Readonly<Record<keyof Omit<DramAccount, "budget" | "total">, string>> = {
  resident: "weights",
  predictor: "predictors",
  neuronCache: "cache",
  kvCache: "keys and values in",
  activations: "activations",
  readBuffers: "read buffers",
};

function dramText({ dramBytes: { budget, total, ...kinds }, kvDType }: RunStats): string {
  const nameOf = (kind: string) =>
    `${DRAM_NAMES[kind as keyof typeof DRAM_NAMES]}${kind === "kvCache" ? ` ${kvDType}` : ""}`;
  const held = Object.entries(kinds)
    .filter(([, bytes]) => bytes > 0)
    .map(([kind, bytes]) => `${nameOf(kind)} ${formatBytes(bytes)}`);
  return `${formatBytes(total)} of ${formatBytes(budget)} held: ${held.join(", ")}`;
}
