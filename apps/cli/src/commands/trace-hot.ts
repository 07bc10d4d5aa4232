/** `flashwick trace hot`: which experts a recorded text used most, kept beside the model to be read first. */
import { hasExperts, InputError, unitGrid } from "@flashwick/core";
import { encodeProfile, profileOfTrace } from "@flashwick/dram-cache";
import type { NeuronTrace } from "@flashwick/dram-cache/simulate";
import { type ModelHeader, openModelFile } from "@flashwick/flash-format";
import { fileSource } from "@flashwick/flash-format/node";
import type { Command } from "commander";
import { frameCommand, withReport } from "../command-frame.js";
import type { Invocation } from "../invocation.js";
import { checkOutput, writeOutput } from "../output-file.js";
import type { CommonFlags, Report } from "../report.js";
import { figure, table } from "../table.js";
import { readTrace } from "../trace-file.js";

interface HotFlags extends CommonFlags {
  readonly model: string;
  readonly output: string;
  readonly force?: boolean;
}

/** The document of `flashwick trace hot --json`. */
interface HotExperts {
  readonly file: string;
  readonly fingerprint: string;
  readonly tokens: number;
  readonly nLayers: number;
  /** Of a layer. */
  readonly experts: number;
  readonly usedByLayer: readonly number[];
}

export function traceHotCommand(invocation: Invocation): Command {
  return frameCommand({
    name: "hot",
    summary:
      "Keep which experts of a mixture a recorded text used most, hottest first: run reads them before it begins.",
    example: "flashwick trace hot olmoe.trace --model olmoe.gguf -o olmoe.hot.json",
  })
    .argument("<trace>", "what flashwick trace record has written")
    .requiredOption("--model <model.gguf>", "model that the trace is of (no default)")
    .requiredOption("-o, --output <file>", "profile to write; <model>.hot.json is found by itself (no default)")
    .option("--force", "replace an existing file (default: off)")
    .action(async (trace: string, _, command: Command) => {
      const flags = command.optsWithGlobals<HotFlags>();
      invocation.exitStatus = await withReport(invocation.terminal, flags, (report) => keepHot(trace, flags, report));
    });
}

async function keepHot(path: string, { model, output, force }: HotFlags, report: Report): Promise<number> {
  checkOutput(output, force);
  const trace = await readTrace(path);
  const source = await fileSource(model);
  const { header } = await openModelFile(source).finally(() => source.close());
  checkTrace(trace, header, model);
  const profile = profileOfTrace(header.fingerprint, trace);
  await writeOutput(output, encodeProfile(profile));
  const document: HotExperts = {
    file: output,
    fingerprint: profile.fingerprint,
    tokens: trace.tokens.length,
    nLayers: trace.nLayers,
    experts: profile.nUnits,
    usedByLayer: profile.hottest.map(({ length }) => length),
  };
  report.result(document, () => hotText(document));
  return 0;
}

/** @throws {InputError} `INPUT_INVALID` for a model without experts, or a trace of other layers. */
function checkTrace(trace: NeuronTrace, { geometry }: ModelHeader, model: string): void {
  if (!hasExperts(geometry)) {
    const message = `${model}: expected a mixture of experts, found a model without; its neurons are chosen token by token`;
    throw new InputError("INPUT_INVALID", message);
  }
  const { nLayers, dFf } = unitGrid(geometry);
  if (nLayers === trace.nLayers && dFf === trace.dFf) return;
  const message = `${model}: ${nLayers} layers of ${dFf} experts, expected the trace's ${trace.nLayers} of ${trace.dFf}`;
  throw new InputError("INPUT_INVALID", message);
}

function hotText({ file, tokens, nLayers, experts, usedByLayer }: HotExperts): string {
  const used = usedByLayer.reduce((sum, n) => sum + n, 0) / nLayers;
  return table([
    ["file", file],
    ["tokens", tokens],
    ["used", `${figure(used)} of ${experts} experts a layer, of ${nLayers} layers`],
  ]);
}
