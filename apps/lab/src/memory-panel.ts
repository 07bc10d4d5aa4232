/** The panel of bytes and memory: what the last token read beside what every token would, and what memory holds by kind. */
import { formatBytes } from "@flashwick/core";
import { definitions, element, swatch } from "./elements.js";
import type { RunFacts, RunFigures, StepEvent } from "./messages.js";
import { subjectOf, tokensOf } from "./step-words.js";

/** What memory keeps and drops at once, and what a token that leaves nothing out would read all of. */
function kept({ unit, mode }: RunFacts): string {
  return unit === "neuron" && mode === "dense" ? "layer" : unit;
}

export function showMemory(of: RunFacts): void {
  const { dram, kvPrecision } = of;
  const all: readonly [string, number, string][] = [
    ["resident weights", dram.resident, "#0072b2"],
    ["predictors", dram.predictor, "#e69f00"],
    [kept(of) === "layer" ? "whole layers" : `${of.unit}s`, dram.neuronCache, "#009e73"],
    [`keys and values (${kvPrecision})`, dram.kvCache, "#cc79a7"],
    ["activations and buffers", dram.activations + dram.readBuffers, "#999999"],
  ];
  const kinds = all.filter(([, bytes]) => bytes > 0);
  element("memory-empty").hidden = true;
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
      item.append(swatch(colour), `${name} ${formatBytes(bytes)}`);
      return item;
    }),
  );
}

/** Another model. */
export function clearMemory(): void {
  element("memory-empty").hidden = false;
  for (const id of ["facts", "dram", "dram-legend"]) element(id).replaceChildren();
}

/** @param steps Those that are shown; there is at least one. */
export function showBytes(facts: RunFacts, steps: readonly StepEvent[]): void {
  const last = steps.at(-1)!;
  element("facts").replaceChildren(...definitions(byteFigures(facts, steps, last)));
  keepFigures(facts, last.run);
}

/** Unrounded, for whoever measures. */
function keepFigures(
  { threads, readers }: RunFacts,
  { tokensPerSec, flashBytesPerToken, cacheHitShare, tokenMs }: RunFigures,
): void {
  const { p50: p50Ms, p99: p99Ms, max: slowestMs } = tokenMs;
  const figures = { tokensPerSec, flashBytesPerToken, cacheHitShare, p50Ms, p99Ms, slowestMs, threads, readers };
  Object.assign(element("facts").dataset, figures);
}

function byteFigures(of: RunFacts, steps: readonly StepEvent[], last: StepEvent): [string, string][] {
  const { dram, naiveBytesPerToken } = of;
  const { cacheHitShare, tokenMs } = last.run;
  const { hits, misses, flashBytes, flashReads, ms, isNamed } = last;
  const named = hits + misses;
  const shown = tokensOf(steps);
  const mean = steps.reduce((sum, { flashBytes: bytes }) => sum + bytes, 0) / shown;
  const ofUnits: [string, string][] = [
    ["times fewer", mean > 0 ? `${(naiveBytesPerToken / mean).toFixed(1)} ×` : "nothing was read"],
    ["found in memory", `${named > 0 ? ((100 * hits) / named).toFixed(1) : "100"} %`],
    ["… of all tokens so far", cacheHitShare === null ? "—" : `${(100 * cacheHitShare).toFixed(1)} %`],
  ];
  return [
    [subjectOf(last).toLowerCase(), `${ms.toFixed(1)} ms`],
    ["read from storage", `${formatBytes(flashBytes)} in ${flashReads} reads`],
    [`mean of ${shown} tokens`, formatBytes(mean)],
    [`every ${kept(of)} would be`, formatBytes(naiveBytesPerToken)],
    ...(isNamed ? ofUnits : []),
    ["99 of 100 tokens took at most", `${tokenMs.p99.toFixed(1)} ms`],
    ["slowest token", `${tokenMs.max.toFixed(1)} ms`],
    ["memory", `${formatBytes(dram.total)} of ${formatBytes(dram.budget)}`],
  ];
}
