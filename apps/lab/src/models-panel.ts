/** The panel of stored models: which one is chosen, imports and deleting. */
import { formatBytes } from "@flashwick/core";
import { sidecarPath } from "@flashwick/flash-format";
import type { StoredModel } from "@flashwick/flash-io/opfs";
import { controls } from "./controls.js";
import { watchDrops } from "./dropping.js";
import { element } from "./elements.js";
import { ask } from "./engine-link.js";
import type { Answer } from "./messages.js";
import { clearError } from "./notices.js";
import { restoreFile } from "./restoring.js";
import { forgetChecksum } from "./share-panel.js";

/** Names of what is stored whole. */
let stored: ReadonlySet<string> | null = null;
/** Imports under way, which can be cancelled. */
const imports = new Set<number>();

export function isImport(task: number): boolean {
  return imports.has(task);
}

/** @returns How many models there are, and the one that is new since the last time, if there is one. */
export function showStored({ models, isolated, usageBytes, quotaBytes }: Extract<Answer, { kind: "state" }>): {
  readonly count: number;
  readonly added: string | null;
} {
  const runnable = models.filter(({ name }) => !isPredictor(name));
  refill(controls.model, runnable.map(modelOption));
  refill(controls.predictor, [
    new Option("the one beside the model", ""),
    ...models.filter(({ name, complete }) => complete && isPredictor(name)).map(({ name }) => new Option(name, name)),
  ]);
  const before = stored;
  stored = new Set(models.flatMap(({ name, complete }) => (complete ? [name] : [])));
  const added = before && [...stored].find((name) => !before.has(name) && !isPredictor(name));
  element("storage").dataset.models = models.map(({ name, complete }) => (complete ? name : "")).join(" ");
  element("storage").textContent =
    `${formatBytes(usageBytes)} stored, ${formatBytes(quotaBytes)} allowed by the browser`;
  element("isolation").textContent = isolated
    ? ""
    : "This page is not cross-origin isolated: memory cannot be shared, so one thread reads and computes, slower.";
  return { count: runnable.filter(({ complete }) => complete).length, added: added ?? null };
}

function isPredictor(name: string): boolean {
  return name.endsWith(".predictor.gguf");
}

function modelOption({ name, sizeBytes, complete, totalBytes }: StoredModel): HTMLOptionElement {
  const size = complete
    ? formatBytes(sizeBytes)
    : `${formatBytes(sizeBytes)} of ${formatBytes(totalBytes)}, unfinished`;
  const option = new Option(`${name} (${size})`, name);
  option.disabled = !complete;
  return option;
}

/** New options; what was chosen stays chosen where it is still there. */
function refill(select: HTMLSelectElement, options: readonly HTMLOptionElement[]): void {
  const before = select.value;
  select.replaceChildren(...options);
  if (options.some(({ value, disabled }) => value === before && !disabled)) select.value = before;
}

/** A lossless run drafts with the sparse path, which takes a predictor. */
export function showDraftChoices(): void {
  const { model, predictor, drafts } = controls;
  const option = drafts.querySelector<HTMLOptionElement>("option[value=lossless]")!;
  option.disabled = predictor.value === "" && !stored?.has(sidecarPath(model.value));
  option.text = `the sparse path, for the dense text (lossless)${option.disabled ? ": needs a predictor" : ""}`;
  if (option.disabled && drafts.value === "lossless") drafts.value = "off";
}

/** @returns Whether it was one. */
export function endImport(task: number): boolean {
  return imports.delete(task);
}

function importFiles(files: readonly File[]): void {
  clearError();
  for (const file of files) {
    if (file.name.endsWith(".json")) void restoreFile(file);
    else imports.add(ask({ kind: "importFile", file }));
  }
}

const fileInput = element<HTMLInputElement>("file");
element("choose").onclick = () => fileInput.click();
fileInput.onchange = () => {
  importFiles([...(fileInput.files ?? [])]);
  // The same file may be chosen again: an import that was cancelled goes on.
  fileInput.value = "";
};
watchDrops(importFiles);
element<HTMLFormElement>("url-form").onsubmit = (event) => {
  event.preventDefault();
  const { value } = element<HTMLInputElement>("url");
  if (value === "") return;
  clearError();
  // `?hub=` names a mirror, for the whole visit.
  const endpoint = new URLSearchParams(location.search).get("hub");
  const isUrl = /^https?:/.test(value);
  imports.add(ask(isUrl ? { kind: "importUrl", url: value } : { kind: "pull", what: value, endpoint }));
};
element("remove").onclick = () => {
  const { value: name } = controls.model;
  if (name === "") return;
  forgetChecksum(name);
  ask({ kind: "delete", name });
};
