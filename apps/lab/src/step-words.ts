/** Steps in words: what the pictures show, for those who read rather than look. */
import { STATE } from "@flashwick/drawings";
import type { RunFacts, StepEvent } from "./messages.js";

export function tokensOf(steps: readonly StepEvent[]): number {
  return steps.reduce((sum, { accepted }) => sum + 1 + accepted, 0);
}

/** What the figures of a step are of. */
export function subjectOf({ drafts, accepted }: StepEvent): string {
  if (drafts.length === 0) return "Last token";
  return accepted === 0 ? "Last step, 1 token" : `Last step, ${1 + accepted} tokens`;
}

export function mapText({ unit, dFf, unitsByLayer }: RunFacts, step: StepEvent): string {
  const filled = unitsByLayer.filter((units) => units > 0).length;
  const layers = `${filled} layers of ${dFf} ${unit}s. ${subjectOf(step)}:`;
  if (!step.isNamed) return `${layers} every neuron is used.`;
  const count = (state: number) => step.states.reduce((sum, own) => sum + (own === state ? 1 : 0), 0);
  const fetched = count(STATE.fetched);
  const awake = count(STATE.awake) + fetched;
  const share = ((100 * awake) / unitsByLayer.reduce((sum, units) => sum + units, 0)).toFixed(1);
  const verifies = step.passes.some(({ kind }) => kind === "draft") ? " The dense pass used every neuron." : "";
  return `${layers} ${awake} ${unit === "expert" ? "chosen" : "awake"} (${share} %), ${fetched} of them fetched.${verifies}`;
}

/** What of the reading was hidden behind computing. */
export function spansText(step: StepEvent): string {
  const { ms, spans, phaseMs } = step;
  const subject = subjectOf(step);
  const flown = spans.reduce((sum, { what, beginMs, endMs }) => sum + (what === "reads" ? endMs - beginMs : 0), 0);
  const waited = phaseMs.readWait ?? 0;
  if (flown === 0) return `${subject}: ${ms.toFixed(1)} ms, nothing was read.`;
  const hidden = Math.max(0, flown - waited);
  return `${subject}: ${ms.toFixed(1)} ms. Reads were in flight for ${flown.toFixed(1)} ms, ${hidden.toFixed(1)} of them beside other work.`;
}

/** Who computes and who reads. */
export function whoWorks({ backend, fallback, readers, threads }: RunFacts): string {
  const who =
    backend === "webgpu" ? "The graphics processor computes. " : threads > 1 ? `${threads} threads compute. ` : "";
  return fallback === null
    ? `${who}Reading with ${readers === 0 ? "the engine's own thread" : `${readers} workers`}.`
    : `${who}One thread: ${fallback}.`;
}
