/** The page: reads its controls, asks the engine worker, and draws what comes back. Computes nothing of the model itself. */
import { formatBytes } from "@flashwick/core";
import { sidecarPath } from "@flashwick/flash-format";
import {
  addStep,
  type DraftTotals,
  draftFigures,
  draftRow,
  draftSentences,
  NO_DRAFTS,
  textNode,
} from "./drafts-panel.js";
import {
  drawMap,
  drawMisses,
  drawSpans,
  drawTimeline,
  drawTraining,
  type EpochPoint,
  PHASES,
  SHOWN_TOKENS,
} from "./drawings.js";
import { definitions, element, tableRow } from "./elements.js";
import {
  type Answer,
  type Drafts,
  type EngineSettings,
  type GenerateRequest,
  type NumberedAnswer,
  type NumberedRequest,
  type Prediction,
  type Request,
  type RunFacts,
  STATE,
  type StepEvent,
} from "./messages.js";
import { showProof } from "./proof-panel.js";

const worker = new Worker(new URL("./engine-worker.ts", import.meta.url), { type: "module", name: "engine" });
let lastTask = 0;
/** Sends a request, and returns its number. */
function ask(request: Request): number {
  const message: NumberedRequest = { task: ++lastTask, request };
  worker.postMessage(message);
  return lastTask;
}

const controls = {
  model: element<HTMLSelectElement>("model"),
  prompt: element<HTMLTextAreaElement>("prompt"),
  tokens: element<HTMLInputElement>("tokens"),
  budget: element<HTMLInputElement>("budget"),
  window: element<HTMLInputElement>("window"),
  policy: element<HTMLSelectElement>("policy"),
  drafts: element<HTMLSelectElement>("drafts"),
  threshold: element<HTMLInputElement>("threshold"),
  threads: element<HTMLInputElement>("threads"),
  readers: element<HTMLInputElement>("readers"),
  predictor: element<HTMLSelectElement>("predictor"),
  backend: element<HTMLSelectElement>("backend"),
  train: element<HTMLButtonElement>("train"),
  generate: element<HTMLButtonElement>("generate"),
  stop: element<HTMLButtonElement>("stop"),
  prove: element<HTMLButtonElement>("prove"),
  simulate: element<HTMLButtonElement>("simulate"),
};
const say = (text: string) => {
  element("status").textContent = text;
};

/** The generating, proving or training under way: one at a time, beside any number of imports. */
let run: number | null = null;
/** Whose progress is shown. */
let progressOf: number | null = null;
let facts: RunFacts | null = null;
/** The last steps, for the timeline: of at most {@link SHOWN_TOKENS} tokens, but always one. */
let steps: StepEvent[] = [];
let draftTotals: DraftTotals = NO_DRAFTS;
/** Names of what is stored whole. */
let stored: ReadonlySet<string> = new Set();
let isDrawing = false;

function settings(): EngineSettings {
  const { budget, window, policy, threshold, readers } = controls;
  return {
    budgetShare: Number(budget.value) / 100,
    windowTokens: window.value === "0" ? null : Number(window.value),
    policy: policy.value as EngineSettings["policy"],
    threshold: threshold.value === threshold.min ? null : Number(threshold.value),
    readers: readers.value === "-1" ? null : Number(readers.value),
    predictor: controls.predictor.value === "" ? null : controls.predictor.value,
    backend: controls.backend.value as EngineSettings["backend"],
    threads: controls.threads.value === "0" ? null : Number(controls.threads.value),
  };
}

function request(): GenerateRequest {
  const { model, prompt, tokens, drafts } = controls;
  return {
    ...settings(),
    model: model.value,
    prompt: prompt.value,
    maxTokens: Math.max(1, Number(tokens.value) || 1),
    drafts: drafts.value as Drafts,
  };
}

function clearError(): void {
  element("error").hidden = true;
  element("error").textContent = "";
}

function showSettings(): void {
  const { budgetShare, windowTokens, threshold, threads, readers } = settings();
  element("budget-value").textContent = `${Math.round(100 * budgetShare)} % of the file`;
  element("window-value").textContent = windowTokens === null ? "as many tokens as fit" : `${windowTokens} tokens`;
  element("threshold-value").textContent = threshold === null ? "calibrated, by layer" : `${threshold} (logit)`;
  element("threads-value").textContent = threads === null ? "what suits" : `${threads}`;
  element("readers-value").textContent =
    readers === null ? "what suits" : readers === 0 ? "none: the engine reads" : `${readers} workers`;
}

