/** `flashwick verify`: every byte against its checksum. */
import { type ByteSource, formatBytes, isFlashwickError } from "@flashwick/core";
import {
  openModelFile,
  readFileKind,
  type VerifyOptions,
  type VerifyResult,
  verifyModelFile,
  verifyPredictorFile,
} from "@flashwick/flash-format";
import { fileSource } from "@flashwick/flash-format/node";
import type { Command } from "commander";
import { frameCommand, withReport } from "../command-frame.js";
import type { Invocation } from "../invocation.js";
import type { CommonFlags } from "../report.js";
import { table } from "../table.js";

/** Findings shown to a person; `--json` has more. */
const SHOWN_FINDINGS = 20;

export function verifyCommand(invocation: Invocation): Command {
  return frameCommand({
    name: "verify",
    summary: "Check every byte of a model file or a predictor file; exit status 1 if any is bad.",
    example: "flashwick verify opt-demo.gguf",
  })
    .argument("<file.gguf>", "model file or predictor file")
    .action(async (path: string, flags: CommonFlags) => {
      invocation.exitStatus = await verify(invocation, path, flags);
    });
}

function verify({ terminal }: Invocation, path: string, flags: CommonFlags): Promise<number> {
  return withReport(terminal, flags, async (report) => {
    const source = await fileSource(path);
    try {
      const result = await verifySource(source, { signal: terminal.signal, onProgress: report.onProgress });
      report.result(result, () => verifyText(path, result));
      return result.ok ? 0 : 1;
    } finally {
      await source.close();
    }
  });
}

async function verifySource(source: ByteSource, options: VerifyOptions): Promise<VerifyResult> {
  try {
    if ((await readFileKind(source)) === "predictor") return await verifyPredictorFile(source, options);
    return await verifyModelFile(await openModelFile(source), options);
  } catch (error) {
    // A header that does not match its own checksum is a finding; a file that is something else is a failure.
    if (!isFlashwickError(error) || error.code !== "INTEGRITY_HEADER") throw error;
    return { ok: false, recordsChecked: 0, bytesChecked: 0, bad: [{ kind: "header", offset: 0 }], badCount: 1 };
  }
}

function verifyText(path: string, { ok, recordsChecked, bytesChecked, bad, badCount }: VerifyResult): string {
  const amount = `${formatBytes(bytesChecked)}, ${recordsChecked} neuron records`;
  if (ok) return `${path}: good (${amount} checked)`;
  const findings = bad.slice(0, SHOWN_FINDINGS).map(({ kind, layer, neuron, tensor, offset }) => {
    const where = layer === undefined ? (tensor ?? "") : `layer ${layer}, neuron ${neuron}`;
    return [kind, where, `at byte ${offset}`];
  });
  const more = badCount > findings.length ? `\n… and ${badCount - findings.length} more` : "";
  return `${path}: ${badCount} bad (${amount} checked)\n${table(findings)}${more}`;
}
