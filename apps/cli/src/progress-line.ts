/**
 * Progress on standard error: a bar that redraws itself on a terminal; elsewhere (a log) a plain line now and then, and none for
 * what is over at once.
 */
import { formatBytes, type OnProgress, type Progress } from "@flashwick/core";
import type { Terminal } from "./terminal.js";

const REDRAW_MS = 80;
/** A log should say soon that something is alive, and then not how it moves. */
const FIRST_LOG_MS = 300;
const LOG_MS = 5000;
const BAR_CHARACTERS = 24;
const CLEAR_LINE = "\r\x1b[2K";

export interface ProgressLine {
  readonly onProgress: OnProgress;
  /** Takes the bar off the screen, before anything else is written. */
  clear(): void;
}

export function progressLine({ err, env, clock }: Terminal): ProgressLine {
  const isBar = err.isTty && env.TERM !== "dumb";
  let phase = "";
  let lastMs = clock();
  let intervalMs = isBar ? REDRAW_MS : FIRST_LOG_MS;
  let drawn = false;
  return {
    onProgress(progress) {
      const now = clock();
      const isNew = progress.phase !== phase;
      const isDue = now - lastMs >= intervalMs;
      if (!(isDue || (isBar && (isNew || progress.loaded >= progress.total)))) return;
      phase = progress.phase;
      lastMs = now;
      if (!isBar) intervalMs = LOG_MS;
      const text = describe(progress);
      if (isBar) err.write(`${CLEAR_LINE}${`${bar(progress)} ${text}`.slice(0, err.columns - 1)}`);
      else err.write(`${text}\n`);
      drawn = isBar;
    },
    clear() {
      if (drawn) err.write(CLEAR_LINE);
      drawn = false;
    },
  };
}

function bar({ loaded, total }: Progress): string {
  const filled = Math.round(BAR_CHARACTERS * share(loaded, total));
  return "█".repeat(filled) + "░".repeat(BAR_CHARACTERS - filled);
}

function describe({ phase, loaded, total, unit, detail }: Progress): string {
  const percent = `${Math.floor(100 * share(loaded, total))}`.padStart(3);
  const amount = unit === "bytes" ? `${formatBytes(loaded)} of ${formatBytes(total)}` : `${loaded} of ${total} ${unit}`;
  return `${percent} % ${phase}: ${amount}${detail ? `, ${detail}` : ""}`;
}

function share(loaded: number, total: number): number {
  return total > 0 ? Math.min(1, Math.max(0, loaded / total)) : 1;
}