/** A lossless run drafts with the sparse path, which takes a predictor. */
function showDraftChoices(): void {
  const { model, predictor, drafts } = controls;
  const option = drafts.querySelector<HTMLOptionElement>("option[value=lossless]")!;
  option.disabled = predictor.value === "" && !stored.has(sidecarPath(model.value));
  option.text = `the sparse path, for the dense text (lossless)${option.disabled ? ": needs a predictor" : ""}`;
  if (option.disabled && drafts.value === "lossless") drafts.value = "off";
}

/** What can be begun or stopped follows from the run, whatever else is under way. */
function showButtons(): void {
  for (const button of [controls.generate, controls.prove, controls.train])
    button.disabled = run !== null || controls.model.value === "";
  controls.stop.disabled = run === null;
}

/** After the last word on a request. */
function endTask(task: number): void {
  if (task === run) run = null;
  if (task === progressOf) element("progress-box").hidden = true;
  showButtons();
}

worker.onmessage = ({ data: { task, answer: data } }: MessageEvent<NumberedAnswer>) => {
  switch (data.kind) {
    case "state":
      return showState(data);
    case "progress":
      return showProgress(task, data);
    case "run":
      facts = data.facts;
      steps = [];
      draftTotals = NO_DRAFTS;
      element("drafts-panel").hidden = element("drafts-legend").hidden = facts.drafts === "off";
      element("drafts-text").textContent = "";
      return showFacts();
    case "text":
      element("text").append(textNode(data.text, data.isDraft));
      return;
    case "note":
      return say(data.message);
    case "step":
      return showStep(data.event);
    case "done":
      if (data.what === "generated") say(`Done: ${data.tokensPerSec.toFixed(1)} tokens a second.`);
      else say("Stopped.");
      controls.simulate.disabled = data.replayable < 8;
      return;
    case "epoch":
      return showEpoch(data);
    case "trained":
      controls.predictor.value = data.name;
      showDraftChoices();
      element("train-text").textContent =
        `Done: it names ${(100 * data.recall).toFixed(1)} % of the active neurons and misses ${(100 * data.missedMass).toFixed(2)} % of their output. It is chosen in Settings: generate again, and prove it.`;
      askPrediction();
      return say("Trained.");
    case "prediction":
      return showPrediction(data.prediction);
    case "proof":
      showProof(data.proof);
      return say("Compared.");
    case "simulated":
      return showSimulation(data);
    case "error":
      element("error").hidden = false;
      element("error").textContent = data.message;
      if (task === run) say("Stopped.");
      return;
    case "ended":
      return endTask(task);
  }
};
worker.onerror = (event) => {
  element("error").hidden = false;
  element("error").textContent =
    `The engine could not be loaded (${event.message}). A browser with WebAssembly SIMD and a private file system is needed.`;
};

function showPrediction(prediction: Prediction): void {
  if (prediction.fits && prediction.nothing !== null) {
    element("prediction").textContent = `Nothing predicted: ${prediction.nothing}.`;
    return;
  }
  const when = controls.drafts.value === "off" ? "Predicted" : "Predicted for the sparse path, without drafts";
  element("prediction").textContent = prediction.fits
    ? `${when}: ${prediction.tokensPerSec.toFixed(0)} tokens a second, ${formatBytes(prediction.flashBytesPerToken)} read for each (${prediction.device}).`
    : `Predicted: it cannot run like this: ${prediction.why}`;
}

/** Epochs of the training that goes on, by layer. */
let epochs: EpochPoint[] = [];
function showEpoch({ layer, nLayers, epoch, loss, missedMass, recall }: Extract<Answer, { kind: "epoch" }>): void {
  epochs.push({ layer, epoch, loss, recall });
  const canvas = element<HTMLCanvasElement>("train-curve");
  canvas.hidden = false;
  drawTraining(canvas, epochs, nLayers);
  element("train-text").textContent =
    `Layer ${layer + 1} of ${nLayers}, epoch ${epoch}: loss ${loss.toFixed(4)}; names ${(100 * recall).toFixed(1)} % of the active neurons, misses ${(100 * missedMass).toFixed(2)} % of the output on text that it has not seen.`;
}

