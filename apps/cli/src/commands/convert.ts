/** `flashwick convert`: a Hugging Face checkpoint or a GGUF file of llama.cpp becomes a model file. */
import { existsSync } from "node:fs";
import { CONVERT_DTYPES, type ConvertDType, formatBytes, RESIDENT_DTYPES, type ResidentDType } from "@flashwick/core";
import { type QuantisationLoss, sidecarPath } from "@flashwick/flash-format";
import type { ConversionResult } from "@flashwick/flash-format/convert";
import { partialPath } from "@flashwick/flash-format/node";
import type { PlacementOrder } from "@flashwick/runtime";
import { type Command, Option } from "commander";
import { withCalibration } from "../calibration.js";
import { frameCommand, withReport } from "../command-frame.js";
import { convertToFile } from "../conversion.js";
import type { Invocation } from "../invocation.js";
import { type DeviceFlags, namedDevice } from "../named-device.js";
import { orAuto, plainBytes, share } from "../option-values.js";
import { checkOutput } from "../output-file.js";
import { DEVICE_TEXT, type PlacementResult, planPlacement, writePlacedPredictor } from "../placement.js";
import { DEFAULT_SHRINKAGE, type PruningResult, placedPruning, planPruning, writePrunedPredictor } from "../pruning.js";
import type { CommonFlags, Report } from "../report.js";
import { figure, percent, table, wholePercent } from "../table.js";

interface ConvertFlags extends CommonFlags, DeviceFlags {
  readonly output: string;
  readonly dtype?: ConvertDType;
  readonly residentDtype?: ResidentDType;
  readonly gateFirst?: ResidentDType;
  readonly layout: "bundled" | "split" | "columns";
  readonly stride: "auto" | number;
  readonly placement?: string;
  readonly placementSlots: number;
  readonly predictor?: string;
  readonly prune?: string;
  readonly pruneShare?: number;
  readonly calibration?: string;
  readonly force?: boolean;
}

/** The document of `flashwick convert --json`. */
interface Conversion extends ConversionResult {
  readonly seconds: number;
  readonly peakRssBytes: number;
  /** With --placement: milliseconds that reads of the held-out half of the trace take a token, by order. */
  readonly placementOrders?: Readonly<Record<PlacementOrder, number>>;
  readonly placementOrder?: PlacementOrder;
  readonly placementDevice?: string;
  /** With --prune or --placement, and --predictor: the file written beside the model. */
  readonly predictor?: string;
}

