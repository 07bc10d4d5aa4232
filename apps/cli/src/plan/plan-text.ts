/** A plan for a person. */
import { formatBytes } from "@flashwick/core";
import { cycleNote } from "../cycle-note.js";
import { figure, percent, table } from "../table.js";
import type { PlanDocument, PlannedLossless, PlannedMode, RefusalDocument } from "./plan-document.js";

const PHASES = [
  ["reading, with nothing else to do", "exposedReadMs"],
  ["predicting", "predictMs"],
  ["deciding what stays", "cacheMs"],
  ["checksums", "checkMs"],
  ["attention", "attentionMs"],
  ["FFN", "ffnMs"],
  ["head", "headMs"],
] as const;

const BOUND = {
  flash: "flash",
  dram: "the speed of DRAM",
  compute: "arithmetic",
  cpu: "deciding and checking",
} as const;

/** @param wantsLossless Whether `--lossless` was given: then it is said if there is no such run. */
export function planText(plan: PlanDocument, wantsLossless = false): string {
  const { perToken, choice, memory, limits, prefill } = plan;
  const note = cycleNote({ ...plan, budgetBytes: memory.budget });
  const share = (ms: number) => percent(ms / perToken.totalMs);
  const window = choice.windowTokens === null ? "as many tokens as fit" : `${choice.windowTokens} tokens`;
  const dense = `every neuron is used, ${perToken.flashBytes > 0 ? "layers are streamed" : "all of them stay in memory"}`;
  const how = choice.mode === "dense" && plan.units === "neurons" ? dense : `a window of ${window}`;
  const mode = plan.units === "experts" ? "what routers choose" : choice.mode;
  return [
    `${plan.model} (${choice.dtype}, ${formatBytes(plan.fileBytes)}) on ${plan.device}, within ${formatBytes(memory.budget)} of DRAM:`,
    `${figure(plan.tokensPerSec)} tokens/s, ${figure(perToken.totalMs)} ms a token, bound by ${BOUND[plan.bound]}.${percentiles(plan)}`,
    "",
    `choice: ${mode}: ${how}; ${choice.readers} reads in flight, gaps of up to ${formatBytes(choice.mergeGapBytes)} read over, ${choice.threads} threads, ${choice.overlap ? "computing while reads fly" : "reading, then computing"}; keys and values ${choice.kvPrecision}`,
    `flash: ${formatBytes(perToken.flashBytes)} a token in ${figure(perToken.flashReads)} reads; ${figure(perToken.neuronsNamed)} ${plan.units} named, ${figure(perToken.neuronsLoaded)} loaded`,
    `DRAM: ${formatBytes(memory.total)}: resident ${formatBytes(memory.resident)}, predictors ${formatBytes(memory.predictor)}, ${plan.units} ${formatBytes(memory.neuronCache)}, keys and values ${formatBytes(memory.kvCache)}, activations ${formatBytes(memory.activations)}; at least ${formatBytes(plan.smallestBudgetBytes)}`,
    `prompt: ${prefill.promptTokens} tokens in ${figure(prefill.totalMs / 1000)} s (reading ${figure(prefill.readMs / 1000)} s, arithmetic ${figure(prefill.computeMs / 1000)} s)`,
    "",
    table([
      ["ms a token", "", ""],
      ...PHASES.map(([name, key]) => [
        key === "predictMs" && plan.units === "experts" ? "routing" : name,
        perToken[key].toFixed(2),
        share(perToken[key]),
      ]),
      ["least, DRAM alone", limits.dramMs.toFixed(2), share(limits.dramMs)],
      ["least, flash alone", limits.flashMs.toFixed(2), share(limits.flashMs)],
    ]),
    "",
    ...modes(plan),
    ...alternatives(plan),
    ...(wantsLossless ? [...losslessText(plan), ""] : []),
    ...(plan.gateSparsitySource === null ? [] : [`gates: ${plan.gateSparsitySource}`]),
    `${plan.units === "experts" ? "experts" : "sparsity"}: ${plan.sparsitySource ?? "none, no predictor"}`,
    ...(note === null ? [] : [note]),
  ].join("\n");
}

/** What is said in the place of a plan. */
export function refusalText({ model, budgetBytes, smallestBudgetBytes: smallest }: RefusalDocument): string {
  return `${model} does not fit ${formatBytes(budgetBytes!)} of DRAM; the smallest budget that would do is ${smallest} bytes (${formatBytes(smallest)})`;
}

