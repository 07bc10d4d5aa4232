/** The pictures of the page, on canvases: purely from data, at the screen's own resolution. */
import { colourOf, prepare } from "./canvas.js";
import type { StepEvent, StepPass } from "./messages.js";

/** Phases of a token in their order; colours that the colour-blind tell apart (Okabe and Ito). */
export const PHASES = [
  { key: "predict", name: "predict", colour: "#f0e442" },
  { key: "cache", name: "cache", colour: "#cc79a7" },
  { key: "readWait", name: "wait for reads", colour: "#d55e00" },
  { key: "check", name: "checksums", colour: "#bbbbbb" },
  { key: "attention", name: "attention", colour: "#0072b2" },
  { key: "ffn", name: "FFN", colour: "#009e73" },
  { key: "head", name: "head", colour: "#56b4e9" },
  { key: "other", name: "other: the event loop", colour: "#707070" },
] as const;

/** Of the timeline. */
export const SHOWN_TOKENS = 64;

/** Below the bars, where tokens are drafted: a lane of accepted drafts, and one of rejected ones. */
const ACCEPTED_LANE = 22;
const REJECTED_LANE = 42;

/**
 * A stacked bar a token; one that a step of several tokens brought has an equal share of it. Where there are drafts, each accepted one is marked under its own bar, and
 * those that a step rejected are stacked under its last.
 */
export function drawTimeline(canvas: HTMLCanvasElement, steps: readonly StepEvent[]): void {
  const drafts = steps.some(({ drafts }) => drafts.length > 0);
  const lanes = drafts ? ACCEPTED_LANE + REJECTED_LANE : 0;
  const { context, width, height, ink } = prepare(canvas, 140 + lanes);
  const left = 60;
  const bottom = height - 18 - lanes;
  const phaseSum = ({ phaseMs }: StepEvent) => PHASES.reduce((sum, { key }) => sum + (phaseMs[key] ?? 0), 0);
  const most = Math.max(1e-3, ...steps.map((step) => phaseSum(step) / (1 + step.accepted)));
  const room = (width - left) / SHOWN_TOKENS;
  const columnWidth = Math.max(1, room - 1);
  let x = left;
  for (const step of steps) {
    const tokens = 1 + step.accepted;
    for (let row = 0; row < tokens; row++) {
      let y = bottom;
      for (const { key, colour } of PHASES) {
        const size = ((step.phaseMs[key] ?? 0) / tokens / most) * (bottom - 8);
        context.fillStyle = colour;
        context.fillRect(x + row * room, y - size, columnWidth, size);
        y -= size;
      }
    }
    if (drafts) drawDrafts(canvas, context, step, { x, room, columnWidth, top: bottom });
    x += tokens * room;
  }
  context.fillStyle = ink;
  context.textAlign = "right";
  context.fillText(`${most.toFixed(1)} ms`, left - 4, 14);
  context.fillText("0", left - 4, bottom);
  if (drafts) {
    context.fillText("accepted", left - 4, bottom + 16);
    context.fillText("rejected", left - 4, bottom + ACCEPTED_LANE + 14);
  }
  context.textAlign = "left";
  context.fillText("tokens →", left, height - 4);
}

/** A step's drafts in their lanes. */
function drawDrafts(
  canvas: HTMLCanvasElement,
  context: CanvasRenderingContext2D,
  { drafts, accepted }: StepEvent,
  place: { readonly x: number; readonly room: number; readonly columnWidth: number; readonly top: number },
): void {
  const { x, room, columnWidth, top } = place;
  context.fillStyle = colourOf(canvas, "--accepted");
  // The line holds a step together: it begins under the token that was not drafted.
  if (accepted > 0) context.fillRect(x, top + 11, accepted * room + columnWidth, 2);
  for (let row = 1; row <= accepted; row++) context.fillRect(x + row * room, top + 7, columnWidth, 10);
  const rejected = drafts.length - accepted;
  const tall = Math.min(8, (REJECTED_LANE - 4) / Math.max(1, rejected));
  context.strokeStyle = colourOf(canvas, "--rejected");
  context.lineWidth = 1.5;
  for (let i = 0; i < rejected; i++) {
    const y = top + ACCEPTED_LANE + 4 + i * tall;
    context.strokeRect(x + accepted * room + 0.75, y, Math.max(1, columnWidth - 1.5), Math.max(1, tall - 3));
  }
}

/** One step as it went: phases one after the other, and below them the reads that were in flight meanwhile; where it drafted, also its passes. */
export function drawSpans(canvas: HTMLCanvasElement, { ms, spans, passes, drafts }: StepEvent): void {
  const lanes = drafts.length > 0 ? 28 : 0;
  const { context, width, height, ink } = prepare(canvas, 84 + lanes);
  const left = 68;
  const x = (at: number) => left + (at / ms) * (width - left - 1);
  const lane = (flight: boolean) => (flight ? 36 : 8);
  for (const { what, beginMs, endMs } of spans) {
    const phase = PHASES.find(({ key }) => key === what);
    context.fillStyle = what === "reads" ? "#e69f00" : phase!.colour;
    context.fillRect(x(beginMs), lane(what === "reads"), Math.max(0.5, x(endMs) - x(beginMs)), 22);
  }
  if (lanes > 0) for (const pass of passes) drawPass(canvas, context, pass, x(pass.beginMs), x(pass.endMs));
  context.fillStyle = ink;
  context.textAlign = "right";
  context.fillText("computes", left - 4, lane(false) + 15);
  context.fillText("reads", left - 4, lane(true) + 15);
  if (lanes > 0) context.fillText("passes", left - 4, PASS_LANE + 15);
  context.fillText(`${ms.toFixed(1)} ms`, width - 1, height - 6);
  context.textAlign = "left";
  context.fillText("0", left, height - 6);
}

