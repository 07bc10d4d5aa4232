/** A bar a token: where its milliseconds went. */
import { colourOf, prepare } from "./canvas.js";
import { PHASES } from "./phases.js";
import type { DrawnStep } from "./step.js";

/** Below the bars, where tokens are drafted: a lane of accepted drafts, and one of rejected ones. */
const ACCEPTED_LANE = 22;
const REJECTED_LANE = 42;

/** How a timeline is drawn. */
export interface TimelineOptions {
  /** That the width has room for. */
  readonly shownTokens: number;
  /** Index of a step to mark. */
  readonly chosen?: number;
}

/** Of the canvas, left of the bars: for what the axis says. */
const LEFT = 60;

/**
 * A stacked bar a token; one that a step of several tokens brought has an equal share of it. A few bars that are much longer than the others are cut, with a
 * gap below their ends. Where there are drafts, each accepted one is marked under its own bar, and those that a step rejected are stacked under its last.
 */
export function drawTimeline(canvas: HTMLCanvasElement, steps: readonly DrawnStep[], options: TimelineOptions): void {
  const drafts = steps.some(({ drafts }) => drafts.length > 0);
  const lanes = drafts ? ACCEPTED_LANE + REJECTED_LANE : 0;
  const { context, width, height, ink } = prepare(canvas, 140 + lanes);
  const bottom = height - 18 - lanes;
  const most = longestShown(steps.map((step) => phaseSum(step) / (1 + step.accepted)));
  const room = (width - LEFT) / options.shownTokens;
  const columnWidth = Math.max(1, room - 1);
  let x = LEFT;
  for (const [i, step] of steps.entries()) {
    const place = { x, room, columnWidth, top: bottom };
    drawBars(context, step, most, place);
    if (drafts) drawDrafts(canvas, context, step, place);
    context.fillStyle = ink;
    // Beyond the bars and above the words, so that it hides nothing.
    if (i === options.chosen) context.fillRect(x, bottom + 1, Math.max(3, (1 + step.accepted) * room - 1), 3);
    x += (1 + step.accepted) * room;
  }
  context.fillStyle = ink;
  context.textAlign = "right";
  context.fillText(`${most.toFixed(1)} ms`, LEFT - 4, 14);
  context.fillText("0", LEFT - 4, bottom);
  if (drafts) {
    context.fillText("accepted", LEFT - 4, bottom + 16);
    context.fillText("rejected", LEFT - 4, bottom + ACCEPTED_LANE + 14);
  }
  context.textAlign = "left";
  context.fillText("tokens →", LEFT, height - 4);
}

/**
 * The step whose bars stand at a place of a timeline.
 *
 * @param x     Pixels of the page, from the canvas's left edge.
 * @param width Of the canvas, likewise.
 * @returns An index; the nearest one where nothing stands.
 */
export function stepAt(
  steps: readonly DrawnStep[],
  { shownTokens }: TimelineOptions,
  x: number,
  width: number,
): number {
  const room = (width - LEFT) / shownTokens;
  let end = LEFT;
  for (const [i, { accepted }] of steps.entries()) {
    end += (1 + accepted) * room;
    if (x < end) return i;
  }
  return steps.length - 1;
}

/** Times the median: a first token, and one that somebody else's work held up, must not make all others flat. */
const LONGEST_SHOWN = 5;

/** What the axis ends with, milliseconds. */
function longestShown(tokenMs: readonly number[]): number {
  const ascending = [...tokenMs].sort((a, b) => a - b);
  const median = ascending[ascending.length >> 1] ?? 0;
  return Math.max(1e-3, Math.min(ascending.at(-1) ?? 0, LONGEST_SHOWN * median));
}

function phaseSum({ phaseMs }: DrawnStep): number {
  return PHASES.reduce((sum, { key }) => sum + (phaseMs[key] ?? 0), 0);
}

/** Where a step's columns stand. */
interface Place {
  readonly x: number;
  readonly room: number;
  readonly columnWidth: number;
  /** Of the lanes below the bars. */
  readonly top: number;
}

/** Above the longest bar. */
const TOP = 8;
/** The longest bar that is shown whole is not cut for a rounding. */
const CUT_TOLERANCE = 1 + 1e-9;

function drawBars(context: CanvasRenderingContext2D, step: DrawnStep, most: number, place: Place): void {
  const { x, room, columnWidth, top } = place;
  const tokens = 1 + step.accepted;
  const isCut = phaseSum(step) / tokens > most * CUT_TOLERANCE;
  for (let row = 0; row < tokens; row++) {
    let y = top;
    for (const { key, colour } of PHASES) {
      const size = Math.min(y - TOP, ((step.phaseMs[key] ?? 0) / tokens / most) * (top - TOP));
      context.fillStyle = colour;
      context.fillRect(x + row * room, y - size, columnWidth, size);
      y -= size;
    }
    if (isCut) context.clearRect(x + row * room, TOP + 5, columnWidth, 3);
  }
}

/** A step's drafts in their lanes. */
function drawDrafts(
  canvas: HTMLCanvasElement,
  context: CanvasRenderingContext2D,
  { drafts, accepted }: DrawnStep,
  place: Place,
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