export function convertCommand(invocation: Invocation): Command {
  return frameCommand({
    name: "convert",
    summary: "Turn a Hugging Face checkpoint, or a GGUF file of llama.cpp, into a model file.",
    example: "flashwick convert ./opt-125m -o opt-125m.gguf --dtype f16",
  })
    .argument(
      "<checkpoint>",
      "folder with config.json, weights (.safetensors or .bin) and tokenizer; or a .gguf file of llama.cpp",
    )
    .requiredOption("-o, --output <file>", "model file to write, .gguf (no default)")
    .addOption(
      new Option(
        "--dtype <type>",
        "type of the weights; q4: neurons or experts in blocks of 4 bits; int8 is of neurons, q8_0 of experts (default: the checkpoint's own, f16 where single neurons have blocks)",
      ).choices(CONVERT_DTYPES),
    )
    .addOption(
      new Option(
        "--resident-dtype <type>",
        "type of the matrices that stay in DRAM: attention, embeddings, head (default: as --dtype, q8_0 beside q4)",
      ).choices(RESIDENT_DTYPES),
    )
    .addOption(
      new Option(
        "--gate-first [type]",
        "gates of ReLU models stay in DRAM, in a type of their own, and name the neurons exactly; records have none (default: off; without a type q8_0)",
      )
        .choices(RESIDENT_DTYPES)
        .preset("q8_0" satisfies ResidentDType),
    )
    .addOption(
      new Option(
        "--layout <layout>",
        "a neuron's up row and down column in one record, or in two; or columns of gate, up and down, for --pruning of models without zeros",
      )
        .choices(["bundled", "split", "columns"])
        .default("bundled"),
    )
    .option("--stride <bytes>", "bytes from record to record, a multiple of 512, or auto", orAuto(plainBytes), "auto")
    .option(
      "--placement <trace>",
      "order neurons on flash by a trace of the model converted without this, if its second half then reads faster (default: no)",
    )
    .option(
      "--placement-slots <share>",
      "with --placement: the cache in front, of a layer's neurons (default: 20%)",
      share,
      0.2,
    )
    .option("--device <device.json>", "with --placement: what flashwick profile has written (default: see --preset)")
    .option("--preset <name>", `with --placement: ${DEVICE_TEXT}`)
    .option(
      "--predictor <file>",
      "with --placement or --prune: a predictor to reorder or prune along, written beside the output (default: none)",
    )
    .option(
      "--prune <trace>",
      "leave out the neurons that add least to the text of a trace, recorded of the model converted without this (default: none)",
    )
    .option(
      "--prune-share <share>",
      `with --prune: the share of all neurons to leave out (default: as many as make the file ${wholePercent(DEFAULT_SHRINKAGE)} smaller)`,
      share,
    )
    .option(
      "--calibration <moments>",
      "with --dtype q4 or --prune: weights make up for each other's losses, by what flashwick trace moments has recorded of the model converted without this (default: none)",
    )
    .option("--force", "replace an existing file (default: off)")
    .action(async (from: string, flags: ConvertFlags) => {
      invocation.exitStatus = await convert(invocation, from, flags);
    });
}

function convert({ terminal }: Invocation, from: string, flags: ConvertFlags): Promise<number> {
  return withReport(terminal, flags, async (report) => {
    const startMs = terminal.clock();
    const { output, force = false, layout, stride } = flags;
    const form = { ...(flags.dtype ? { dtype: flags.dtype } : {}), layout, stride };
    const chosen = flags.prune === undefined ? null : await pruningOf(from, flags.prune, flags, form);
    const placed = flags.placement === undefined ? null : await placementOf(from, flags.placement, flags, form, chosen);
    const pruning = chosen && placed ? placedPruning(chosen, placed) : chosen;
    const result = await withCalibration(flags.calibration ?? null, (calibration) =>
      convertToFile(from, output, {
        ...form,
        residentDtype: flags.residentDtype ?? null,
        gateDtype: flags.gateFirst ?? null,
        placement: pruning ? null : (placed?.placement ?? null),
        prune: pruning,
        calibration,
        force,
        signal: terminal.signal,
        onProgress: report.onProgress,
      }),
    ).catch((error) => {
      if (terminal.signal.aborted) noteProgress(output, report);
      throw error;
    });
    const predictor = await predictorOf(flags, result, placed, pruning);
    const document: Conversion = {
      ...result,
      seconds: (terminal.clock() - startMs) / 1000,
      peakRssBytes: terminal.peakRssBytes(),
      ...(placed && {
        placementOrder: placed.order,
        placementOrders: Object.fromEntries(
          placed.candidates.map(({ order, heldOut }) => [order, heldOut.perToken.readMs!]),
        ) as Record<PlacementOrder, number>,
        placementDevice: placed.device,
      }),
      ...(predictor === undefined ? {} : { predictor }),
    };
    report.result(document, () => conversionTable(output, document));
    if (pruning) report.note(qualityNote(output));
    return undefined;
  });
}

function noteProgress(output: string, report: Report): void {
  const partial = partialPath(output);
  if (existsSync(partial)) {
    report.note(`note: what was converted is kept in ${partial}; the same command continues from it`);
  }
}

