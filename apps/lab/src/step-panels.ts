/** The panels that follow a run step by step: its neurons or experts, its time, its bytes and memory, its drafts. */
import { formatBytes } from "@flashwick/core";
import { drawMap, drawSpans, drawTimeline, PHASES, STATE } from "@flashwick/drawings";
import { addStep, type DraftTotals, draftFigures, draftRow, draftSentences, NO_DRAFTS } from "./drafts-panel.js";
import { definitions, element } from "./elements.js";
import type { Drafts, RunFacts, RunFigures, StepEvent } from "./messages.js";

/** Of the timeline. */
const SHOWN_TOKENS = 64;

let facts: RunFacts | null = null;
/** The last steps, for the timeline: of at most {@link SHOWN_TOKENS} tokens, but always one. */
let steps: StepEvent[] = [];
let draftTotals: DraftTotals = NO_DRAFTS;
let isDrawing = false;

/** A run begins. @returns Who computes and who reads, in words. */
export function beginSteps(of: RunFacts): string {
  facts = of;
  steps = [];
  draftTotals = NO_DRAFTS;
  document.body.dataset.run = "shown";
  element("drafts-panel").hidden = element("drafts-legend").hidden = facts.drafts === "off";
  element("drafts-text").textContent = "";
  showMemory(facts);
  return whoWorks(facts);
}

/** Another model: nothing is known of it yet. */
export function clearSteps(): void {
  facts = null;
  steps = [];
  document.body.dataset.run = "none";
  element("drafts-panel").hidden = element("drafts-legend").hidden = true;
  for (const id of ["map-text", "spans-text", "drafts-text"]) element(id).textContent = "";
  for (const id of ["facts", "dram", "dram-legend"]) element(id).replaceChildren();
  element("phases").querySelector("tbody")!.replaceChildren();
  for (const id of ["map", "spans", "timeline"]) {
    const canvas = element<HTMLCanvasElement>(id);
    canvas.width = canvas.clientWidth;
  }
}

/** What memory keeps and drops at once, and what a token that leaves nothing out would read all of. */
function kept({ unit, mode }: RunFacts): string {
  return unit === "neuron" && mode === "dense" ? "layer" : unit;
}

function showMemory(of: RunFacts): void {
  const { dram, kvPrecision } = of;
  const all: readonly [string, number, string][] = [
    ["resident weights", dram.resident, "#0072b2"],
    ["predictors", dram.predictor, "#e69f00"],
    [kept(of) === "layer" ? "whole layers" : `${of.unit}s`, dram.neuronCache, "#009e73"],
    [`keys and values (${kvPrecision})`, dram.kvCache, "#cc79a7"],
    ["activations and buffers", dram.activations + dram.readBuffers, "#999999"],
  ];
  const kinds = all.filter(([, bytes]) => bytes > 0);
  element("dram").dataset.budget = `${dram.budget}`;
  element("dram").replaceChildren(
    ...kinds.map(([name, bytes, colour]) => {
      const part = document.createElement("span");
      part.style.cssText = `width:${(100 * bytes) / dram.budget}%;background:${colour}`;
      part.title = `${name}: ${formatBytes(bytes)}`;
      return part;
    }),
  );
  element("dram-legend").replaceChildren(
    ...kinds.map(([name, bytes, colour]) => {
      const item = document.createElement("li");
      item.append(swatch(colour), `${name} ${formatBytes(bytes)}`);
      return item;
    }),
  );
}

function swatch(colour: string): HTMLElement {
  const square = document.createElement("i");
  square.className = "swatch";
  square.style.background = colour;
  return square;
}

function whoWorks({ backend, fallback, readers, threads }: RunFacts): string {
  const who =
    backend === "webgpu" ? "The graphics processor computes. " : threads > 1 ? `${threads} threads compute. ` : "";
  return fallback === null
    ? `${who}Reading with ${readers === 0 ? "the engine's own thread" : `${readers} workers`}.`
    : `${who}One thread: ${fallback}.`;
}

export function showStep(event: StepEvent): void {
  steps = [...steps, event];
  while (steps.length > 1 && tokensOf(steps) > SHOWN_TOKENS) steps.shift();
  draftTotals = addStep(draftTotals, event);
  drawSoon();
}

/** At the screen's pace, whatever the engine's. */
function drawSoon(): void {
  if (!isDrawing) requestAnimationFrame(draw);
  isDrawing = true;
}

function tokensOf(of: readonly StepEvent[]): number {
  return of.reduce((sum, { accepted }) => sum + 1 + accepted, 0);
}

function draw(): void {
  isDrawing = false;
  const last = steps.at(-1);
  if (!facts || !last) return;
  drawMap(element<HTMLCanvasElement>("map"), facts, last.states);
  drawTimeline(element<HTMLCanvasElement>("timeline"), steps, { shownTokens: SHOWN_TOKENS });
  drawSpans(element<HTMLCanvasElement>("spans"), last);
  element("spans-text").textContent = spansText(last);
  if (facts.drafts !== "off") showDrafts(facts.drafts, last);
  element("map-text").textContent = mapText(facts, last);
  element("facts").replaceChildren(...definitions(byteFigures(facts, last)));
  keepFigures(facts, last.run);
  element("phases")
    .querySelector("tbody")!
    .replaceChildren(...PHASES.map((phase) => phaseRow(phase, last)));
}

