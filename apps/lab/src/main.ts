/** The page: hands what comes from the engine worker to its panels, and what its controls say to the engine. Computes nothing of the model itself. */
import { showReplayable, showSimulation } from "./caches-panel.js";
import { addReplyText, endReply, isReply, resetChat, takeBack } from "./chat-panel.js";
import { controls, showSettings, textRequest, watchSettings } from "./controls.js";
import { textNode } from "./drafts-panel.js";
import { element } from "./elements.js";
import { ask, listen } from "./engine-link.js";
import type { Answer, ModelFacts, NumberedAnswer, TextFigures } from "./messages.js";
import { showModel, shownModel } from "./model-view.js";
import { endImport, isImport, showDraftChoices, showStored } from "./models-panel.js";
import { endProgress, say, showError, showProgress } from "./notices.js";
import { askPrediction, clearPrediction, showPrediction } from "./prediction-line.js";
import { showProof } from "./proof-panel.js";
import { againstSaved, restoreLink, settleRestored } from "./restoring.js";
import { endRecord, recordFacts, recordStep, recordText } from "./run-record.js";
import { beginRun, endRun, isRun, isRunning, showButtons, stopRun } from "./runs.js";
import { showSelfTest } from "./self-test-panel.js";
import { endChecksum, isChecksum, keepChecksum, keepSource, showShare } from "./share-panel.js";
import { beginSteps, showStep } from "./step-panels.js";
import { showEpoch, showTrained } from "./training-panel.js";
import { showNoModel, showWelcome } from "./welcome.js";

function onAnswer({ task, answer: data }: NumberedAnswer) {
  switch (data.kind) {
    case "state":
      return showState(data);
    case "described":
      return showDescribed(data.facts);
    case "selfTested":
      return showSelfTest(data.test);
    case "progress":
      return showProgress(task, data, isImport(task) || isChecksum(task) ? () => ask({ kind: "stop", task }) : null);
    case "run":
      recordFacts(data.facts);
      return say(beginSteps(data.facts));
    case "text":
      return isReply(task) ? addReplyText(task, data) : addText(data.text, data.isDraft);
    case "note":
      return say(data.message);
    case "step":
      recordStep(data.event);
      return showStep(data.event);
    case "generated":
      return showGenerated(data.figures);
    case "stopped":
      return showStopped(task, data.replayable);
    case "replied":
      return endReply(task, data.figures);
    case "epoch":
      return showEpoch(data);
    case "trained":
      showTrained(data);
      showDraftChoices();
      return askPrediction();
    case "prediction":
      return showPrediction(task, data.prediction);
    case "proof":
      showProof(data.proof);
      return say("Compared.");
    case "simulated":
      return showSimulation(data);
    case "checksum":
      return keepChecksum(data.model, data.sha256);
    case "pulled":
      return keepSource(data.model, data.from);
    case "error":
      showError(data.message);
      takeBack(task);
      if (isRun(task)) say("Stopped.");
      return;
    case "ended":
      return showEnded(task);
  }
}

function showEnded(task: number): void {
  endImport(task);
  endProgress(task);
  endRun(task);
  endChecksum(task);
  showShare();
}

let isFirstState = true;

function showState(data: Extract<Answer, { kind: "state" }>): void {
  const { count, added } = showStored(data);
  // What was brought is what is wanted, unless something runs.
  if (added !== null && !isRunning()) controls.model.value = added;
  showButtons();
  if (!isRunning()) say(count > 0 ? "Ready." : "No model yet: add one.");
  if (count === 0) {
    resetChat();
    showNoModel();
  }
  if (controls.model.value !== shownModel()?.name) chooseModel();
  else showDescribed(shownModel()!);
  if (isFirstState) void restoreLink();
  isFirstState = false;
}

/** The view follows once the model's header is read. */
function chooseModel(): void {
  const model = controls.model.value;
  if (model !== shownModel()?.name && !isRunning()) element("text").textContent = "";
  showDraftChoices();
  clearPrediction();
  if (model !== "") ask({ kind: "describe", model });
}

function showDescribed(facts: ModelFacts): void {
  // Another one may have been chosen meanwhile.
  if (facts.name !== controls.model.value) return;
  const isOther = facts.name !== shownModel()?.name;
  showModel(facts);
  // A text may have been begun before its model was described.
  if (isOther && !isRunning()) resetChat();
  showDraftChoices();
  settleRestored(facts);
  showSettings(facts.fileBytes);
  showButtons();
  showShare();
  askPrediction();
}

function addText(text: string, isDraft: boolean): void {
  recordText(text);
  const log = element("transcript");
  element("text").append(textNode(text, isDraft));
  log.scrollTop = log.scrollHeight;
}

function showGenerated(figures: TextFigures): void {
  const record = endRecord(figures);
  say(`Done: ${figures.tokensPerSec.toFixed(1)} tokens a second.${record ? againstSaved(record) : ""}`);
  showReplayable(figures.replayable);
}

function showStopped(task: number, replayable: number): void {
  if (isImport(task)) say("Cancelled: importing the same again goes on from there.");
  else if (!isChecksum(task)) say("Stopped.");
  takeBack(task);
  showReplayable(replayable);
}

function begin(kind: "generate" | "prove"): void {
  if (kind === "generate") {
    element("text").textContent = controls.prompt.value;
    showWelcome(false);
  }
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
