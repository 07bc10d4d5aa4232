/** `flashwick plan`: what speed a model will have on a device within a budget, before anything is downloaded. */
import { CONVERT_DTYPES, type ConvertDType, RESIDENT_DTYPES, type ResidentDType } from "@flashwick/core";
import { DEVICE_PRESETS, type PlanRequest, planLossless } from "@flashwick/cost-model";
import { spareMemoryBytes } from "@flashwick/runtime/node/estimate";
import { type Command, InvalidArgumentError, Option } from "commander";
import { type ByteSize, resolveByteSize } from "../byte-size.js";
import { frameCommand, withReport } from "../command-frame.js";
import { UsageError } from "../failure.js";
import { HUB_FLAGS, type HubFlags, isHubFile } from "../hub-flags.js";
import type { Invocation } from "../invocation.js";
import type { DeviceFlags } from "../named-device.js";
import { byteSize, integer, plainBytes, share } from "../option-values.js";
import { checkOutput, writeOutput } from "../output-file.js";
import { deviceFor, deviceNote, modesOf } from "../plan/machine-plan.js";
import { type Energy, type PlanDocument, type PlannedLossless, planOrRefusal } from "../plan/plan-document.js";
import { openSubject, type PlanSubject, planFacts, type SubjectWish } from "../plan/plan-subject.js";
import { planText, refusalText } from "../plan/plan-text.js";
import type { CommonFlags, Report } from "../report.js";

interface PlanFlags extends CommonFlags, DeviceFlags, HubFlags {
  readonly dramBudget?: ByteSize;
  readonly dtype?: ConvertDType;
  readonly layout?: "bundled" | "split";
  readonly context?: number;
  readonly promptTokens: number;
  readonly decodeTokens: number;
  readonly predictor?: string;
  readonly dense?: boolean;
  readonly sparsity?: string;
  readonly gateFirst?: ResidentDType;
  readonly gateSparsity?: string;
  readonly kvPrecision: SubjectWish["kvPrecision"];
  readonly window?: number;
  readonly readers?: number;
  readonly threads?: number;
  /** Bytes. */
  readonly mergeGap?: number;
  readonly lossless?: boolean;
  readonly acceptance?: number;
  readonly lookupAcceptance?: number;
  readonly energy?: Energy;
  readonly plot?: string;
  readonly force?: boolean;
}

export function planCommand(invocation: Invocation): Command {
  return frameCommand({
    name: "plan",
    summary: "Predict speed, bytes and memory of a model on a device, without its weights, and choose the settings.",
    example: "flashwick plan opt-6.7b --preset paper-m1-max --dram-budget 50%",
  })
    .argument(
      "<model>",
      "model file, checkpoint folder, config.json, <owner>/<repository>/<file>.gguf on a hub, or a published model's name such as opt-6.7b or qwen3-30b-a3b",
    )
    .option(
      "--dram-budget <size>",
      "ceiling of DRAM: bytes, KiB, MiB, GiB, or % of the model file (default: what this machine has free, less 512 MiB; none for another device)",
      byteSize,
    )
    .option(
      "--device <device.json>",
      "what flashwick profile has written (default: what it has kept of this machine, else a brief profile, measured within a second)",
    )
    .option("--preset <name>", `a published device (default: none): ${DEVICE_PRESETS.join(", ")}`)
    .addOption(
      new Option("--dtype <type>", "weights of a file yet to be made (default: the checkpoint's, else f16)").choices(
        CONVERT_DTYPES,
      ),
    )
    .addOption(
      new Option("--layout <layout>", "records of a file yet to be made (default: bundled)").choices([
        "bundled",
        "split",
      ]),
    )
    .addOption(
      new Option(
        "--gate-first [type]",
        "gates of a file yet to be made stay in DRAM (default: off; without a type q8_0)",
      )
        .choices(RESIDENT_DTYPES)
        .preset("q8_0" satisfies ResidentDType),
    )
    .option("--context <n>", "longest sequence to hold, tokens (default: prompt and decoded ones)", integer(1))
    .option("--prompt-tokens <n>", "tokens of the prompt", integer(1), 128)
    .option("--decode-tokens <n>", "tokens to decode, over which figures are averaged", integer(1), 256)
    .option("--predictor <file>", "predictor file (default: the one beside the model file, else an assumed one)")
    .option("--dense", "without a predictor (default: off)")
    .option(
      "--sparsity <file>",
      "statistics, as in the output of eval --json; of a mixture a trace of its experts, or their .json (default: the predictor's own; of a mixture published ones)",
    )
    .option(
      "--gate-sparsity <file>",
      "statistics of what resident gates name, as in the output of eval --gate-first --json (default: thinned out from the predictor's, else assumed)",
    )
    .addOption(
      new Option("--kv-precision <type>", "precision of keys and values")
        .choices(["auto", "f32", "f16", "int8"])
        .default("auto"),
    )
    .option("--window <n>", "window in tokens, not to be chosen (default: as many as fit)", integer(1))
    .option("--readers <n>", "reads in flight, not to be chosen (default: chosen)", integer(1))
    .option("--threads <n>", "compute threads, not to be chosen (default: chosen)", integer(1))
    .option("--merge-gap <size>", "gap that is read over, not to be chosen (default: chosen)", plainBytes)
    .option("--lossless", "also a run of sparse drafts that dense passes verify: the dense model's text (default: off)")
    .option(
      "--acceptance <share>",
      "with --lossless: drafts that are accepted, 0.9 or 90% (default: the predictor's measured top-1 agreement, else 0.9)",
      share,
    )
    .option(
      "--lookup-acceptance <share>",
      "drafts of the text itself that are accepted, for modes with --speculate lookup (default: none are planned, since it is the text that decides)",
      share,
    )
    .option(
      "--energy <figures>",
      "joulesPerFlashGB=x,joulesPerDramGB=y,watts=z: your own figures, for an estimate (default: none)",
      energyFigures,
    )
    .option(...HUB_FLAGS.revision)
    .option(...HUB_FLAGS.endpoint)
    .option("--plot <out.svg>", "draw speed over budget, and a token's time (default: no picture)")
    .option("--force", "replace an existing picture (default: off)")
    .action(async (model: string, flags: PlanFlags) => {
      invocation.exitStatus = await withReport(invocation.terminal, flags, (report) => plan(model, flags, report));
    });
}

