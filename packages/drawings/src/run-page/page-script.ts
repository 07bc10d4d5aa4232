/** The script of a run's page: draws what the page carries, and lets its reader choose a token. Bundled into the page. */
import { drawComparison } from "../comparison.js";
import { drawSpans } from "../spans.js";
import { STATE } from "../step.js";
import { drawTimeline, stepAt } from "../timeline.js";
import { drawMap } from "../unit-map.js";
import { unpackStates } from "./packed-states.js";
import type { ReportedStep, RunReport } from "./run-report.js";

const report = JSON.parse(document.getElementById("run")!.textContent!) as RunReport;
const { steps, map, comparison } = report;
const shownTokens = Math.max(
  32,
  steps.reduce((sum, { accepted }) => sum + 1 + accepted, 0),
);
let chosen = steps.length - 1;

function canvasOf(id: string): HTMLCanvasElement | null {
  return document.getElementById(id) as HTMLCanvasElement | null;
}

function say(id: string, text: string): void {
  const element = document.getElementById(id);
  if (element) element.textContent = text;
}

function draw(): void {
  const canvas = canvasOf("comparison");
  if (canvas && comparison) drawComparison(canvas, comparison);
  const step = steps[chosen];
  if (!step) return;
  drawTimeline(canvasOf("timeline")!, steps, { shownTokens, chosen });
  drawSpans(canvasOf("spans")!, step);
  say("step-number", `${report.stepsBefore + chosen + 1} of ${report.stepsBefore + steps.length}`);
  say("step-text", stepText(step));
  drawUnits(step);
}

function drawUnits(step: ReportedStep): void {
  const canvas = canvasOf("map");
  if (!canvas || !map) return;
  const states = step.states === null ? null : unpackStates(step.states, map.nLayers * map.dFf);
  canvas.hidden = states === null;
  if (states) drawMap(canvas, map, states);
  say("map-text", mapText(step, states));
}

function stepText({ text, drafts, accepted, ms, flashBytes, flashReads }: ReportedStep): string {
  const drafted = drafts.length > 0 ? `, ${accepted} of ${drafts.length} drafts accepted` : "";
  return `${JSON.stringify(text)}: ${ms.toFixed(2)} ms${drafted}; ${(flashBytes / 1024).toFixed(0)} KiB of flash in ${flashReads} reads.`;
}

function mapText({ isNamed, hits, misses }: ReportedStep, states: Uint8Array | null): string {
  if (!isNamed) return "This step used every neuron.";
  const units = `${map!.unit}s`;
  const used = `This step used ${hits + misses} ${units}: ${hits} were in DRAM, ${misses} had to be read.`;
  if (states === null) return `${used} Which ones is kept of the last steps only.`;
  const waiting = states.reduce((sum, state) => sum + (state === STATE.resident ? 1 : 0), 0);
  return `${used} DRAM held ${waiting} more.`;
}

function choose(step: number): void {
  chosen = Math.max(0, Math.min(steps.length - 1, step));
  slider.value = `${chosen}`;
  draw();
}

const slider = (document.getElementById("step") ?? document.createElement("input")) as HTMLInputElement;
slider.oninput = () => choose(Number(slider.value));
canvasOf("timeline")?.addEventListener("click", ({ offsetX, currentTarget }) => {
  choose(stepAt(steps, { shownTokens }, offsetX, (currentTarget as HTMLCanvasElement).clientWidth));
});
addEventListener("resize", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
draw();
