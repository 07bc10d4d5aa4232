/** The run under way (a text, a reply, a proof, a training): one at a time, beside any number of imports. */
import { element } from "./elements.js";
import { ask } from "./engine-link.js";
import type { Request } from "./messages.js";
import { clearError } from "./notices.js";
import { beginRecord } from "./run-record.js";

let run: number | null = null;

/** What begins a run, and what ends it. */
const BEGINS = ["generate", "prove", "train", "send"] as const;
const STOPS = ["stop", "stop-reply", "stop-training"] as const;

/** @returns The request's number. */
export function beginRun(request: Request): number {
  clearError();
  run = ask(request);
  beginRecord(request);
  showButtons();
  return run;
}

export function stopRun(): void {
  if (run !== null) ask({ kind: "stop", task: run });
}

export function isRun(task: number): boolean {
  return task === run;
}

export function isRunning(): boolean {
  return run !== null;
}

/** After the last word on a request. */
export function endRun(task: number): void {
  if (task === run) run = null;
  showButtons();
}

/** What can be begun or stopped follows from the run, whatever else is under way. */
export function showButtons(): void {
  const hasModel = element<HTMLSelectElement>("model").value !== "";
  for (const id of BEGINS) element<HTMLButtonElement>(id).disabled = run !== null || !hasModel;
  for (const id of STOPS) element<HTMLButtonElement>(id).disabled = run === null;
  element<HTMLButtonElement>("reset").disabled = run !== null;
  for (const starter of document.querySelectorAll<HTMLButtonElement>(".starter"))
    starter.disabled = run !== null || !hasModel;
}