async function plan(model: string, flags: PlanFlags, report: Report): Promise<number> {
  if (flags.acceptance !== undefined && !flags.lossless)
    throw new UsageError("--acceptance works only with --lossless");
  checkOutput(flags.plot, flags.force);
  const subject = await (isHubFile(model) ? openHubSubject(model, flags, report) : openSubject(model, flags));
  const device = await deviceFor(model, flags, report);
  const { profile } = device;
  const machineBudget = device.origin === "named" ? null : spareMemoryBytes();
  const budgetBytes = flags.dramBudget ? resolveByteSize(flags.dramBudget, subject.fileBytes) : machineBudget;
  const facts = planFacts(subject, { device: profile.name, budgetBytes, energy: flags.energy ?? null });
  const wish = { ...wishOf(flags, subject), profile };
  const request = subject.request({ ...wish, dramBudgetBytes: budgetBytes });
  const shares = { lossless: acceptanceOf(subject, flags)?.share ?? null, lookup: flags.lookupAcceptance ?? null };
  const modes = () => modesOf(subject, request, shares);
  const document = planOrRefusal(facts, request, { lossless: () => lossless(request, subject, flags), modes });
  const note = deviceNote(device);
  if (note !== null) report.note(note);
  if (!document.fits) {
    report.result(document, () => refusalText(document));
    return 1;
  }
  const plot = flags.plot === undefined ? undefined : await draw(flags.plot, subject, wish, document);
  report.result(plot ? { ...document, plot } : document, () => planText(document, flags.lossless === true));
  return 0;
}

/** Few plans ask a hub, and its client takes a while to load. */
async function openHubSubject(model: string, flags: PlanFlags, report: Report): Promise<PlanSubject> {
  const { hubSubject } = await import("../plan/hub-subject.js");
  return await hubSubject(model, flags, report);
}

/** Null unless it is asked for, and where nothing can draft. */
function lossless(request: PlanRequest, subject: PlanSubject, flags: PlanFlags): PlannedLossless | null {
  const accepted = acceptanceOf(subject, flags);
  if (!flags.lossless || accepted === null) return null;
  const plan = planLossless(request, accepted.share);
  return plan && { ...plan, acceptanceSource: accepted.source };
}

/** Of the sparse run's drafts; null where nothing drafts. */
function acceptanceOf({ acceptance }: PlanSubject, flags: PlanFlags): PlanSubject["acceptance"] {
  return flags.acceptance === undefined ? acceptance : { share: flags.acceptance, source: "as given" };
}

function wishOf(flags: PlanFlags, { contextLength }: PlanSubject): Omit<SubjectWish, "profile" | "dramBudgetBytes"> {
  const { promptTokens, decodeTokens, window, readers, threads, mergeGap, kvPrecision } = flags;
  const contextTokens = flags.context ?? Math.min(contextLength, promptTokens + decodeTokens);
  return {
    contextTokens,
    kvPrecision,
    length: { promptTokens, decodeTokens },
    fixed: {
      ...(window === undefined ? {} : { windowTokens: window }),
      ...(readers === undefined ? {} : { readers }),
      ...(threads === undefined ? {} : { threads }),
      ...(mergeGap === undefined ? {} : { mergeGapBytes: mergeGap }),
    },
  };
}

async function draw(
  path: string,
  subject: PlanSubject,
  wish: Omit<SubjectWish, "dramBudgetBytes">,
  document: PlanDocument,
) {
  // The drawing library is large, and few plans are drawn.
  const { planPicture } = await import("../plan/plan-picture.js");
  const { budgetCurve } = await import("../plan/budget-curve.js");
  const curve = budgetCurve(subject, wish, document.smallestBudgetBytes);
  await writeOutput(path, planPicture(document, curve));
  return { file: path, budgets: curve };
}

function energyFigures(text: string): Energy {
  const figures = Object.fromEntries(
    text
      .split(",")
      .map((part) => part.split("="))
      .map(([key, value]) => [key, Number(value)]),
  );
  const { joulesPerFlashGB = 0, joulesPerDramGB = 0, watts = 0, ...rest } = figures as Record<string, number>;
  const known = [joulesPerFlashGB, joulesPerDramGB, watts];
  if (Object.keys(rest).length === 0 && known.every((figure) => Number.isFinite(figure) && figure >= 0)) {
    return { joulesPerFlashGB, joulesPerDramGB, watts };
  }
  throw new InvalidArgumentError("Expected joulesPerFlashGB=x,joulesPerDramGB=y,watts=z, numbers of at least 0.");
}