let asked: ReturnType<typeof setTimeout> | undefined;
/** Once the hand rests for a moment. */
function askPrediction(): void {
  clearTimeout(asked);
  asked = setTimeout(() => controls.model.value !== "" && ask({ kind: "predict", ...request() }), 120);
}

function showState({ models, isolated, usageBytes, quotaBytes }: Extract<Answer, { kind: "state" }>): void {
  const before = controls.model.value;
  const runnable = models.filter(({ name }) => !name.endsWith(".predictor.gguf"));
  controls.model.replaceChildren(
    ...runnable.map(({ name, sizeBytes, complete, totalBytes }) => {
      const size = complete
        ? formatBytes(sizeBytes)
        : `${formatBytes(sizeBytes)} of ${formatBytes(totalBytes)}, unfinished`;
      const option = new Option(`${name} (${size})`, name);
      option.disabled = !complete;
      return option;
    }),
  );
  if (runnable.some(({ name }) => name === before)) controls.model.value = before;
  const chosen = controls.predictor.value;
  controls.predictor.replaceChildren(
    new Option("the one beside the model", ""),
    ...models
      .filter(({ name, complete }) => complete && name.endsWith(".predictor.gguf"))
      .map(({ name }) => new Option(name, name)),
  );
  if (models.some(({ name }) => name === chosen)) controls.predictor.value = chosen;
  stored = new Set(models.flatMap(({ name, complete }) => (complete ? [name] : [])));
  showDraftChoices();
  element("storage").dataset.models = models.map(({ name, complete }) => (complete ? name : "")).join(" ");
  element("storage").textContent =
    `${formatBytes(usageBytes)} stored, ${formatBytes(quotaBytes)} allowed by the browser`;
  element("isolation").textContent = isolated
    ? ""
    : "This page is not cross-origin isolated: memory cannot be shared, so one thread reads and computes, slower.";
  showButtons();
  if (run === null) say(runnable.length > 0 ? "Ready." : "No model yet: import one.");
  askPrediction();
}

function showProgress(task: number, { what, loaded, total, detail }: Extract<Answer, { kind: "progress" }>): void {
  progressOf = task;
  element("progress-box").hidden = false;
  element<HTMLProgressElement>("progress").value = loaded / Math.max(1, total);
  const amount =
    detail === "tokens" ? `${loaded} of ${total} tokens` : `${formatBytes(loaded)} of ${formatBytes(total)}, ${detail}`;
  element("progress-text").textContent = `${what}: ${amount}`;
}

function showFacts(): void {
  const { backend, dram, fallback, readers, threads } = facts!;
  const kinds = [
    ["resident weights", dram.resident, "#0072b2"],
    ["predictors", dram.predictor, "#e69f00"],
    ["neurons", dram.neuronCache, "#009e73"],
    ["keys and values", dram.kvCache, "#cc79a7"],
    ["activations", dram.activations + dram.readBuffers, "#999999"],
  ] as const;
  element("dram").dataset.budget = `${dram.budget}`;
  element("dram").replaceChildren(
    ...kinds.map(([name, bytes, colour]) => {
      const part = document.createElement("span");
      part.style.cssText = `width:${(100 * bytes) / dram.budget}%;background:${colour}`;
      part.title = `${name}: ${formatBytes(bytes)}`;
      return part;
    }),
  );
  element("dram-legend").replaceChildren(
    ...kinds.map(([name, bytes, colour]) => {
      const item = document.createElement("li");
      const swatch = document.createElement("i");
      swatch.className = "swatch";
      swatch.style.background = colour;
      item.append(swatch, `${name} ${formatBytes(bytes)}`);
      return item;
    }),
  );
  const who =
    backend === "webgpu" ? "The graphics processor computes. " : threads > 1 ? `${threads} threads compute. ` : "";
  say(
    fallback === null
      ? `${who}Reading with ${readers === 0 ? "the engine's own thread" : `${readers} workers`}.`
      : `${who}One thread: ${fallback}.`,
  );
}

