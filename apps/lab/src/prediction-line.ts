/** What the cost model expects of the settings, below them. */
import { formatBytes } from "@flashwick/core";
import { expectPrediction, showPredicted } from "./comparison-panel.js";
import { chatSettings, controls, textRequest } from "./controls.js";
import { element } from "./elements.js";
import { ask } from "./engine-link.js";
import type { Prediction } from "./messages.js";
import { isChat, shownModel } from "./model-view.js";

let asked: ReturnType<typeof setTimeout> | undefined;
/** The last request: what answers another is of settings before. */
let lastTask: number | null = null;

/** Once the hand rests for a moment. */
export function askPrediction(): void {
  clearTimeout(asked);
  expectPrediction();
  lastTask = null;
  asked = setTimeout(() => {
    if (controls.model.value === "") return;
    const prompt = isChat() ? controls.message.value : controls.prompt.value;
    lastTask = ask({ kind: "predict", ...(isChat() ? chatSettings() : textRequest()), prompt, isChat: isChat() });
  }, 120);
}

/** What was said of another model is not true of this one. */
export function clearPrediction(): void {
  element("prediction").textContent = "";
  showPredicted(null);
}

/** @param task The request that it answers. */
export function showPrediction(task: number, prediction: Prediction): void {
  if (task !== lastTask) return;
  element("prediction").textContent = predictionText(prediction) + smallCacheText(prediction);
  showPredicted(prediction);
}

/** A budget may run, and still be too small to be of use. */
function smallCacheText(prediction: Prediction): string {
  if (!prediction.fits || prediction.smallCache === null) return "";
  const { units, neededBudgetBytes } = prediction.smallCache;
  return ` Memory holds fewer ${units} than one token uses; ${formatBytes(neededBudgetBytes)} would hold them.`;
}

function predictionText(prediction: Prediction): string {
  if (prediction.fits && prediction.nothing !== null) return `Nothing predicted: ${prediction.nothing}.`;
  const ofWhat =
    shownModel()?.weights === "records" ? "Predicted for the sparse path, without drafts" : "Predicted, without drafts";
  const when = controls.drafts.value === "off" ? "Predicted" : ofWhat;
  return prediction.fits
    ? `${when}: ${(1000 / prediction.tokenMs).toFixed(0)} tokens a second, ${formatBytes(prediction.flashBytesPerToken)} read for each (${prediction.device}).`
    : `Predicted: it cannot run like this: ${prediction.why}`;
}
