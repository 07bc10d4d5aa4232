/** What the page says beside its panels: one line of status, one of what is wrong, and how far something has come. */
import { formatBytes } from "@flashwick/core";
import { element } from "./elements.js";
import type { Answer } from "./messages.js";

export function say(text: string): void {
  element("status").textContent = text;
}

export function showError(message: string): void {
  element("error").hidden = false;
  element("error").textContent = message;
}

export function clearError(): void {
  element("error").hidden = true;
  element("error").textContent = "";
}

/** Whose progress is shown. */
let progressOf: number | null = null;

/** @param onCancel Null: this is stopped elsewhere. */
export function showProgress(
  task: number,
  { what, loaded, total, detail }: Extract<Answer, { kind: "progress" }>,
  onCancel: (() => void) | null,
): void {
  progressOf = task;
  element("progress-box").hidden = false;
  element<HTMLProgressElement>("progress").value = loaded / Math.max(1, total);
  const cancel = element<HTMLButtonElement>("cancel");
  cancel.hidden = onCancel === null;
  cancel.onclick = onCancel;
  const amount =
    detail === "tokens" ? `${loaded} of ${total} tokens` : `${formatBytes(loaded)} of ${formatBytes(total)}, ${detail}`;
  element("progress-text").textContent = `${what}: ${amount}`;
}

export function endProgress(task: number): void {
  if (task === progressOf) element("progress-box").hidden = true;
}
