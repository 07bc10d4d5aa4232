/** `flashwick run`: generate. */
import { unitName } from "@flashwick/core";
import { type CacheFit, type Drafter, type GeneratedToken, type Model, ModelDrafter } from "@flashwick/runtime";
import { openModel } from "@flashwick/runtime/node";
import { type Command, InvalidArgumentError, Option } from "commander";
import { frameCommand, withReport } from "../command-frame.js";
import { addEngineFlags, type EngineFlags, openWithFlags, requireOne } from "../engine-flags.js";
import { withExpectation } from "../expectation.js";
import { type Generation, runGeneration } from "../generation.js";
import type { Invocation } from "../invocation.js";
import { addLimitFlag, type LimitFlag, limitOf } from "../limit-flag.js";
import { collect, integer, number, tokenIds } from "../option-values.js";
import { checkOutput } from "../output-file.js";
import type { CommonFlags, Report } from "../report.js";
import { writeRunPage } from "../run-page-file.js";
import { RunRecorder } from "../run-recorder.js";
import { runTable } from "../run-report.js";
import { readText } from "../text-file.js";
import { noteUnchecked } from "../unchecked-note.js";

/** `draft:` is followed by a file. */
type Speculate = "off" | "auto" | "lookup" | `draft:${string}`;
const DRAFT = "draft:";

interface RunFlags extends CommonFlags, EngineFlags, LimitFlag {
  readonly prompt?: string;
  readonly promptFile?: string;
  readonly tokens?: readonly number[];
  readonly maxTokens: number;
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly seed: number;
  readonly stop?: readonly string[];
  readonly stream?: boolean;
  readonly lossless?: boolean;
  readonly speculate: Speculate;
  readonly draftTokens: number | "auto";
  readonly report?: string;
  readonly force?: boolean;
}

export function runCommand(invocation: Invocation): Command {
  const command = frameCommand({
    name: "run",
    summary: "Generate text after a prompt.",
    example: 'flashwick run opt-demo.gguf --prompt "In the beginning" --dram-budget 50% --max-tokens 64',
  })
    .argument("<model.gguf>", "model file")
    .option("--prompt <text>", "text to go on from (no default: one of the three is needed)")
    .option("--prompt-file <file>", "file with the text to go on from, UTF-8 (default: none)")
    .option("--tokens <ids>", "token ids to go on from, as they are: 2,17,4 (default: none)", tokenIds)
    .option("--max-tokens <n>", "most tokens to generate", integer(0), 64)
    .option("--temperature <x>", "0 takes the likeliest token, larger numbers are bolder", number(0), 0)
    .option("--top-k <n>", "choose among the n likeliest tokens; 0: all", integer(0), 0)
    .option("--top-p <x>", "choose among the fewest tokens of probability x in all, 0 to 1", number(0, 1), 1)
    .option("--seed <n>", "seed of the random numbers", integer(0), 0)
    .option("--stop <text>", "text that ends the generation; may be given several times (default: none)", collect)
    .addOption(
      new Option(
        "--lossless",
        "the dense model's output, bit for bit: the sparse path drafts, a dense pass verifies (default: off)",
      ).conflicts(["dense", "oracle", "gateFirst", "speculate"]),
    )
    .addOption(
      new Option(
        "--speculate <drafter>",
        "who drafts tokens that one step verifies, for the same output: off; lookup: what followed when the text last ended like this; auto: the " +
          "same, while it pays; draft:<file>: a small model of the same vocabulary, resident",
      )
        .argParser(speculate)
        .default("off"),
    )
    .option(
      "--draft-tokens <n>",
      "tokens drafted at once; auto: by what was accepted and what steps cost",
      draftTokens,
      "auto",
    )
    .option("--stream", "with --json, one JSON object a line: each token, then the result (default: off)")
    .option(
      "--report <out.html>",
      "also write a page of the run: time of each token, map of neurons or experts, predicted beside measured (default: not written)",
    )
    .option("--force", "replace an existing page (default: off)");
  return addLimitFlag(addEngineFlags(command, "sidecar")).action(async (path: string, flags: RunFlags) => {
    requireOne(flags, ["prompt", "prompt-file", "tokens"]);
    invocation.exitStatus = await run(invocation, path, flags);
  });
}