function percentiles({ percentilesMs }: PlanDocument): string {
  if (percentilesMs === null) return "";
  const { p50, p90, p99 } = percentilesMs;
  return ` Half of the tokens within ${figure(p50)} ms, nine in ten within ${figure(p90)}, 99 in a hundred within ${figure(p99)}.`;
}

/** Ways of running the model, where there are several: what each takes, what binds it, and by what it loses. */
function modes({ modes }: PlanDocument): string[] {
  const [fastest, ...others] = modes;
  if (!fastest || others.length === 0) return [];
  const rows = modes.map((mode) => [
    mode.mode === "lookup" ? `lookup, ${mode.engineMode}` : mode.mode,
    mode.exact ? "exact" : "",
    mode.msPerToken?.toFixed(2) ?? "",
    mode.bound === null ? "" : BOUND[mode.bound],
    modeLoss(mode, fastest),
  ]);
  return [table([["mode", "", "ms", "bound by", ""], ...rows]), ""];
}

function modeLoss(mode: PlannedMode, fastest: PlannedMode): string {
  if (mode === fastest) return "fastest";
  if (mode.msPerToken === null) {
    return mode.smallestBudgetBytes === null ? "does not fit" : `needs ${formatBytes(mode.smallestBudgetBytes)}`;
  }
  const slower = `${figure(mode.timesFastest!)} times as long`;
  // Of drafts the time is a step's, and its parts those of another run.
  if (mode.mode === "lossless" || mode.draftTokens !== 0) return slower;
  const losses = PHASES.map(([name, key]) => ({ name, ms: mode.perToken![key] - fastest.perToken![key] }));
  const worst = losses.reduce((a, b) => (b.ms > a.ms ? b : a));
  return worst.ms > 0.005 ? `${slower}: ${figure(worst.ms)} ms more on ${worst.name}` : slower;
}

function alternatives({ alternatives, perToken }: PlanDocument): string[] {
  if (alternatives.length === 0) return [];
  const rows = alternatives.map(({ change, totalMs, losesBy }) => [
    Object.entries(change)
      .map(([setting, value]) => `${setting} ${value ?? "as fits"}`)
      .join(", "),
    totalMs.toFixed(2),
    `${totalMs >= perToken.totalMs ? "+" : ""}${percent(totalMs / perToken.totalMs - 1)}`,
    losesBy.ms > 0.005 ? `loses ${figure(losesBy.ms)} ms on ${losesBy.phase.replace(/Ms$/, "")}` : "gains nothing",
  ]);
  return [table([["instead", "ms", "", ""], ...rows]), ""];
}

/** The exact run that drafts sparsely, between the exact one that does not draft and the sparse one. */
function losslessText({ lossless }: PlanDocument): string[] {
  if (lossless === null) return ["lossless: nothing can draft; it takes a predictor, and a budget that holds it"];
  const { draftTokens, acceptance, acceptanceSource, tokensPerStep, draftMs, verifyMs } = lossless;
  const drafts =
    draftTokens === 0
      ? "drafting does not pay here: this is the dense run"
      : `${draftTokens} ${draftTokens === 1 ? "draft" : "drafts"} of ${figure(draftMs)} ms and a dense pass of ${figure(verifyMs)} ms give ${figure(tokensPerStep)} tokens`;
  return [
    table([
      ["", "tokens/s", "of the dense run", "drafting", "verifying"],
      ["dense", lossless.denseTokensPerSec.toFixed(2), "1.00x", "", ""],
      [
        "lossless",
        lossless.tokensPerSec.toFixed(2),
        timesDense(lossless, lossless.tokensPerSec),
        percent(lossless.draftShare),
        percent(lossless.verifyShare),
      ],
      ["sparse", lossless.sparseTokensPerSec.toFixed(2), timesDense(lossless, lossless.sparseTokensPerSec), "", ""],
    ]),
    `lossless: ${drafts}; acceptance ${acceptance} (${acceptanceSource})`,
  ];
}

function timesDense({ denseTokensPerSec }: PlannedLossless, tokensPerSec: number): string {
  return `${(tokensPerSec / denseTokensPerSec).toFixed(2)}x`;
}