function showStep(event: StepEvent): void {
  steps = [...steps, event];
  while (steps.length > 1 && tokensOf(steps) > SHOWN_TOKENS) steps.shift();
  draftTotals = addStep(draftTotals, event);
  // Drawn at the screen's pace, whatever the engine's.
  if (!isDrawing) requestAnimationFrame(draw);
  isDrawing = true;
}

function tokensOf(of: readonly StepEvent[]): number {
  return of.reduce((sum, { accepted }) => sum + 1 + accepted, 0);
}

function draw(): void {
  isDrawing = false;
  const last = steps.at(-1);
  if (!facts || !last) return;
  drawMap(element<HTMLCanvasElement>("map"), facts, last.states);
  drawTimeline(element<HTMLCanvasElement>("timeline"), steps);
  drawSpans(element<HTMLCanvasElement>("spans"), last);
  element("spans-text").textContent = spansText(last);
  if (facts.drafts !== "off") showDrafts(facts.drafts, last);
  element("map-text").textContent = mapText(facts, last);
  const { hits, misses, flashBytes, flashReads, ms } = last;
  const named = hits + misses;
  const shown = tokensOf(steps);
  const mean = steps.reduce((sum, { flashBytes: bytes }) => sum + bytes, 0) / shown;
  const rows: [string, string][] = [
    [subjectOf(last).toLowerCase(), `${ms.toFixed(1)} ms`],
    ["read from storage", `${formatBytes(flashBytes)} in ${flashReads} reads`],
    [`mean of ${shown} tokens`, formatBytes(mean)],
    ["every neuron would be", formatBytes(facts.naiveBytesPerToken)],
    ["times fewer", mean > 0 ? `${(facts.naiveBytesPerToken / mean).toFixed(1)} ×` : "nothing was read"],
    ["found in memory", `${named > 0 ? ((100 * hits) / named).toFixed(1) : "100"} %`],
    ["memory", `${formatBytes(facts.dram.total)} of ${formatBytes(facts.dram.budget)}`],
  ];
  element("facts").replaceChildren(...definitions(rows));
  const body = element("phases").querySelector("tbody")!;
  body.replaceChildren(
    ...PHASES.map(({ key, name, colour }) => {
      const row = document.createElement("tr");
      const [label, value] = [document.createElement("td"), document.createElement("td")];
      const swatch = document.createElement("i");
      swatch.className = "swatch";
      swatch.style.background = colour;
      label.append(swatch, name);
      value.textContent = (last.phaseMs[key] ?? 0).toFixed(2);
      row.append(label, value);
      return row;
    }),
  );
}

function showDrafts(drafts: Exclude<Drafts, "off">, last: StepEvent): void {
  element("drafts-text").textContent = draftSentences(steps);
  element("drafts-facts").replaceChildren(...definitions(draftFigures(drafts, draftTotals, last)));
  // What the lanes of the timeline show, in words; the last step first.
  const first = draftTotals.steps - steps.length + 1;
  const rows = steps.map((step, i) => draftRow(first + i, step));
  element("drafts-table")
    .querySelector("tbody")!
    .replaceChildren(...rows.reverse());
}

/** What the figures of a step are of. */
function subjectOf({ drafts, accepted }: StepEvent): string {
  if (drafts.length === 0) return "Last token";
  return accepted === 0 ? "Last step, 1 token" : `Last step, ${1 + accepted} tokens`;
}

function mapText({ nLayers, dFf }: RunFacts, step: StepEvent): string {
  const layers = `${nLayers} layers of ${dFf} neurons. ${subjectOf(step)}:`;
  if (!step.isNamed) return `${layers} every neuron is used.`;
  const count = (state: number) => step.states.reduce((sum, own) => sum + (own === state ? 1 : 0), 0);
  const fetched = count(STATE.fetched);
  const awake = count(STATE.awake) + fetched;
  const share = ((100 * awake) / (nLayers * dFf)).toFixed(1);
  const verifies = step.passes.some(({ kind }) => kind === "draft") ? " The dense pass used every neuron." : "";
  return `${layers} ${awake} awake (${share} %), ${fetched} of them fetched.${verifies}`;
}

