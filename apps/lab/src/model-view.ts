/** What the page offers depends on the model: a chat where it has a template, and what needs single neurons where it has records. */
import { formatBytes } from "@flashwick/core";
import { controls, suggestBudget } from "./controls.js";
import { element } from "./elements.js";
import type { ModelFacts } from "./messages.js";
import { clearSteps } from "./step-panels.js";

let shown: ModelFacts | null = null;

/** Of the model whose view this is; null before there is one. */
export function shownModel(): ModelFacts | null {
  return shown;
}

export function isChat(): boolean {
  return shown !== null && shown.noChat === null;
}

/** Shows the view of a model. */
export function showModel(facts: ModelFacts): void {
  if (shown !== null && shown.name !== facts.name) clearSteps();
  shown = facts;
  // style.css hides what the view or the weights have no use for.
  document.body.dataset.view = isChat() ? "chat" : "prompt";
  document.body.dataset.weights = facts.hasRecords ? "records" : "matrices";
  element("h-run").textContent = isChat() ? "Chat" : "Prompt";
  element("model-text").textContent = modelText(facts);
  if (!facts.hasRecords) {
    controls.predictor.value = "";
    if (controls.drafts.value === "lossless") controls.drafts.value = "off";
  }
  suggestBudget(facts);
}

function modelText({ architecture, nLayers, dtype, fileBytes, hasRecords, noChat }: ModelFacts): string {
  const what = `${architecture}, ${nLayers} layers, ${dtype}, ${formatBytes(fileBytes)}.`;
  if (hasRecords) return what;
  return `${what} A file of llama.cpp's, run as it lies: no neuron is left out, layers that memory does not hold pass through it.${
    noChat === null ? "" : ` No chat: ${noChat}.`
  }`;
}
