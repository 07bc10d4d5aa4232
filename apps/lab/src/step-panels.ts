/** The picture that follows a run step by step: its neurons or experts, its time, its drafts. */
import { drawMap, drawSpans, drawTimeline, type MapFacts, PHASES, prepare } from "@flashwick/drawings";
import { beginComparison, clearComparison, drawHeadline, measureStep } from "./comparison-panel.js";
import { addStep, type DraftTotals, draftFigures, draftRow, draftSentences, NO_DRAFTS } from "./drafts-panel.js";
import { definitions, element, swatch } from "./elements.js";
import { clearMemory, showBytes, showMemory } from "./memory-panel.js";
import type { Drafts, ModelFacts, RunFacts, StepEvent } from "./messages.js";
import { mapText, spansText, tokensOf, whoWorks } from "./step-words.js";

/** Of the timeline. */
const SHOWN_TOKENS = 64;

let facts: RunFacts | null = null;
/** Of the model, before anything has run. */
let blankMap: MapFacts | null = null;
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
  beginComparison(facts);
  return whoWorks(facts);
}

/** Another model: nothing of it has been read yet, and the picture says so. */
export function clearSteps({ map, fileBytes }: ModelFacts): void {
  facts = null;
  steps = [];
  blankMap = map;
  document.body.dataset.run = "none";
  element("drafts-panel").hidden = element("drafts-legend").hidden = true;
  element("map-text").textContent = map === null ? "" : blankText(map);
  element("spans-text").textContent = "Nothing has run yet.";
  element("drafts-text").textContent = "";
  clearMemory();
  clearComparison(fileBytes);
  drawSoon();
}

function blankText({ unit, dFf, unitsByLayer }: MapFacts): string {
  return `${unitsByLayer.filter((units) => units > 0).length} layers of ${dFf} ${unit}s, all on storage: none has been read yet.`;
}

export function showStep(event: StepEvent): void {
  steps = [...steps, event];
  while (steps.length > 1 && tokensOf(steps) > SHOWN_TOKENS) steps.shift();
  draftTotals = addStep(draftTotals, event);
  measureStep(event);
  drawSoon();
}

/** At the screen's pace, whatever the engine's. */
function drawSoon(): void {
  if (!isDrawing) requestAnimationFrame(draw);
  isDrawing = true;
}

function draw(): void {
  isDrawing = false;
  const last = steps.at(-1);
  drawHeadline(last);
  element("phases").replaceChildren(...PHASES.map((phase) => phaseItem(phase, last)));
  if (facts && last) drawStep(facts, last);
  else drawBlank();
}

function drawStep(facts: RunFacts, last: StepEvent): void {
  drawMap(element<HTMLCanvasElement>("map"), facts, last.states);
  drawTimeline(element<HTMLCanvasElement>("timeline"), steps, { shownTokens: SHOWN_TOKENS });
  drawSpans(element<HTMLCanvasElement>("spans"), last);
  element("spans-text").textContent = spansText(last);
  if (facts.drafts !== "off") showDrafts(facts.drafts, last);
  element("map-text").textContent = mapText(facts, last);
  showBytes(facts, steps);
}

/** The map of a model that has not run: everything is on storage. */
function drawBlank(): void {
  const none = new Uint8Array(blankMap ? blankMap.nLayers * blankMap.dFf : 0);
  if (blankMap) drawMap(element<HTMLCanvasElement>("map"), blankMap, none);
  for (const [id, height] of BLANK) prepare(element<HTMLCanvasElement>(id), height);
}

/** Pictures without anything in them, as high as the first step needs them. */
const BLANK = [
  ["timeline", 140],
  ["spans", 84],
] as const;

/** A phase in the legend of the timeline, with what it took of the last token or step. */
function phaseItem({ key, name, colour }: (typeof PHASES)[number], last: StepEvent | undefined): HTMLLIElement {
  const item = document.createElement("li");
  item.append(swatch(colour), last ? `${name} ${(last.phaseMs[key] ?? 0).toFixed(2)}` : name);
  return item;
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

// Pictures are as wide as their panels, in the colours of the scheme.
addEventListener("resize", drawSoon);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawSoon);
drawSoon();
