/** The controls of the page, and what they ask for. */
import { formatBytes } from "@flashwick/core";
import { element } from "./elements.js";
import type { ChatRequest, Drafts, EngineSettings, GenerateRequest, ModelFacts, WeightForm } from "./messages.js";
import type { RunSettings } from "./run-settings.js";

export const controls = {
  model: element<HTMLSelectElement>("model"),
  prompt: element<HTMLTextAreaElement>("prompt"),
  tokens: element<HTMLInputElement>("tokens"),
  system: element<HTMLTextAreaElement>("system"),
  message: element<HTMLTextAreaElement>("message"),
  replyTokens: element<HTMLInputElement>("reply-tokens"),
  temperature: element<HTMLInputElement>("temperature"),
  budget: element<HTMLInputElement>("budget"),
  window: element<HTMLInputElement>("window"),
  policy: element<HTMLSelectElement>("policy"),
  drafts: element<HTMLSelectElement>("drafts"),
  threshold: element<HTMLInputElement>("threshold"),
  threads: element<HTMLInputElement>("threads"),
  readers: element<HTMLInputElement>("readers"),
  predictor: element<HTMLSelectElement>("predictor"),
  backend: element<HTMLSelectElement>("backend"),
};

/** Percent of the file that a model is given before anybody chooses. */
const FIRST_BUDGET: Readonly<Record<WeightForm, number>> = { records: 65, experts: 50, matrices: 50 };
/** Beyond the least that works, so that reads are not single rows. */
const ROOM = 1.1;
let budgetIsChosen = false;
/** Of the model whose settings these are. */
let weights: WeightForm = "records";

/** Settings are those of this model from now on: what it has no use for is hidden, and left out. */
export function adoptModel(facts: ModelFacts): void {
  weights = facts.weights;
  if (weights !== "records") {
    controls.predictor.value = "";
    if (controls.drafts.value === "lossless") controls.drafts.value = "off";
  }
  showBackends();
  suggestBudget(facts);
}

/** Gives a model what suits it, unless the budget has been chosen: of a file of llama.cpp's the half, or what it takes to run. */
function suggestBudget({ fileBytes, leastBudgetBytes }: ModelFacts): void {
  if (budgetIsChosen) return;
  const least = weights === "records" ? 0 : Math.ceil((100 * ROOM * leastBudgetBytes) / fileBytes);
  controls.budget.value = `${Math.max(FIRST_BUDGET[weights], least)}`;
}

export function settings(): EngineSettings {
  const { budget, window, policy, threshold, readers } = controls;
  return {
    budgetShare: Number(budget.value) / 100,
    windowTokens: weights === "matrices" || window.value === "0" ? null : Number(window.value),
    policy: policy.value === "" ? null : (policy.value as EngineSettings["policy"]),
    threshold: weights !== "records" || threshold.value === threshold.min ? null : Number(threshold.value),
    readers: readers.value === "-1" ? null : Number(readers.value),
    predictor: controls.predictor.value === "" ? null : controls.predictor.value,
    backend: controls.backend.value as EngineSettings["backend"],
    threads: controls.threads.value === "0" ? null : Number(controls.threads.value),
  };
}

export function textRequest(): GenerateRequest {
  const { model, prompt, tokens, drafts } = controls;
  return {
    ...settings(),
    model: model.value,
    prompt: prompt.value,
    maxTokens: Math.max(1, Number(tokens.value) || 1),
    drafts: drafts.value as Drafts,
  };
}

/** All of a chat request but its messages. */
export function chatSettings(): Omit<ChatRequest, "messages"> {
  const { model, replyTokens, temperature, drafts } = controls;
  return {
    ...settings(),
    model: model.value,
    maxTokens: Math.max(1, Number(replyTokens.value) || 1),
    temperature: Math.max(0, Number(temperature.value) || 0),
    drafts: drafts.value as Drafts,
  };
}

/** What would be asked for now: a text, or a reply to nothing yet. */
export function textOrChatRequest(isChat: boolean) {
  return isChat
    ? ({ kind: "chat", ...chatSettings(), messages: [] } as const)
    : ({ kind: "generate", ...textRequest() } as const);
}

