/** The last run as a file, and its settings as a link: what a visitor gives to others, who run it again. */

import { predictedOfRun } from "./comparison-panel.js";
import { controls, textOrChatRequest } from "./controls.js";
import { element } from "./elements.js";
import { ask } from "./engine-link.js";
import type { ModelFacts } from "./messages.js";
import { isChat, shownModel } from "./model-view.js";
import { clearError, say } from "./notices.js";
import { commandOf, linkTo, notesOf, type Rerun } from "./rerun.js";
import { type LabResult, RESULT_FORMAT, RESULT_VERSION } from "./result-file.js";
import { lastRecord, type RunRecord, settingsOf } from "./run-record.js";
import { selfTestLine } from "./self-test-panel.js";

/** SHA-256 by name of model: of those that were asked for in this visit. */
const checksums = new Map<string, string | null>();
/** The request for a checksum that a result waits for. */
let awaited: number | null = null;

export function isChecksum(task: number): boolean {
  return task === awaited;
}

/** A result can be saved once a run has ended. */
export function showShare(): void {
  element<HTMLButtonElement>("export").disabled = lastRecord() === null || awaited !== null;
  element<HTMLButtonElement>("link").disabled = shownModel() === null;
}

export function keepChecksum(model: string, sha256: string): void {
  checksums.set(model, sha256);
}

/** The checksum has come, or was cancelled: then the result is saved without it. */
export function endChecksum(task: number): void {
  if (task !== awaited) return;
  awaited = null;
  saveResult();
}

/** Another file may have the name from now on. */
export function forgetChecksum(model: string): void {
  checksums.delete(model);
}

const SOURCES = "flashwick-lab-sources";

/** Where models of this browser came from, by name. */
function sources(): Record<string, string> {
  return JSON.parse(localStorage.getItem(SOURCES) ?? "{}") as Record<string, string>;
}

export function keepSource(model: string, from: string): void {
  localStorage.setItem(SOURCES, JSON.stringify({ ...sources(), [model]: from }));
}

function beginSaving(): void {
  clearError();
  const record = lastRecord();
  if (record === null) return;
  if (checksums.has(record.model)) {
    saveResult();
    return;
  }
  awaited = ask({ kind: "checksum", model: record.model });
  showShare();
}

function saveResult(): void {
  const [record, facts] = [lastRecord(), shownModel()];
  showShare();
  if (record === null || facts === null || record.model !== facts.name) return;
  const name = `${record.model.replace(/\.gguf$/, "")}.result.json`;
  const url = URL.createObjectURL(
    new Blob([`${JSON.stringify(resultOf(record, facts), null, 2)}\n`], { type: "application/json" }),
  );
  const link = document.createElement("a");
  Object.assign(link, { href: url, download: name });
  link.click();
  URL.revokeObjectURL(url);
  say(`Saved as ${name}: give it to this page again, or run the command in it.`);
}

function resultOf(record: RunRecord, facts: ModelFacts): LabResult {
  const { settings, input, text, steps, figures } = record;
  const rerun = rerunOf(record);
  return {
    ...{ format: RESULT_FORMAT, version: RESULT_VERSION, madeAt: new Date().toISOString() },
    model: {
      ...{ name: facts.name, fileBytes: facts.fileBytes, sha256: checksums.get(facts.name) ?? null, from: rerun.from },
      ...{ architecture: facts.architecture, layers: facts.nLayers, dtype: facts.dtype },
    },
    ...{ settings, input, text, steps },
    totals: {
      ...{ tokens: figures.tokens.length, end: figures.end, tokensPerSec: figures.tokensPerSec },
      ...{ firstTokenMs: figures.firstTokenMs, tokenMs: figures.tokenMs, memoryBytes: figures.dramBytes },
      ...{ readBytesPerToken: figures.flashBytesPerToken, foundInMemory: figures.cacheHitShare },
    },
    predicted: predictedOfRun(),
    machine: machineOf(record),
    rerun: { command: commandOf(rerun), link: linkTo(location.href, rerun), notes: notesOf(rerun) },
  };
}

function machineOf({ facts: { backend, threads, readers } }: RunRecord): LabResult["machine"] {
  const { userAgent, hardwareConcurrency: cores } = navigator;
  const { deviceMemory: memoryGiB = null } = navigator as Navigator & { readonly deviceMemory?: number };
  return {
    ...{ userAgent, cores, memoryGiB, isolated: crossOriginIsolated },
    ...{ backend, threads, readers, kernels: selfTestLine() },
  };
}

function rerunOf({ model, settings, input }: Pick<RunRecord, "model" | "settings" | "input">): Rerun {
  return { model, from: sources()[model] ?? null, settings, input };
}

/** Of the controls as they stand, whatever ran last. */
async function copyLink(): Promise<void> {
  const request = textOrChatRequest(isChat());
  const text = isChat() ? controls.message.value : controls.prompt.value;
  const system = controls.system.value.trim();
  const before = system === "" ? [] : [{ role: "system" as const, content: system }];
  const input = isChat()
    ? ({ kind: "chat", messages: [...before, { role: "user", content: text }] } as const)
    : ({ kind: "text", prompt: text } as const);
  const link = linkTo(location.href, rerunOf({ model: request.model, settings: settingsOf(request), input }));
  // Into the address bar without a new visit.
  history.replaceState(null, "", link);
  const isCopied = await navigator.clipboard?.writeText(link).then(
    () => true,
    () => false,
  );
  say(`The link with these settings is in the address bar${isCopied ? ", and copied" : ""}.`);
}

element("export").onclick = beginSaving;
element("link").onclick = () => void copyLink();
