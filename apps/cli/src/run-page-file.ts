/** `--report`: the page of a run, written beside its text. */
import { formatBytes, type PhaseMs, type RunStats, unitName } from "@flashwick/core";
import type { TimedRun } from "@flashwick/drawings";
import { type RunReport, runPage } from "@flashwick/drawings/run-page";
import type { Model } from "@flashwick/runtime";
import type { Generation } from "./generation.js";
import { writeOutput } from "./output-file.js";
import type { RunRecorder } from "./run-recorder.js";
import { predictedText, runRows } from "./run-report.js";

/** @throws {IoError} `IO_WRITE`. */
export async function writeRunPage(
  path: string,
  model: Model,
  recorder: RunRecorder,
  prompt: string,
  made: Generation,
): Promise<void> {
  await writeOutput(path, runPage(runReport(model, recorder, prompt, made)));
}

function runReport(model: Model, recorder: RunRecorder, prompt: string, { text, stats }: Generation): RunReport {
  const { fileBytes, geometry } = model.header;
  const name = model.parts.file.source.name.split(/[/\\]/).at(-1)!;
  const { total, budget } = stats.dramBytes;
  return {
    title: name,
    summary: `${formatBytes(fileBytes)} on flash; ${formatBytes(total)} in DRAM, of ${formatBytes(budget)} that it may take.`,
    prompt,
    text,
    figures: runRows(stats, unitName(geometry)),
    map: recorder.map,
    ...recorder.steps,
    comparison: comparisonOf(stats),
    comparisonText: predictedText(stats),
  };
}

function comparisonOf({ predicted, tokenMs, msPerToken }: RunStats): [TimedRun, TimedRun] | null {
  if (predicted === null) return null;
  const record = (phases: Readonly<Partial<PhaseMs>>) => phases as Readonly<Record<string, number>>;
  return [
    { name: "predicted", phaseMs: record(predicted.msPerToken), tokenMs: predicted.tokenMs },
    { name: "measured", phaseMs: record(msPerToken), tokenMs: tokenMs.mean },
  ];
}