const PASS_LANE = 64;

/** A pass that drafts is hollow, the one that verifies filled; each says what it is where there is room. */
function drawPass(
  canvas: HTMLCanvasElement,
  context: CanvasRenderingContext2D,
  { kind, rows }: StepPass,
  begin: number,
  end: number,
): void {
  const isDraft = kind === "draft";
  const wide = Math.max(1, end - begin - 1);
  context.fillStyle = context.strokeStyle = colourOf(canvas, isDraft ? "--ink" : "--verify");
  context.lineWidth = 1;
  if (isDraft) context.strokeRect(begin + 0.5, PASS_LANE + 0.5, Math.max(0.5, wide - 1), 21);
  else context.fillRect(begin, PASS_LANE, wide, 22);
  const label = isDraft ? "draft" : `verify ${rows}`;
  if (context.measureText(label).width > wide - 6) return;
  context.fillStyle = colourOf(canvas, isDraft ? "--ink" : "--on-verify");
  context.textAlign = "center";
  context.fillText(label, begin + wide / 2, PASS_LANE + 15);
}

const POLICY_LOOKS: Readonly<Record<string, { readonly colour: string; readonly dash: readonly number[] }>> = {
  window: { colour: "#0072b2", dash: [] },
  lru: { colour: "#e69f00", dash: [7, 4] },
  pinned: { colour: "#009e73", dash: [2, 4] },
  lfu: { colour: "#cc79a7", dash: [9, 3, 2, 3] },
  "s3-fifo": { colour: "#d55e00", dash: [4, 3] },
  clairvoyant: { colour: "#888888", dash: [1, 2] },
};

/** Misses over slots, a line a policy. */
export function drawMisses(
  canvas: HTMLCanvasElement,
  rows: readonly { readonly policy: string; readonly slots: number; readonly missShare: number }[],
  dFf: number,
): void {
  const { context, width, height, ink } = prepare(canvas, 220);
  const left = 44;
  const bottom = height - 40;
  const low = Math.log(Math.min(...rows.map(({ slots }) => slots)));
  const high = Math.log(Math.max(...rows.map(({ slots }) => slots)));
  const x = (slots: number) => left + ((Math.log(slots) - low) / Math.max(1e-9, high - low)) * (width - left - 12);
  const y = (share: number) => bottom - share * (bottom - 12);
  context.fillStyle = ink;
  context.textAlign = "right";
  for (const share of [0, 0.5, 1]) context.fillText(`${100 * share} %`, left - 6, y(share) + 4);
  context.textAlign = "center";
  for (const slots of new Set(rows.map((row) => row.slots))) {
    context.fillText(`${Math.round((100 * slots) / dFf)} %`, Math.min(width - 14, x(slots)), bottom + 15);
  }
  let legend = left;
  context.textAlign = "left";
  for (const policy of new Set(rows.map((row) => row.policy))) {
    const { colour, dash } = POLICY_LOOKS[policy]!;
    context.strokeStyle = colour;
    context.lineWidth = 2;
    context.setLineDash([...dash]);
    context.beginPath();
    for (const { slots, missShare } of rows.filter((row) => row.policy === policy))
      context.lineTo(x(slots), y(missShare));
    context.stroke();
    context.beginPath();
    context.moveTo(legend, height - 8);
    context.lineTo(legend + 18, height - 8);
    context.stroke();
    context.fillText(policy, legend + 22, height - 4);
    legend += 30 + context.measureText(policy).width;
  }
  context.setLineDash([]);
}

export interface EpochPoint {
  readonly layer: number;
  readonly epoch: number;
  readonly loss: number;
  /** Share of the active neurons. */
  readonly recall: number;
}

/** Loss and recall after each epoch, above each other: a line a layer, one layer behind the other. */
export function drawTraining(canvas: HTMLCanvasElement, points: readonly EpochPoint[], nLayers: number): void {
  const { context, width, height, ink } = prepare(canvas, 198);
  const left = 56;
  const room = (width - left) / nLayers;
  const last = Math.max(...points.map(({ epoch }) => epoch));
  const panels = [
    { key: "loss", colour: "#d55e00", top: 26, format: (value: number) => value.toFixed(3) },
    { key: "recall", colour: "#0072b2", top: 112, format: (value: number) => `${Math.round(100 * value)} %` },
  ] as const;
  const tall = 50;
  for (const { key, colour, top, format } of panels) {
    const values = points.map((point) => point[key]);
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const y = (value: number) => top + tall * (high === low ? 0.5 : (high - value) / (high - low));
    context.strokeStyle = context.fillStyle = colour;
    context.lineWidth = 2;
    for (let layer = 0; layer < nLayers; layer++) {
      context.beginPath();
      for (const point of points.filter((own) => own.layer === layer)) {
        const x = left + room * (layer + 0.15 + (0.7 * point.epoch) / last);
        context.lineTo(x, y(point[key]));
        context.fillRect(x - 2, y(point[key]) - 2, 4, 4);
      }
      context.stroke();
    }
    context.fillStyle = ink;
    context.textAlign = "right";
    context.fillText(format(high), left - 4, top + 4);
    if (high > low) context.fillText(format(low), left - 4, top + tall + 4);
    context.textAlign = "left";
    context.fillText(key === "loss" ? "loss" : "recall on held-out text", left, top - 6);
  }
  context.fillText("epochs, layer by layer →", left, height - 4);
}
