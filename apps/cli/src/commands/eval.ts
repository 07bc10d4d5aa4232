/** `flashwick eval`: quality beside cost. */
import { formatBytes, hasExperts } from "@flashwick/core";
import {
  type EvaluateResult,
  evaluateTasks,
  evaluateText,
  type Model,
  parseTasks,
  type TasksResult,
} from "@flashwick/runtime";
import { type Command, Option } from "commander";
import { frameCommand, withReport } from "../command-frame.js";
import { addEngineFlags, type EngineFlags, openWithFlags, requireOne } from "../engine-flags.js";
import { budgetOf, openComparison, openOther } from "../eval-comparison.js";
import type { Invocation } from "../invocation.js";
import { integer } from "../option-values.js";
import type { CommonFlags } from "../report.js";
import { figure, percent, table } from "../table.js";
import { readText } from "../text-file.js";

interface EvalFlags extends CommonFlags, EngineFlags {
  readonly text?: string;
  readonly tasks?: string;
  readonly maxWindows?: number;
  readonly windowTokens: number;
  readonly against?: string;
  readonly mode?: EvalMode;
}

/** As a flag says it; `dense` and `oracle` have flags of their own. */
const EVAL_MODES = ["predicted", "gate-first"] as const;
type EvalMode = (typeof EVAL_MODES)[number];

export function evalCommand(invocation: Invocation): Command {
  const command = frameCommand({
    name: "eval",
    summary: "Measure perplexity on a text, agreement with another run, and what decoding it reads from flash.",
    example: "flashwick eval opt-demo.gguf --text evaluation.txt --max-windows 20 --against dense",
  })
    .argument("<model.gguf>", "model file")
    .option("--text <file>", "text to evaluate on, UTF-8 (no default: this or --tasks is needed)")
    .option(
      "--tasks <file>",
      'multiple-choice tasks instead, JSON lines: {"context": text, "endings": [text, …], "label": index} (default: none)',
    )
    .option("--max-windows <n>", "use at most the first n windows (default: all)", integer(1))
    .option("--window-tokens <n>", "tokens of a window, BOS included", integer(2), 256)
    .option(
      "--against <run>",
      "compare token by token with: dense (the same file, all neurons, or experts as its routers choose), or another model file, within the same budget (default: nothing)",
    );
  command.addOption(
    new Option("--mode <mode>", "how neurons are named (default: predicted with a predictor, else as the file allows)")
      .choices(EVAL_MODES)
      .conflicts(["dense", "oracle"]),
  );
  return addEngineFlags(command, "sidecar").action(async (path: string, given: EvalFlags) => {
    const flags = given.mode === "gate-first" ? { ...given, gateFirst: true } : given;
    requireOne(flags, ["text", "tasks"]);
    const { text, tasks } = flags;
    invocation.exitStatus =
      tasks === undefined
        ? await evaluate(invocation, path, { ...flags, text: text! })
        : await chooseEndings(invocation, path, { ...flags, tasks });
  });
}

/** `--tasks`: accuracy, and with `--against` how often both choose alike. */
function chooseEndings(
  { terminal }: Invocation,
  path: string,
  flags: EvalFlags & { readonly tasks: string },
): Promise<number> {
  return withReport(terminal, flags, async (report) => {
    const tasks = parseTasks(await readText(flags.tasks), flags.tasks);
    const model = await openWithFlags(path, flags, "sidecar", report);
    try {
      const options = { signal: terminal.signal, onProgress: report.onProgress };
      const { choices, ...result } = await evaluateTasks(model, tasks, options);
      const other = flags.against === undefined ? null : await otherTasks(model, path, flags.against, tasks, options);
      const alike = other && choices.filter((choice, i) => choice === other.choices[i]).length / tasks.length;
      const comparison = other && { accuracy: other.accuracy, accuracyNorm: other.accuracyNorm, sameChoice: alike! };
      const { activationBits = null } = model.parts;
      const run = { mode: model.mode, activationBits };
      report.result({ ...run, ...result, ...(comparison ? { against: comparison } : {}), choices }, () =>
        tasksText(modeText(run), result, comparison),
      );
    } finally {
      await model.close();
    }
    return undefined;
  });
}

