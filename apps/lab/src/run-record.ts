/** The last run of the page as it is saved: gathered while it goes on, whole once it has ended. */
import type { ChatMessage } from "@flashwick/runtime";
import type { ChatRequest, GenerateRequest, Request, RunFacts, StepEvent, TextFigures } from "./messages.js";
import type { ResultStep, RunInput } from "./result-file.js";
import type { RunSettings } from "./run-settings.js";

export interface RunRecord {
  readonly model: string;
  readonly settings: RunSettings;
  readonly input: RunInput;
  readonly facts: RunFacts;
  readonly text: string;
  readonly steps: readonly ResultStep[];
  readonly figures: TextFigures;
}

type TextRequest = ({ readonly kind: "generate" } & GenerateRequest) | ({ readonly kind: "chat" } & ChatRequest);

/** Of the run under way. */
let begun: { request: TextRequest; facts: RunFacts | null; text: string; steps: ResultStep[] } | null = null;
let last: RunRecord | null = null;

/** Null: nothing has run to its end with this model. */
export function lastRecord(): RunRecord | null {
  return last;
}

export function forgetRecord(): void {
  begun = last = null;
}

/** Runs that make no text are not recorded. */
export function beginRecord(request: Request): void {
  begun = request.kind === "generate" || request.kind === "chat" ? { request, facts: null, text: "", steps: [] } : null;
}

export function recordFacts(facts: RunFacts): void {
  if (begun) begun.facts = facts;
}

export function recordText(text: string): void {
  if (begun) begun.text += text;
}

export function recordStep(step: StepEvent): void {
  const { text, accepted, drafts, ms, phaseMs, flashBytes: readBytes, flashReads: reads, hits, misses } = step;
  begun?.steps.push({
    text,
    tokens: 1 + accepted,
    drafted: drafts.length,
    ms,
    phaseMs,
    readBytes,
    reads,
    hits,
    misses,
  });
}

/** The run is over: it can be saved from now on. @returns Its record; null where nothing was said, or recorded. */
export function endRecord(figures: TextFigures): RunRecord | null {
  if (!begun?.facts || figures.tokens.length === 0) return null;
  const { request, facts, text, steps } = begun;
  last = { model: request.model, settings: settingsOf(request), input: inputOf(request), facts, text, steps, figures };
  begun = null;
  return last;
}

function inputOf(request: TextRequest): RunInput {
  if (request.kind === "generate") return { kind: "text", prompt: request.prompt };
  return { kind: "chat", messages: request.messages as readonly ChatMessage[] };
}

/** The settings of a request, as they are saved. */
export function settingsOf(request: TextRequest): RunSettings {
  const { budgetShare, windowTokens: window, maxTokens, drafts } = request;
  const { policy, predictor, threshold, backend, threads, readers } = request;
  const temperature = request.kind === "chat" ? request.temperature : 0;
  const budgetPercent = Math.round(100 * budgetShare);
  return {
    budgetPercent,
    maxTokens,
    temperature,
    window,
    policy,
    predictor,
    threshold,
    drafts,
    backend,
    threads,
    readers,
  };
}
