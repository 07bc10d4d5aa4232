/** `flashwick verify`: every byte against its checksum; with `--write`, the checksums of a file that has none. */
import { type ByteSource, formatBytes, isFlashwickError } from "@flashwick/core";
import {
  type ChecksumFile,
  checksumPath,
  openModelFile,
  readFileKind,
  type VerifyOptions,
  type VerifyResult,
  verifyChecksumFile,
  verifyModelFile,
  verifyMomentsFile,
  verifyPredictorFile,
  withChecksumsBeside,
  writeChecksumFile,
} from "@flashwick/flash-format";
import { fileSink, fileSource } from "@flashwick/flash-format/node";
import type { Command } from "commander";
import { frameCommand, withReport } from "../command-frame.js";
import type { Invocation } from "../invocation.js";
import type { CommonFlags, Report } from "../report.js";
import { percent, table } from "../table.js";

/** Findings shown to a person; `--json` has more. */
const SHOWN_FINDINGS = 20;

export function verifyCommand(invocation: Invocation): Command {
  return frameCommand({
    name: "verify",
    summary: "Check every byte of a model file or a predictor file; exit status 1 if any is bad.",
    example: "flashwick verify opt-demo.gguf",
  })
    .argument(
      "<file.gguf>",
      "model file, predictor file or file of checksums; a GGUF of llama.cpp needs checksums beside it",
    )
    .option(
      "--write",
      "write the checksums of a GGUF of llama.cpp, as it is now, beside it: <file>.crc32c.gguf (default: off)",
    )
    .option("--force", "replace checksums that are there (default: off)")
    .action(async (path: string, flags: VerifyFlags) => {
      if (flags.write) invocation.exitStatus = await write(invocation, path, flags);
      else invocation.exitStatus = await verify(invocation, path, flags);
    });
}

interface VerifyFlags extends CommonFlags {
  readonly write?: boolean;
  readonly force?: boolean;
}

function write({ terminal }: Invocation, path: string, flags: VerifyFlags): Promise<number> {
  return withReport(terminal, flags, async (report) => {
    const source = await fileSource(path);
    try {
      const file = await openModelFile(source);
      const out = checksumPath(path);
      const sink = await fileSink(out, { force: flags.force ?? false });
      const options = { signal: terminal.signal, onProgress: report.onProgress };
      const written = await writeChecksumFile(sink, file, options);
      reportWritten(report, out, written);
    } finally {
      await source.close();
    }
    return undefined;
  });
}

function reportWritten(report: Report, out: string, written: ChecksumFile): void {
  const { checksums, checkedBytes, fileBytes } = written;
  const size = `${formatBytes(fileBytes)}, ${percent(fileBytes / checkedBytes)}`;
  report.result(
    { checksumFile: out, ...written },
    () => `${out}: ${checksums} checksums of ${formatBytes(checkedBytes)} as they are now (${size})`,
  );
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
    const kind = await readFileKind(source);
    if (kind === "predictor") return await verifyPredictorFile(source, options);
    if (kind === "checksums") return await verifyChecksumFile(source, options);
    if (kind === "moments") return await verifyMomentsFile(source, options);
    return await verifyModelFile(await withChecksumsBeside(await openModelFile(source)), options);
  } catch (error) {
    // A header that does not match its own checksum is a finding; a file that is something else is a failure.
    if (!isFlashwickError(error) || error.code !== "INTEGRITY_HEADER") throw error;
    return { ok: false, recordsChecked: 0, bytesChecked: 0, bad: [{ kind: "header", offset: 0 }], badCount: 1 };
  }
}

function verifyText(path: string, { ok, recordsChecked, bytesChecked, bad, badCount }: VerifyResult): string {
  const records = recordsChecked > 0 ? `, ${recordsChecked} records` : "";
  const amount = `${formatBytes(bytesChecked)}${records}`;
  if (ok) return `${path}: good (${amount} checked)`;
  const findings = bad.slice(0, SHOWN_FINDINGS).map(({ kind, layer, neuron, input, expert, tensor, offset }) => {
    const units = { neuron, input, expert };
    const [what, unit] = Object.entries(units).find(([, number]) => number !== undefined) ?? ["neuron", undefined];
    const record = `${what} ${unit}`;
    const where = layer === undefined ? (tensor ?? "") : `layer ${layer}, ${record}`;
    return [kind, where, `at byte ${offset}`];
  });
  const more = badCount > findings.length ? `\n… and ${badCount - findings.length} more` : "";
  return `${path}: ${badCount} bad (${amount} checked)\n${table(findings)}${more}`;
}