/** Unrounded, for whoever measures. */
function keepFigures(
  { threads, readers }: RunFacts,
  { tokensPerSec, flashBytesPerToken, cacheHitShare, tokenMs }: RunFigures,
): void {
  const { p50, p99, max } = tokenMs;
  const figures = {
    tokensPerSec,
    flashBytesPerToken,
    cacheHitShare,
    p50Ms: p50,
    p99Ms: p99,
    slowestMs: max,
    threads,
    readers,
  };
  Object.assign(element("facts").dataset, figures);
}

function byteFigures(of: RunFacts, last: StepEvent): [string, string][] {
  const { dram, naiveBytesPerToken } = of;
  const { cacheHitShare, tokenMs } = last.run;
  const { hits, misses, flashBytes, flashReads, ms, isNamed } = last;
  const named = hits + misses;
  const shown = tokensOf(steps);
  const mean = steps.reduce((sum, { flashBytes: bytes }) => sum + bytes, 0) / shown;
  const ofUnits: [string, string][] = [
    ["times fewer", mean > 0 ? `${(naiveBytesPerToken / mean).toFixed(1)} ×` : "nothing was read"],
    ["found in memory", `${named > 0 ? ((100 * hits) / named).toFixed(1) : "100"} %`],
    ["… of all tokens so far", cacheHitShare === null ? "—" : `${(100 * cacheHitShare).toFixed(1)} %`],
  ];
  return [
    [subjectOf(last).toLowerCase(), `${ms.toFixed(1)} ms`],
    ["read from storage", `${formatBytes(flashBytes)} in ${flashReads} reads`],
    [`mean of ${shown} tokens`, formatBytes(mean)],
    [`every ${kept(of)} would be`, formatBytes(naiveBytesPerToken)],
    ...(isNamed ? ofUnits : []),
    ["99 of 100 tokens took at most", `${tokenMs.p99.toFixed(1)} ms`],
    ["slowest token", `${tokenMs.max.toFixed(1)} ms`],
    ["memory", `${formatBytes(dram.total)} of ${formatBytes(dram.budget)}`],
  ];
}

function phaseRow({ key, name, colour }: (typeof PHASES)[number], { phaseMs }: StepEvent): HTMLTableRowElement {
  const row = document.createElement("tr");
  const [label, value] = [document.createElement("td"), document.createElement("td")];
  label.append(swatch(colour), name);
  value.textContent = (phaseMs[key] ?? 0).toFixed(2);
  row.append(label, value);
  return row;
}

function showDrafts(drafts: Exclude<Drafts, "off">, last: StepEvent): void {
  element("drafts-text").textContent = draftSentences(steps);
  element("drafts-facts").replaceChildren(...definitions(draftFigures(drafts, draftTotals, last)));
  // What the lanes of the timeline show, in words; the last step first.
  const first = draftTotals.steps - steps.length + 1;
  const rows = steps.map((step, i) => draftRow(first + i, step));
  element("drafts-table")
    .querySelector("tbody")!
    .replaceChildren(...rows.reverse());
}

/** What the figures of a step are of. */
function subjectOf({ drafts, accepted }: StepEvent): string {
  if (drafts.length === 0) return "Last token";
  return accepted === 0 ? "Last step, 1 token" : `Last step, ${1 + accepted} tokens`;
}

function mapText({ unit, dFf, unitsByLayer }: RunFacts, step: StepEvent): string {
  const filled = unitsByLayer.filter((units) => units > 0).length;
  const layers = `${filled} layers of ${dFf} ${unit}s. ${subjectOf(step)}:`;
  if (!step.isNamed) return `${layers} every neuron is used.`;
  const count = (state: number) => step.states.reduce((sum, own) => sum + (own === state ? 1 : 0), 0);
  const fetched = count(STATE.fetched);
  const awake = count(STATE.awake) + fetched;
  const share = ((100 * awake) / unitsByLayer.reduce((sum, units) => sum + units, 0)).toFixed(1);
  const verifies = step.passes.some(({ kind }) => kind === "draft") ? " The dense pass used every neuron." : "";
  return `${layers} ${awake} ${unit === "expert" ? "chosen" : "awake"} (${share} %), ${fetched} of them fetched.${verifies}`;
}

/** What of the reading was hidden behind computing. */
function spansText(step: StepEvent): string {
  const { ms, spans, phaseMs } = step;
  const subject = subjectOf(step);
  const flown = spans.reduce((sum, { what, beginMs, endMs }) => sum + (what === "reads" ? endMs - beginMs : 0), 0);
  const waited = phaseMs.readWait ?? 0;
  if (flown === 0) return `${subject}: ${ms.toFixed(1)} ms, nothing was read.`;
  const hidden = Math.max(0, flown - waited);
  return `${subject}: ${ms.toFixed(1)} ms. Reads were in flight for ${flown.toFixed(1)} ms, ${hidden.toFixed(1)} of them beside other work.`;
}

// Pictures are as wide as their panels, in the colours of the scheme.
addEventListener("resize", drawSoon);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawSoon);
