/** `flashwick convert`: a Hugging Face checkpoint becomes a model file. */
import { DTYPES, type DType, formatBytes } from "@flashwick/core";
import type { ConversionResult } from "@flashwick/flash-format/convert";
import { type Command, Option } from "commander";
import { frameCommand, withReport } from "../command-frame.js";
import { convertToFile } from "../conversion.js";
import type { Invocation } from "../invocation.js";
import { orAuto, plainBytes } from "../option-values.js";
import type { CommonFlags } from "../report.js";
import { figure, table } from "../table.js";

interface ConvertFlags extends CommonFlags {
  readonly output: string;
  readonly dtype?: DType;
  readonly layout: "bundled" | "split";
  readonly stride: "auto" | number;
  readonly force?: boolean;
}

export function convertCommand(invocation: Invocation): Command {
  return frameCommand({
    name: "convert",
    summary: "Turn a Hugging Face checkpoint into a model file.",
    example: "flashwick convert ./opt-125m -o opt-125m.gguf --dtype f16",
  })
    .argument("<checkpoint-dir>", "folder with config.json, weights (.safetensors or .bin) and tokenizer")
    .requiredOption("-o, --output <file>", "model file to write, .gguf (no default)")
    .addOption(
      new Option("--dtype <type>", "element type of the matrices (default: the checkpoint's own)").choices(DTYPES),
    )
    .addOption(
      new Option("--layout <layout>", "a neuron's up row and down column in one record, or in two")
        .choices(["bundled", "split"])
        .default("bundled"),
    )
    .option("--stride <bytes>", "bytes from record to record, a multiple of 512, or auto", orAuto(plainBytes), "auto")
    .option("--force", "replace an existing file (default: off)")
    .action(async (folder: string, flags: ConvertFlags) => {
      invocation.exitStatus = await convert(invocation, folder, flags);
    });
}

function convert({ terminal }: Invocation, folder: string, flags: ConvertFlags): Promise<number> {
  return withReport(terminal, flags, async (report) => {
    const startMs = terminal.clock();
    const result = await convertToFile(folder, flags.output, {
      ...(flags.dtype ? { dtype: flags.dtype } : {}),
      layout: flags.layout,
      stride: flags.stride,
      force: flags.force ?? false,
      signal: terminal.signal,
      onProgress: report.onProgress,
    });
    const seconds = (terminal.clock() - startMs) / 1000;
    const peakRssBytes = terminal.peakRssBytes();
    report.result({ ...result, seconds, peakRssBytes }, () =>
      conversionTable(flags.output, result, seconds, peakRssBytes),
    );
    return undefined;
  });
}

function conversionTable(output: string, result: ConversionResult, seconds: number, peakRssBytes: number): string {
  return table([
    ["file", output],
    ["model", `${result.architecture}, ${result.nLayers} layers, d_model ${result.dModel}, d_ff ${result.dFf}`],
    ["vocabulary", `${result.vocabSize} tokens, tokenizer ${result.tokenizer ?? "none"}`],
    ["weights", `${result.dtype}, ${result.layout}, stride ${result.strideBytes} bytes`],
    [
      "size",
      `${formatBytes(result.fileBytes)}: resident ${formatBytes(result.residentBytes)}, neurons ${formatBytes(result.ffnBytes)}`,
    ],
    ["fingerprint", result.fingerprint],
    ["took", `${figure(seconds)} s, at most ${formatBytes(peakRssBytes)} of memory`],
  ]);
}
