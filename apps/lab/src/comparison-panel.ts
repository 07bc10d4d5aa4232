/** Predicted beside measured: the figures at the head of the picture, and a bar of a mean token's time for each. */
import { formatBytes } from "@flashwick/core";
import { drawComparison, PHASES, type TimedRun } from "@flashwick/drawings";
import { element } from "./elements.js";
import type { Prediction, RunFacts, StepEvent } from "./messages.js";

type Expected = Extract<Prediction, { nothing: null }>;

/** What was expected of the settings last. */
let latest: Prediction | null = null;
/** Another one has been asked for. */
let isStale = true;
/** What was expected of the run that is shown; it stays beside its figures when settings move. */
let ofRun: Prediction | null = null;
/** Sums over the tokens of the run that is shown. */
let sums: { tokens: number; ms: number; phaseMs: Record<string, number> } | null = null;
let isWithDrafts = false;

/** The settings have moved: what is known is of those before, until {@link showPredicted} says otherwise. */
export function expectPrediction(): void {
  isStale = true;
}

/** @param prediction Null: nothing is known any more. */
export function showPredicted(prediction: Prediction | null): void {
  latest = prediction;
  isStale = prediction === null;
  // It may have been asked for just before the run began.
  if (sums !== null && ofRun === null) ofRun = prediction;
  drawHeadline();
}

/** A run begins with the settings that were predicted last. */
export function beginComparison({ drafts, fileBytes, dram }: RunFacts): void {
  ofRun = isStale ? null : latest;
  sums = { tokens: 0, ms: 0, phaseMs: {} };
  isWithDrafts = drafts !== "off";
  for (const id of ["speed", "read", "found"]) element(id).textContent = "–";
  element("held").textContent = formatBytes(dram.total);
  element("file-size").textContent = `of ${formatBytes(fileBytes)}`;
}

/** Another model. */
export function clearComparison(fileBytes: number): void {
  ofRun = sums = null;
  for (const id of ["speed", "read", "found", "held"]) element(id).textContent = "–";
  element("file-size").textContent = `of ${formatBytes(fileBytes)}`;
  drawHeadline();
}

/** Adds a step; its drawing follows with {@link drawHeadline}. */
export function measureStep({ accepted, ms, phaseMs }: StepEvent): void {
  if (sums === null) return;
  sums.tokens += 1 + accepted;
  sums.ms += ms;
  for (const { key } of PHASES) sums.phaseMs[key] = (sums.phaseMs[key] ?? 0) + (phaseMs[key] ?? 0);
}

/** @param last Of the run; absent before its first step. */
export function drawHeadline(last?: StepEvent): void {
  if (last) {
    const { tokensPerSec, flashBytesPerToken, cacheHitShare } = last.run;
    element("speed").textContent = tokensPerSec.toFixed(tokensPerSec < 10 ? 1 : 0);
    element("read").textContent = formatBytes(flashBytesPerToken);
    element("found").textContent = cacheHitShare === null ? "–" : `${(100 * cacheHitShare).toFixed(0)} %`;
  }
  const expected = expectedOf(sums === null ? latest : ofRun);
  element("speed-predicted").textContent = expected ? `predicted ${(1000 / expected.tokenMs).toFixed(0)}` : "";
  element("read-predicted").textContent = expected ? `predicted ${formatBytes(expected.flashBytesPerToken)}` : "";
  drawRuns(expected);
}

function expectedOf(prediction: Prediction | null): Expected | null {
  return prediction?.fits && prediction.nothing === null ? prediction : null;
}

function drawRuns(expected: Expected | null): void {
  const runs: TimedRun[] = [];
  const named = isWithDrafts && sums !== null ? "predicted, without drafts" : "predicted";
  if (expected) runs.push({ name: named, phaseMs: expected.phaseMs, tokenMs: expected.tokenMs });
  if (sums !== null && sums.tokens > 0) {
    const { tokens, ms, phaseMs } = sums;
    const mean = Object.fromEntries(Object.entries(phaseMs).map(([key, sum]) => [key, sum / tokens]));
    runs.push({ name: "measured", phaseMs: mean, tokenMs: ms / tokens });
  }
  drawComparison(element<HTMLCanvasElement>("comparison"), runs);
  element("comparison-text").textContent = comparisonText(expected, runs.at(-1));
}

function comparisonText(expected: Expected | null, last: TimedRun | undefined): string {
  const prediction = sums === null ? latest : ofRun;
  if (expected === null) return whyNot(prediction);
  const predicted = `Predicted ${expected.tokenMs.toFixed(2)} ms for the preset ${expected.device}, not for this machine`;
  return last?.name === "measured" ? `${predicted}; measured ${last.tokenMs.toFixed(2)} ms.` : `${predicted}.`;
}

function whyNot(prediction: Prediction | null): string {
  if (prediction === null) return "";
  if (!prediction.fits) return "Nothing is predicted: the model cannot run like this.";
  return `Nothing is predicted: ${prediction.nothing}.`;
}

/** For a saved result. */
export function predictedOfRun(): Pick<Expected, "tokenMs" | "flashBytesPerToken" | "device"> | null {
  const expected = expectedOf(ofRun);
  if (expected === null) return null;
  const { tokenMs, flashBytesPerToken, device } = expected;
  return { tokenMs, flashBytesPerToken, device };
}
