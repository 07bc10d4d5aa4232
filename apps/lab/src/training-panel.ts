/** The panel of training: loss and recall as they come. */
import { controls } from "./controls.js";
import { drawTraining, type EpochPoint } from "./drawings.js";
import { element } from "./elements.js";
import type { Answer } from "./messages.js";
import { say } from "./notices.js";
import { beginRun, stopRun } from "./runs.js";

/** Epochs of the training that goes on, by layer. */
let epochs: EpochPoint[] = [];

export function showEpoch(report: Extract<Answer, { kind: "epoch" }>): void {
  const { layer, nLayers, epoch, loss, missedMass, recall } = report;
  epochs.push({ layer, epoch, loss, recall });
  const canvas = element<HTMLCanvasElement>("train-curve");
  canvas.hidden = false;
  drawTraining(canvas, epochs, nLayers);
  element("train-text").textContent =
    `Layer ${layer + 1} of ${nLayers}, epoch ${epoch}: loss ${loss.toFixed(4)}; names ${(100 * recall).toFixed(1)} % of the active neurons, misses ${(100 * missedMass).toFixed(2)} % of the output on text that it has not seen.`;
}

/** It is chosen at once. */
export function showTrained({ name, recall, missedMass }: Extract<Answer, { kind: "trained" }>): void {
  controls.predictor.value = name;
  element("train-text").textContent =
    `Done: it names ${(100 * recall).toFixed(1)} % of the active neurons and misses ${(100 * missedMass).toFixed(2)} % of their output. It is chosen in Settings: generate again, and prove it.`;
  say("Trained.");
}

element("stop-training").onclick = stopRun;
element("train").onclick = () => {
  epochs = [];
  say("Training…");
  const tokens = Number(element<HTMLInputElement>("train-tokens").value) || 16_000;
  beginRun({ kind: "train", model: controls.model.value, tokens });
};