function run({ terminal }: Invocation, path: string, flags: RunFlags): Promise<number> {
  return withReport(terminal, flags, async (report) => {
    checkOutput(flags.report, flags.force);
    const text = flags.promptFile === undefined ? flags.prompt : await readText(flags.promptFile);
    const draft = await openDraftModel(flags.speculate, report);
    const setAsideBytes = draft?.plan(draftContext(draft, flags)).dram.total;
    const model = await openWithFlags(path, flags, "sidecar", report, { setAsideBytes });
    const recorder = flags.report === undefined ? null : new RunRecorder(model);
    let drafter: Drafter | null = null;
    let made: Generation;
    try {
      drafter = draft && new ModelDrafter(draft, model);
      const prompt = flags.tokens ?? model.tokenizer.encode(text!, true);
      made = await generate(model, drafter, recorder, prompt, flags, report);
    } finally {
      await (drafter ?? draft)?.close();
      await model.close();
    }
    // Before anything draws a bar on the text's last line.
    if (!report.json) report.stream("\n");
    const result = await withExpectation(path, model, made, flags.maxTokens, report);
    if (recorder) await writeRunPage(flags.report!, model, recorder, text ?? flags.tokens!.join(","), result);
    showResult(model, result, flags, report);
    return result.finishReason === "aborted" ? 130 : 0;
  });
}

/** @returns Null unless the drafts are to come from a model. */
async function openDraftModel(drafter: Speculate, { onProgress, terminal }: Report): Promise<Model | null> {
  if (!drafter.startsWith(DRAFT)) return null;
  return await openModel(drafter.slice(DRAFT.length), { predictor: null, onProgress, signal: terminal.signal });
}

/** The draft model follows the text as far as it can. */
function draftContext(draft: Model, { context }: RunFlags): number {
  const { contextLength } = draft.header.geometry;
  return Math.min(contextLength, context ?? contextLength);
}

/** Shows the text as it comes; what it cost is shown once everything is closed. */
async function generate(
  model: Model,
  drafter: Drafter | null,
  recorder: RunRecorder | null,
  prompt: readonly number[],
  flags: RunFlags,
  report: Report,
): Promise<Generation> {
  const { maxTokens, temperature, topK, topP, seed, stop = [], lossless = false, draftTokens } = flags;
  const { signal, clock } = report.terminal;
  const speculate = drafter ?? (flags.speculate as "off" | "auto" | "lookup");
  const options = {
    ...{ maxTokens, temperature, topK, topP, seed, stop, lossless, speculate, draftTokens, signal },
    ...recorder?.observers,
    onProgress: report.onProgress,
  };
  const made = await runGeneration(model, prompt, options, clock, (token) => {
    recorder?.add(token);
    showToken(token, flags, report);
  });
  return made.finishReason === "aborted" ? made : await withLimit(model, made, flags, report);
}

function showResult(model: Model, result: Generation, flags: RunFlags, report: Report): void {
  if (report.json) {
    const document = { ...result, cacheFit: fitOf(model, result, flags.maxTokens) };
    report.line(flags.stream ? { type: "result", ...document } : document);
    return;
  }
  report.note(`\n${runTable(result.stats, unitName(model.header.geometry))}`);
  noteUnchecked(model, report);
  if (flags.report !== undefined) report.note(`the page of this run: ${flags.report}`);
}

/** Whether the cache beside this run's keys and values holds what a token uses. */
function fitOf(model: Model, { promptTokens }: Generation, maxTokens: number): CacheFit | null {
  return model.cacheFit(Math.min(model.header.geometry.contextLength, promptTokens + maxTokens));
}

function speculate(text: string): Speculate {
  if (text === "off" || text === "auto" || text === "lookup") return text;
  if (text.startsWith(DRAFT) && text.length > DRAFT.length) return text as Speculate;
  throw new InvalidArgumentError("Expected off, auto, lookup, or draft: and a model file.");
}

function draftTokens(text: string): number | "auto" {
  return text === "auto" ? text : integer(1)(text);
}

/** What was generated is there already: Ctrl-C while the limit is measured leaves that out, and nothing else. */
async function withLimit(model: Model, made: Generation, flags: RunFlags, report: Report): Promise<Generation> {
  const { signal } = report.terminal;
  const run = { stats: made.stats, tokensBefore: made.promptTokens };
  try {
    const limit = await limitOf(model, flags, run, signal);
    return { ...made, stats: { ...made.stats, limit } };
  } catch (error) {
    if (!signal.aborted) throw error;
    return made;
  }
}

function showToken({ text, token, stats }: GeneratedToken, flags: RunFlags, report: Report): void {
  if (!report.json) report.stream(text);
  else if (flags.stream && (token !== null || text !== "")) report.line({ type: "token", token, text, stats });
}
