/** Runs beside each other, for instance as predicted and as measured: a stacked bar each, on one scale. */
import { prepare } from "./canvas.js";
import { PHASES } from "./phases.js";

/** A token's mean time in one of the runs. */
export interface TimedRun {
  readonly name: string;
  /** By key of `PHASES`; phases that are not there take no time. */
  readonly phaseMs: Readonly<Record<string, number>>;
  readonly tokenMs: number;
}

const BAR_HEIGHT = 26;
const GAP = 34;
/** For the runs' names, above their bars, and for the figures right of them. */
const NAME_HEIGHT = 18;
const FIGURE_WIDTH = 72;

/** What of `tokenMs` is in no phase stays empty, so that the longest bar's end is the longest time. */
export function drawComparison(canvas: HTMLCanvasElement, runs: readonly TimedRun[]): void {
  const { context, width, ink } = prepare(canvas, runs.length * (BAR_HEIGHT + GAP));
  const most = Math.max(1e-6, ...runs.map(({ tokenMs }) => tokenMs));
  const scale = (width - FIGURE_WIDTH) / most;
  for (const [i, { name, phaseMs, tokenMs }] of runs.entries()) {
    const y = i * (BAR_HEIGHT + GAP) + NAME_HEIGHT;
    let x = 0;
    for (const { key, colour } of PHASES) {
      const wide = (phaseMs[key] ?? 0) * scale;
      context.fillStyle = colour;
      context.fillRect(x, y, wide, BAR_HEIGHT);
      x += wide;
    }
    context.fillStyle = context.strokeStyle = ink;
    context.lineWidth = 1;
    context.strokeRect(0.5, y + 0.5, Math.max(1, tokenMs * scale - 1), BAR_HEIGHT - 1);
    context.fillText(name, 0, y - 5);
    context.fillText(`${tokenMs.toFixed(2)} ms`, tokenMs * scale + 6, y + 18);
  }
}
