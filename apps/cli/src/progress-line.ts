/**
 * Progress on standard error: on a terminal a bar that redraws itself, with rate and time left; elsewhere (a log) a plain line now and then, and none
 * for what is over at once.
 */
import { formatBytes, type OnProgress, type Progress } from "@flashwick/core";
import cliProgress, { type Options, type Params } from "cli-progress";
import { figure } from "./table.js";
import type { Terminal, TextOutput } from "./terminal.js";

const REDRAWS_PER_SEC = 12;
/** A log should say soon that something is alive, and then not how it moves. */
const FIRST_LOG_MS = 300;
const LOG_MS = 5000;
const BAR_CHARACTERS = 24;
/** Rate and time left are of so many of the last redraws: some four seconds. */
const RATE_REDRAWS = 50;
/** What took less says little about what is left. */
const LEAST_RATE_MS = 1000;

export interface ProgressLine {
  readonly onProgress: OnProgress;
  /** Takes the bar off the screen, before anything else is written. */
  clear(): void;
}

export function progressLine({ err, env, clock }: Terminal): ProgressLine {
  return err.isTty && env.TERM !== "dumb" ? progressBar(err, clock) : progressLog(err, clock);
}

function progressLog(err: TextOutput, clock: () => number): ProgressLine {
  let lastMs = clock();
  let intervalMs = FIRST_LOG_MS;
  return {
    onProgress(progress) {
      const now = clock();
      if (now - lastMs < intervalMs) return;
      lastMs = now;
      intervalMs = LOG_MS;
      err.write(`${describe(progress)}\n`);
    },
    clear() {},
  };
}

/** A bar of its own for each phase: what is left is known of that one only. */
function progressBar(err: TextOutput, clock: () => number): ProgressLine {
  let bar: cliProgress.SingleBar | null = null;
  let phase = "";
  let lastMs = 0;
  const clear = () => {
    bar?.stop();
    bar = null;
  };
  return {
    onProgress(progress) {
      const now = clock();
      if (bar && progress.phase === phase) {
        const isDue = now - lastMs >= 1000 / REDRAWS_PER_SEC || progress.loaded >= progress.total;
        if (!isDue) return;
        bar.update(progress.loaded, { progress });
        bar.render();
      } else {
        clear();
        phase = progress.phase;
        bar = new cliProgress.SingleBar(barOptions(err));
        bar.start(progress.total, progress.loaded, { progress, begunAt: progress.loaded });
      }
      lastMs = now;
    },
    clear,
  };
}

function barOptions(err: TextOutput): Options {
  return {
    format: barText,
    stream: barStream(err),
    barsize: BAR_CHARACTERS,
    barCompleteChar: "█",
    barIncompleteChar: "░",
    fps: REDRAWS_PER_SEC,
    // What is due is drawn above, by the terminal's clock.
    synchronousUpdate: false,
    etaBuffer: RATE_REDRAWS,
    clearOnComplete: true,
    // Lines are cut to the terminal's width; and Ctrl-C is the program's.
    linewrap: true,
    gracefulExit: false,
  };
}

/** What the library needs of a stream: it writes, and asks for the width. */
function barStream(err: TextOutput): NodeJS.WritableStream {
  const stream = {
    isTTY: true,
    get columns() {
      return err.columns;
    },
    write(text: string) {
      err.write(text);
      return true;
    },
  };
  return stream as unknown as NodeJS.WritableStream;
}

function barText(options: Options, params: Params, payload: { readonly progress: Progress; readonly begunAt: number }) {
  const bar = cliProgress.Format.BarFormat(params.progress, options);
  return `${bar} ${describe(payload.progress, paceText(params, payload.progress, payload.begunAt))}`;
}

/** How fast it goes and how long it still takes; nothing at first, and at the end. */
function paceText({ startTime, eta }: Params, { loaded, total, unit }: Progress, begunAt: number): string {
  const elapsedMs = Date.now() - startTime;
  const isEarly = elapsedMs < LEAST_RATE_MS || loaded <= begunAt;
  if (isEarly || loaded >= total) return "";
  const rate = (1000 * (loaded - begunAt)) / elapsedMs;
  const pace = unit === "bytes" ? `${formatBytes(rate)}/s` : `${figure(rate)} ${unit}/s`;
  return Number.isFinite(eta) ? `, ${pace}, ${timeText(eta)} left` : `, ${pace}`;
}

/** "1 h 5 min", "2 min 3 s", "12 s". */
function timeText(seconds: number): string {
  const [hours, minutes, rest] = [
    Math.floor(seconds / 3600),
    Math.floor((seconds % 3600) / 60),
    Math.ceil(seconds % 60),
  ];
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${rest} s` : `${rest} s`;
}

/** The detail comes last: it is what a narrow terminal can do without. */
function describe({ phase, loaded, total, unit, detail }: Progress, pace = ""): string {
  const percent = `${Math.floor(100 * share(loaded, total))}`.padStart(3);
  const amount = unit === "bytes" ? `${formatBytes(loaded)} of ${formatBytes(total)}` : `${loaded} of ${total} ${unit}`;
  return `${percent} % ${phase}: ${amount}${pace}${detail ? `, ${detail}` : ""}`;
}

function share(loaded: number, total: number): number {
  return total > 0 ? Math.min(1, Math.max(0, loaded / total)) : 1;
}
