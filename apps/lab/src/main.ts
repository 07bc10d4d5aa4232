/** The page: hands what comes from the engine worker to its panels, and what its controls say to the engine. Computes nothing of the model itself. */
import { showReplayable, showSimulation } from "./caches-panel.js";
import { addReplyText, endReply, isReply, resetChat, takeBack } from "./chat-panel.js";
import { controls, showSettings, textRequest, watchSettings } from "./controls.js";
import { textNode } from "./drafts-panel.js";
import { element } from "./elements.js";
import { ask, listen } from "./engine-link.js";
import type { Answer, ModelFacts, NumberedAnswer } from "./messages.js";
import { showModel, shownModel } from "./model-view.js";
import { endImport, isImport, showDraftChoices, showStored } from "./models-panel.js";
import { endProgress, say, showError, showProgress } from "./notices.js";
import { askPrediction, clearPrediction, showPrediction } from "./prediction-line.js";
import { showProof } from "./proof-panel.js";
import { beginRun, endRun, isRun, isRunning, showButtons, stopRun } from "./runs.js";
import { beginSteps, showStep } from "./step-panels.js";
import { showEpoch, showTrained } from "./training-panel.js";

function onAnswer({ task, answer: data }: NumberedAnswer) {
  switch (data.kind) {
    case "state":
      return showState(data);
    case "described":
      return showDescribed(data.facts);
    case "progress":
      return showProgress(task, data, isImport(task) ? () => ask({ kind: "stop", task }) : null);
    case "run":
      return say(beginSteps(data.facts));
    case "text":
      if (isReply(task)) addReplyText(task, data);
      else element("text").append(textNode(data.text, data.isDraft));
      return;
    case "note":
      return say(data.message);
    case "step":
      return showStep(data.event);
    case "done":
      return showDone(task, data);
    case "replied":
      return endReply(task, data.figures);
    case "epoch":
      return showEpoch(data);
    case "trained":
      showTrained(data);
      showDraftChoices();
      return askPrediction();
    case "prediction":
      return showPrediction(data.prediction);
    case "proof":
      showProof(data.proof);
      return say("Compared.");
    case "simulated":
      return showSimulation(data);
    case "error":
      showError(data.message);
      takeBack(task);
      if (isRun(task)) say("Stopped.");
      return;
    case "ended":
      endImport(task);
      endProgress(task);
      return endRun(task);
  }
}

function showState(data: Extract<Answer, { kind: "state" }>): void {
  const count = showStored(data);
  showButtons();
  if (!isRunning()) say(count > 0 ? "Ready." : "No model yet: import one.");
  if (controls.model.value !== shownModel()?.name) chooseModel();
  else showDescribed(shownModel()!);
}

/** The view follows once the model's header is read. */
function chooseModel(): void {
  const model = controls.model.value;
  showDraftChoices();
  clearPrediction();
  if (model !== "") ask({ kind: "describe", model });
}

function showDescribed(facts: ModelFacts): void {
  // Another one may have been chosen meanwhile.
  if (facts.name !== controls.model.value) return;
  if (facts.name !== shownModel()?.name) resetChat();
  showModel(facts);
  showDraftChoices();
  showSettings(facts.fileBytes);
  askPrediction();
}

function showDone(task: number, { what, tokensPerSec, replayable }: Extract<Answer, { kind: "done" }>): void {
  if (isImport(task)) say("Cancelled: importing the same again goes on from there.");
  else say(what === "generated" ? `Done: ${tokensPerSec.toFixed(1)} tokens a second.` : "Stopped.");
  takeBack(task);
  showReplayable(replayable);
}

function begin(kind: "generate" | "prove"): void {
  if (kind === "generate") element("text").textContent = controls.prompt.value;
  say(kind === "generate" ? "Taking in the prompt…" : "Running sparse, lossless, then dense…");
  beginRun({ kind, ...textRequest() });
}

element<HTMLFormElement>("run-form").onsubmit = (event) => {
  event.preventDefault();
  begin("generate");
};
element("prove").onclick = () => begin("prove");
element("stop").onclick = stopRun;
controls.model.onchange = chooseModel;
controls.predictor.onchange = () => {
  showDraftChoices();
  askPrediction();
};
watchSettings(() => {
  showSettings(shownModel()?.fileBytes ?? null);
  askPrediction();
});
listen(onAnswer, (message) =>
  showError(
    `The engine could not be loaded (${message}). A browser with WebAssembly SIMD and a private file system is needed.`,
  ),
);
showSettings(null);
showButtons();
ask({ kind: "start" });
// Pages may ask, workers may not: that the browser does not drop models when the disk fills up.
void navigator.storage?.persist?.().catch(() => false);