/** The same tasks by the other run, once the first has left the memory to it. */
async function otherTasks(
  model: Model,
  path: string,
  against: string,
  tasks: Parameters<typeof evaluateTasks>[1],
  options: Parameters<typeof evaluateTasks>[2],
): Promise<TasksResult> {
  await model.unload();
  const other = await openOther(model, { path, against }, budgetOf(model));
  return await evaluateTasks(other, tasks, options).finally(() => other.close());
}

function tasksText(
  mode: string,
  result: Omit<TasksResult, "choices">,
  other: { readonly accuracy: number; readonly accuracyNorm: number; readonly sameChoice: number } | null,
): string {
  return table([
    ["mode", mode],
    ["accuracy", `${percent(result.accuracyNorm)} ± ${percent(result.standardError)}, length-normalised`],
    ["", `${percent(result.accuracy)} by plain likelihood; guessing ${percent(result.chance)}`],
    ["over", `${result.tasks} tasks`],
    ...(other
      ? [
          ["against", `${percent(other.accuracyNorm)} length-normalised, ${percent(other.accuracy)} plain`],
          ["agreement", `${percent(other.sameChoice)} of the choices`],
        ]
      : []),
  ]);
}

function evaluate(
  { terminal }: Invocation,
  path: string,
  flags: EvalFlags & { readonly text: string },
): Promise<number> {
  return withReport(terminal, flags, async (report) => {
    const text = await readText(flags.text);
    const startMs = terminal.clock();
    const opened = await openWithFlags(path, flags, "sidecar", report);
    try {
      const { windowTokens, against, maxWindows = Number.POSITIVE_INFINITY } = flags;
      const compared =
        against === undefined ? null : await openComparison(opened, { against, path, windowTokens, maxWindows });
      const { model, close, ...sides } = compared ?? { model: opened, close: async () => {} };
      try {
        const { signal } = terminal;
        const options = { windowTokens, maxWindows, ...sides, signal, onProgress: report.onProgress };
        const { against: comparison, ...result } = await evaluateText(model, text, options);
        const seconds = (terminal.clock() - startMs) / 1000;
        const mixture = hasExperts(model.header.geometry);
        const cacheFit = opened.cacheFit(windowTokens);
        const { activationBits = null } = model.parts;
        const run = { mode: model.mode, activationBits };
        const document = {
          ...run,
          ...result,
          ...(comparison ? { against: comparison } : {}),
          cacheFit,
          seconds,
        };
        report.result(document, () => evaluationText({ ...result, against: comparison }, modeText(run), mixture));
      } finally {
        await close();
      }
    } finally {
      await opened.close();
    }
    return undefined;
  });
}

/** @param mixture Figures are of experts in place of neurons. */
function evaluationText(result: EvaluateResult, mode: string, mixture: boolean): string {
  const { against } = result;
  const facts = table([
    ["mode", mode],
    ["perplexity", `${result.perplexity.toFixed(4)}  (mean NLL ${result.meanNll.toFixed(5)})`],
    ["over", `${result.tokens} tokens in ${result.windows} windows`],
    ...(against
      ? [
          [
            "against",
            `perplexity ${against.perplexity.toFixed(4)}, ${signedPercent(result.perplexity / against.perplexity - 1)}`,
          ],
          ["agreement", `${percent(against.top1Agreement)} of the likeliest tokens`],
          ["divergence", `KL ${figure(against.meanKl)} mean, ${figure(against.maxKl)} at most (nats)`],
        ]
      : []),
    [
      "recall",
      `${percent(result.recall)} of ${mixture ? "the routers' experts" : "the active neurons"}, missed mass ${percent(result.missedMass)}`,
    ],
    ["flash", `${formatBytes(result.flashBytesPerToken)} per token, as decoding would read`],
  ]);
  const layers = table([
    ["layer", mixture ? "chosen" : "active", mixture ? "used" : "named", "recall", "missed mass"],
    ...result.activeShareByLayer.map((active, l) => [
      l,
      percent(active),
      percent(result.namedShareByLayer[l]!),
      percent(result.recallByLayer[l]!),
      percent(result.missedMassByLayer[l]!),
    ]),
  ]);
  return `${facts}\n\n${layers}`;
}

function modeText({ mode, activationBits }: { readonly mode: string; readonly activationBits: 8 | null }): string {
  return activationBits === null ? mode : `${mode}, activations of ${activationBits} bits beside blocks`;
}

function signedPercent(share: number): string {
  return `${share < 0 ? "−" : "+"}${percent(Math.abs(share))}`;
}
