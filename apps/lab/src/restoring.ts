/** Settings from a saved result or from a link: put into the controls once their model is shown, and the next text held against the saved one. */
import { formatBytes, isFlashwickError } from "@flashwick/core";
import { applySettings, controls } from "./controls.js";
import { element } from "./elements.js";
import type { ModelFacts } from "./messages.js";
import { clearError, say, showError } from "./notices.js";
import { firstWords, type Rerun, readLink, systemPrompt } from "./rerun.js";
import { readResult } from "./result-file.js";
import type { RunRecord } from "./run-record.js";
import { isRunning } from "./runs.js";

/** What is to be run again. */
interface Restored extends Rerun {
  /** Null: a link has none. */
  readonly text: string | null;
  /** Null: a link does not say. */
  readonly fileBytes: number | null;
}

/** Waits for its model: to be described, or to be stored first. */
let pending: Restored | null = null;
/** The text that the next run should give. */
let saved: Restored | null = null;

export async function restoreFile(file: File): Promise<void> {
  await restoring(async () => {
    const { model, settings, input, text } = readResult(file.name, await file.text());
    return { model: model.name, from: model.from, fileBytes: model.fileBytes, settings, input, text };
  });
}

/** What the address of the page says, if it names a model. */
export async function restoreLink(): Promise<void> {
  await restoring(async () => {
    const rerun = readLink(location.hash);
    return rerun && { ...rerun, text: null, fileBytes: null };
  });
}

async function restoring(read: () => Promise<Restored | null>): Promise<void> {
  clearError();
  try {
    const restored = await read();
    if (restored === null) return;
    if (isRunning()) return showError("A run is under way: stop it, then give the result again.");
    pending = restored;
    offer(restored);
  } catch (error) {
    if (!isFlashwickError(error)) throw error;
    showError(error.message);
  }
}

/** Chooses the model, or says how to get it. */
function offer({ model, from, fileBytes }: Restored): void {
  const option = [...controls.model.options].find(({ value, disabled }) => value === model && !disabled);
  if (option) {
    controls.model.value = model;
    controls.model.dispatchEvent(new Event("change"));
    return;
  }
  const size = fileBytes === null ? "" : ` (${formatBytes(fileBytes)})`;
  element<HTMLDetailsElement>("models").open = true;
  if (from !== null) element<HTMLInputElement>("url").value = from;
  const way = from === null ? "choose or pull the file" : "press Pull";
  say(`${model}${size} is not stored in this browser: ${way}, and its settings follow.`);
}

/** A model is shown: if settings wait for it, they are set. @returns Whether they were. */
export function settleRestored(facts: ModelFacts): boolean {
  if (pending?.model !== facts.name) return false;
  const restored = pending;
  pending = null;
  if (restored.fileBytes !== null && restored.fileBytes !== facts.fileBytes) {
    showError(
      `${facts.name} has ${facts.fileBytes} bytes here, and ${restored.fileBytes} in the result: it is another file.`,
    );
  }
  saved = restored.text === null ? null : restored;
  applySettings(restored.settings, facts);
  const [name, words] = firstWords(restored.input);
  controls[name].value = words;
  controls.system.value = systemPrompt(restored.input);
  say("Restored: settings and text are as they were saved.");
  return true;
}

/** Whether a run gave the text of the result that was restored before it; empty where there is nothing to compare. */
export function againstSaved({ model, input, text, settings }: RunRecord): string {
  if (saved === null) return "";
  const isSame = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
  const ofSame = saved.model === model && isSame(saved.input, input) && saved.settings.maxTokens === settings.maxTokens;
  if (!ofSame) return "";
  const expected = saved.text!;
  if (text === expected) return " The text is the saved one, character by character.";
  const at = [...text].findIndex((character, i) => character !== [...expected][i]);
  return ` The text differs from the saved one after ${at < 0 ? text.length : at} characters.`;
}

addEventListener("hashchange", () => void restoreLink());