/** Sets the controls; what the model has no use for stays as it is for every model. */
export function applySettings(settings: RunSettings, facts: ModelFacts): void {
  const { budgetPercent, maxTokens, temperature, policy, window, threads, readers } = settings;
  controls.budget.min = `${Math.min(Number(controls.budget.min), budgetPercent)}`;
  controls.budget.value = `${budgetPercent}`;
  budgetIsChosen = true;
  controls.tokens.value = `${Math.min(maxTokens, Number(controls.tokens.max))}`;
  controls.replyTokens.value = `${maxTokens}`;
  controls.temperature.value = `${temperature}`;
  controls.policy.value = policy ?? "";
  controls.window.value = `${window ?? 0}`;
  controls.threads.value = `${threads ?? 0}`;
  controls.readers.value = `${readers ?? -1}`;
  choose(controls.backend, settings.backend);
  choose(controls.drafts, settings.drafts);
  if (facts.weights !== "records") return;
  choose(controls.predictor, settings.predictor ?? "");
  controls.threshold.value = `${settings.threshold ?? controls.threshold.min}`;
}

/** What cannot be chosen here stays as it was. */
function choose(select: HTMLSelectElement, value: string): void {
  if ([...select.options].some((option) => option.value === value && !option.disabled)) select.value = value;
}

/** Puts the settings into words. @param fileBytes Of the model that is chosen; null: not known yet. */
export function showSettings(fileBytes: number | null): void {
  const { budgetShare, windowTokens, threshold, threads, readers } = settings();
  const inBytes = fileBytes === null ? "" : `, ${formatBytes(Math.floor(budgetShare * fileBytes))}`;
  element("budget-value").textContent = `${Math.round(100 * budgetShare)} % of the file${inBytes}`;
  element("window-value").textContent = windowTokens === null ? "as many tokens as fit" : `${windowTokens} tokens`;
  element("threshold-value").textContent = threshold === null ? "calibrated, by layer" : `${threshold} (logit)`;
  element("threads-value").textContent = threads === null ? "what suits" : `${threads}`;
  element("readers-value").textContent =
    readers === null ? "what suits" : readers === 0 ? "none: the engine reads" : `${readers} workers`;
  element("settings-line").textContent = settingsLine(inBytes);
}

/** What the settings come to, while they are folded. */
function settingsLine(inBytes: string): string {
  const { budgetShare, policy, windowTokens, threshold, threads, backend } = settings();
  const { drafts } = controls;
  const parts = [
    `${Math.round(100 * budgetShare)} % of the file in memory${inBytes}`,
    policy === null ? "" : policy,
    windowTokens === null ? "" : `window of ${windowTokens}`,
    threshold === null ? "" : `threshold ${threshold}`,
    drafts.value === "off" ? "" : `drafts: ${drafts.value}`,
    backend === "wasm" ? "" : "WebGPU",
    threads === null ? "" : `${threads} threads`,
  ];
  return parts.filter((part) => part !== "").join(" · ");
}

/** @param onChange Called whenever a setting moves. */
export function watchSettings(onChange: () => void): void {
  const { budget, window: windowControl, policy, threshold, threads, readers, drafts, backend } = controls;
  for (const control of [budget, windowControl, policy, threshold, threads, readers]) control.oninput = onChange;
  budget.addEventListener("input", () => {
    budgetIsChosen = true;
  });
  drafts.onchange = backend.onchange = onChange;
  showBackends();
}

/** The graphics processor, or why it cannot be chosen. */
function showBackends(): void {
  const { backend } = controls;
  const option = backend.querySelector<HTMLOptionElement>("option[value=webgpu]")!;
  const why = !("gpu" in navigator) ? "not in this browser" : weights === "experts" ? "not for experts" : null;
  option.disabled = why !== null;
  option.text = `the graphics processor (WebGPU)${why === null ? "" : `: ${why}`}`;
  if (option.disabled) backend.value = "wasm";
}