/** What of the reading was hidden behind computing. */
function spansText(step: StepEvent): string {
  const { ms, spans, phaseMs } = step;
  const subject = subjectOf(step);
  const flown = spans.reduce((sum, { what, beginMs, endMs }) => sum + (what === "reads" ? endMs - beginMs : 0), 0);
  const waited = phaseMs.readWait ?? 0;
  if (flown === 0) return `${subject}: ${ms.toFixed(1)} ms, nothing was read.`;
  const hidden = Math.max(0, flown - waited);
  return `${subject}: ${ms.toFixed(1)} ms. Reads were in flight for ${flown.toFixed(1)} ms, ${hidden.toFixed(1)} of them beside other work.`;
}

function showSimulation({ rows, dFf, tokens }: Extract<Answer, { kind: "simulated" }>): void {
  const canvas = element<HTMLCanvasElement>("sim");
  canvas.hidden = false;
  drawMisses(canvas, rows, dFf);
  const policies = [...new Set(rows.map(({ policy }) => policy))];
  const slots = [...new Set(rows.map((row) => row.slots))];
  const head = tableRow(["slots of a layer", ...policies], "th");
  const lines = slots.map((count) =>
    tableRow([
      `${count} (${((100 * count) / dFf).toFixed(0)} %)`,
      ...policies.map((policy) => {
        const { missShare } = rows.find((row) => row.slots === count && row.policy === policy)!;
        return `${(100 * missShare).toFixed(1)} %`;
      }),
    ]),
  );
  const [thead, tbody] = [document.createElement("thead"), document.createElement("tbody")];
  thead.append(head);
  tbody.append(...lines);
  element("sim-table").replaceChildren(thead, tbody);
  element("sim-text").textContent =
    `Misses, of the neurons named by ${tokens} tokens. "clairvoyant" knows the future: nothing misses less.`;
}

function begin(kind: "generate" | "prove"): void {
  clearError();
  if (kind === "generate") element("text").textContent = controls.prompt.value;
  say(kind === "generate" ? "Taking in the prompt…" : "Running sparse, lossless, then dense…");
  run = ask({ kind, ...request() });
  showButtons();
}

element<HTMLFormElement>("run-form").onsubmit = (event) => {
  event.preventDefault();
  begin("generate");
};
controls.prove.onclick = () => begin("prove");
controls.stop.onclick = () => run !== null && ask({ kind: "stop", task: run });
controls.train.onclick = () => {
  clearError();
  epochs = [];
  say("Training…");
  run = ask({
    kind: "train",
    model: controls.model.value,
    tokens: Number(element<HTMLInputElement>("train-tokens").value) || 16_000,
  });
  showButtons();
};
controls.predictor.onchange = controls.model.onchange = () => {
  showDraftChoices();
  askPrediction();
};
controls.drafts.onchange = askPrediction;
controls.backend.onchange = askPrediction;
controls.simulate.onclick = () => ask({ kind: "simulate", slotShares: [0.05, 0.1, 0.2, 0.4, 0.8] });
element("remove").onclick = () => {
  if (controls.model.value !== "") ask({ kind: "delete", name: controls.model.value });
};
const fileInput = element<HTMLInputElement>("file");
fileInput.onchange = () => importFiles([...(fileInput.files ?? [])]);
function importFiles(files: readonly File[]): void {
  clearError();
  for (const file of files) ask({ kind: "importFile", file });
}
document.body.ondragover = (event) => event.preventDefault();
document.body.ondrop = (event) => {
  event.preventDefault();
  importFiles([...(event.dataTransfer?.files ?? [])]);
};
element<HTMLFormElement>("url-form").onsubmit = (event) => {
  event.preventDefault();
  const { value } = element<HTMLInputElement>("url");
  if (value !== "") ask({ kind: "importUrl", url: value });
};
const { budget, window: windowControl, policy, threshold, threads, readers } = controls;
for (const control of [budget, windowControl, policy, threshold, threads, readers]) {
  control.oninput = () => {
    showSettings();
    askPrediction();
  };
}
if (!("gpu" in navigator)) {
  const option = controls.backend.options[1]!;
  option.disabled = true;
  option.text += ": not in this browser";
}
showSettings();
showButtons();
ask({ kind: "start" });
// Pages may ask, workers may not: that the browser does not drop models when the disk fills up.
void navigator.storage?.persist?.().catch(() => false);