async function placementOf(
  from: string,
  trace: string,
  { output, placementSlots: slots, force, predictor, ...deviceFlags }: ConvertFlags,
  form: Parameters<typeof planPlacement>[3],
  pruning: PruningResult | null,
): Promise<PlacementResult> {
  // Refused before the work.
  const device = await namedDevice(deviceFlags);
  checkOutput(output, force);
  if (predictor !== undefined) checkOutput(sidecarPath(output), force);
  return await planPlacement(from, output, { trace, slots, device }, form, pruning?.kept ?? null);
}

async function pruningOf(
  from: string,
  trace: string,
  { output, force, predictor, pruneShare, residentDtype, gateFirst }: ConvertFlags,
  form: Parameters<typeof planPlacement>[3],
): Promise<PruningResult> {
  checkOutput(output, force);
  if (predictor !== undefined) checkOutput(sidecarPath(output), force);
  const wish = { trace, share: pruneShare ?? null, predictor: predictor ?? null };
  return await planPruning(from, wish, { ...form, residentDtype: residentDtype ?? null, gateDtype: gateFirst ?? null });
}

/** @returns The file beside the model, if one is asked for. */
async function predictorOf(
  { predictor, output, force = false }: ConvertFlags,
  result: ConversionResult,
  placed: PlacementResult | null,
  pruning: PruningResult | null,
): Promise<string | undefined> {
  if (pruning?.predictor) return await writePrunedPredictor(pruning.predictor, output, pruning, result, force);
  return placed && predictor !== undefined
    ? await writePlacedPredictor(predictor, output, placed, result, force)
    : undefined;
}

function qualityNote(output: string): string {
  return `what it costs: flashwick eval ${output} --text <text that the trace is not of> --against <the model with all neurons>`;
}

function placementLine({ placementOrder: order, placementOrders, placementDevice: device }: Conversion): string {
  const times = Object.entries(placementOrders!).map(([name, ms]) => `${name} ${figure(ms)} ms`);
  const kept = order === "identity" ? "the checkpoint's order stays" : order;
  return `${kept}; a held-out token's reads on ${device}: ${times.join(", ")}`;
}

function lossLine(loss: QuantisationLoss): string {
  const parts = Object.entries(loss).map(([role, error]) => `${role} ${percent(error)}`);
  return `relative RMS error: ${parts.join(", ")}`;
}

function strideText({ strideBytes, inputStrideBytes }: Conversion): string {
  if (inputStrideBytes === null) return `${strideBytes} bytes`;
  return `${inputStrideBytes} bytes an input, ${strideBytes} a neuron`;
}

function conversionTable(output: string, result: Conversion): string {
  const { seconds, peakRssBytes } = result;
  return table([
    ["file", output],
    ["model", `${result.architecture}, ${result.nLayers} layers, d_model ${result.dModel}, d_ff ${result.dFf}`],
    ["vocabulary", `${result.vocabSize} tokens, tokenizer ${result.tokenizer ?? "none"}`],
    [
      "weights",
      `${result.dtype}, ${result.layout}, stride ${strideText(result)}; resident ${result.residentDtype}${result.gateDtype === null ? "" : `, gates ${result.gateDtype}`}`,
    ],
    ...(result.loss === null ? [] : [["loss", lossLine(result.loss)]]),
    [
      "size",
      `${formatBytes(result.fileBytes)}: resident ${formatBytes(result.residentBytes)}, ${result.layout === "experts" || result.layout === "columns" ? result.layout : "neurons"} ${formatBytes(result.ffnBytes)}`,
    ],
    ...(result.placementOrder === undefined ? [] : [["placement", placementLine(result)]]),
    ...(result.calibration === null ? [] : [["calibrated", `by the moments ${result.calibration.slice(0, 12)}…`]]),
    ...(result.pruned === null ? [] : [["left out", `${percent(result.pruned.share)} of all neurons`]]),
    ...(result.predictor === undefined ? [] : [["predictor", result.predictor]]),
    ["fingerprint", result.fingerprint],
    ["took", `${figure(seconds)} s, at most ${formatBytes(peakRssBytes)} of memory`],
  ]);
}
