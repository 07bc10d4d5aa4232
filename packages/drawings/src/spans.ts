/** One step on its own clock: what was computed, and which reads were in flight meanwhile. */
import { colourOf, prepare } from "./canvas.js";
import { PHASES } from "./phases.js";
import type { DrawnStep, StepPass } from "./step.js";

/** One step as it went: phases one after the other, and below them the reads that were in flight meanwhile; where it drafted, also its passes. */
export function drawSpans(canvas: HTMLCanvasElement, { ms, spans, passes, drafts }: DrawnStep): void {
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
