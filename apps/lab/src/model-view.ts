/** What the page offers depends on the model: a chat where it has a template, what needs single neurons where it has records, and what needs a cache where it
 * has those or experts. */
import { formatBytes } from "@flashwick/core";
import { adoptModel } from "./controls.js";
import { element } from "./elements.js";
import type { ExpertFacts, ModelFacts } from "./messages.js";
import { forgetRecord } from "./run-record.js";
import { isRunning } from "./runs.js";
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
  const isOther = shown?.name !== facts.name;
  shown = facts;
  // style.css hides what the view or the weights have no use for.
  document.body.dataset.view = isChat() ? "chat" : "prompt";
  document.body.dataset.weights = facts.weights;
  element("h-run").textContent = isChat() ? "Chat" : "Text";
  element("model-text").textContent = modelText(facts);
  element("model-text").dataset.model = facts.name;
  adoptModel(facts);
  if (!isOther || isRunning()) return;
  forgetRecord();
  clearSteps(facts);
}

function modelText({ architecture, nLayers, dtype, fileBytes, weights, experts, noChat }: ModelFacts): string {
  const what = `${architecture}, ${nLayers} layers, ${dtype}, ${formatBytes(fileBytes)}.`;
  if (weights === "records") return what;
  const form = experts === null ? ofMatrices : mixtureText(experts);
  return `${what} ${form}${noChat === null ? "" : ` No chat: ${noChat}.`}`;
}

const ofMatrices =
  "A file of llama.cpp's, run as it lies: no neuron is left out, layers that memory does not hold pass through it.";

/** Also why some of the page's panels are not shown. */
function mixtureText({ layers, count, chosen }: ExpertFacts): string {
  return (
    `A mixture of experts: ${layers} layers with ${count} experts, of which a token uses ${chosen}; memory keeps some of them, the others are read when a token wants them. ` +
    "The model's own routers say which, always rightly: there is no predictor to train, no threshold, and nothing to prove, since no neuron is left out."
  );
}
