/** `flashwick bench ladder`: what each of the paper's ideas is worth, on one model and one device. */
import { stat } from "node:fs/promises";
import { FlashwickError, formatBytes, InputError, IoError } from "@flashwick/core";
import type { DeviceProfile } from "@flashwick/cost-model";
import { demoModels } from "@flashwick/demo-models";
import { measureProfile, openModel } from "@flashwick/runtime/node";
import type { Command } from "commander";
import { climb, type RungMeasure } from "../bench/climb.js";
import { readMachine } from "../bench/machine.js";
import { counterpartOf, type LadderFiles, planLadder, type Rung } from "../bench/rung.js";
import { type ByteSize, resolveByteSize } from "../byte-size.js";
import { frameCommand, withReport } from "../command-frame.js";
import type { Invocation } from "../invocation.js";
import { readDeviceProfile } from "../json-file.js";
import { addLimitFlag, type LimitFlag } from "../limit-flag.js";
import { byteSize, integer } from "../option-values.js";
import type { CommonFlags, Report } from "../report.js";
import { leftText } from "../run-report.js";
import { figure, percent, table } from "../table.js";
import { readText } from "../text-file.js";

/** More than any context holds. */
const TEXT_CHARACTERS = 20_000;
const TEXTS = demoModels["opt-demo"].texts;

interface LadderFlags extends CommonFlags {
  readonly split?: string;
  readonly int8?: string;
  readonly dramBudget: ByteSize;
  readonly text?: string;
  readonly promptTokens: number;
  readonly decode: number;
  readonly checkTokens: number;
  readonly readers?: number;
  readonly threads?: number;
  readonly only?: string;
  readonly device?: string;
  readonly limit: LimitFlag["limit"];
}

export function benchLadderCommand(invocation: Invocation): Command {
  const command = frameCommand({
    name: "ladder",
    summary: "From the naive reader to ours, one idea a rung, on one model and one device.",
    example: "flashwick bench ladder model.gguf --int8 model-int8.gguf --decode 32",
  })
    .argument("<model.gguf>", "16-bit model file, bundled layout, with its predictor beside it")
    .option("--split <file>", "the same in split layout, for the rungs before bundling (default: they are left out)")
    .option("--int8 <file>", "the same in int8, for the last rungs (default: they are left out)")
    .option(
      "--dram-budget <size>",
      "ceiling of DRAM: bytes, KiB, MiB, GiB, or % of the file (default: 50%)",
      byteSize,
      {
        kind: "share",
        percent: 50,
      } satisfies ByteSize,
    )
    .option("--text <file>", "UTF-8 text to decode (default: the demo's evaluation text)")
    .option("--prompt-tokens <n>", "tokens of the text that are read at once, first", integer(1), 16)
    .option("--decode <n>", "measured tokens of each rung, after a warm-up of 16; dense rungs take 3", integer(1), 48)
    .option("--check-tokens <n>", "tokens that each rung must share with its plain counterpart", integer(1), 4)
    .option("--readers <n>", "flash reader threads (default: what suits the device)", integer(1))
    .option("--threads <n>", "compute threads (default: one a core)", integer(1))
    .option("--device <file>", "device profile for the predictions (default: what is measured now, ten seconds)")
    .option("--only <ids>", "rungs to climb, by id, separated by commas (default: all)");
  return addLimitFlag(command).action(async (path: string, _, command: Command) => {
    const flags = command.optsWithGlobals<LadderFlags>();
    invocation.exitStatus = await withReport(invocation.terminal, flags, (report) => ladder(path, flags, report));
  });
}

/** A rung, its measure, and what stands beside it. */
interface ClimbedRung extends RungMeasure {
  readonly ioTimesFewer: number;
  readonly totalTimesFewer: number;
  readonly paper: { readonly ioMs: number; readonly ioTimesFewer: number } | null;
  /** Tokens shared with the plain counterpart, all of those compared. */
  readonly checkedTokens: number;
}

async function ladder(path: string, flags: LadderFlags, report: Report): Promise<undefined> {
  const { split, int8 } = flags;
  const files: LadderFiles = { bundled: path, ...(split && { split }), ...(int8 && { int8 }) };
  const budgetOf = async (file: string) => resolveByteSize(flags.dramBudget, await fileBytes(file));
  const dramBudgetBytes = await budgetOf(path);
  const rungs = planLadder({
    files,
    dramBudgetBytes,
    int8BudgetBytes: int8 === undefined ? 0 : await budgetOf(int8),
    threads: flags.threads ?? "auto",
    readers: flags.readers ?? "auto",
    tokens: flags.decode,
  }).filter(({ id }) => flags.only === undefined || flags.only.split(",").includes(id));
  if (rungs.length === 0)
    throw new InputError("INPUT_INVALID", `--only ${flags.only}: no such rung; leave out --only to see all`);
  const words = await textTokens(path, flags);
  report.note("measuring the device, for the predictions");
  const profile = await deviceProfile(path, flags, report);
  const counterparts = new Map<string, readonly number[]>();
  const climbed: ClimbedRung[] = [];
  for (const rung of rungs) {
    const expected = await counterpartTokens(rung, files, words, flags, counterparts, profile, report);
    const measure = await climb(rung, climbOf(rung, files, words, profile, flags.limit, report));
    checkTokens(rung, expected, measure.tokens);
    const naive = climbed[0] ?? { ...measure, paper: rung.paper };
    climbed.push({
      ...measure,
      ioTimesFewer: naive.ioMs / measure.ioMs,
      totalTimesFewer: naive.totalMs / measure.totalMs,
      paper: rung.paper && { ioMs: rung.paper.ioMs, ioTimesFewer: (naive.paper?.ioMs ?? Number.NaN) / rung.paper.ioMs },
      checkedTokens: expected.length,
    });
    report.note(`${measure.title}: ${figure(measure.totalMs)} ms a token, ${figure(measure.ioMs)} ms of I/O`);
  }
  report.result({ machine: readMachine(), model: path, dramBudgetBytes, device: profile.name, rungs: climbed }, () =>
    ladderTable(climbed),
  );
  return undefined;
}

/** What is read at once, and what is decoded. */
interface Words {
  readonly prompt: readonly number[];
  readonly text: readonly number[];
}

async function textTokens(path: string, flags: LadderFlags): Promise<Words> {
  const text = await readText(flags.text ?? TEXTS.evaluation);
  const model = await openModel(path, { predictor: null, readers: 0, threads: 1 });
  try {
    const tokens = model.tokenizer.encode(text.slice(0, TEXT_CHARACTERS), true);
    const { promptTokens } = flags;
    return { prompt: tokens.slice(0, promptTokens), text: tokens.slice(promptTokens) };
  } finally {
    await model.close();
  }
}

async function fileBytes(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (cause) {
    throw new IoError("IO_NOT_FOUND", `${path}: cannot be opened (${(cause as Error).message}); give a model file`, {
      cause,
    });
  }
}

async function deviceProfile(path: string, { device }: LadderFlags, { terminal }: Report): Promise<DeviceProfile> {
  if (device !== undefined) return await readDeviceProfile(device);
  return await measureProfile({ path, quick: true, signal: terminal.signal });
}

function climbOf(
  rung: Rung,
  files: LadderFiles,
  words: Words,
  profile: DeviceProfile,
  limit: LimitFlag["limit"],
  { terminal, onProgress }: Report,
) {
  const { clock, signal } = terminal;
  return { path: files[rung.file]!, ...words, profile, limit, clock, signal, onProgress };
}

async function counterpartTokens(
  rung: Rung,
  files: LadderFiles,
  words: Words,
  flags: LadderFlags,
  known: Map<string, readonly number[]>,
  profile: DeviceProfile,
  report: Report,
): Promise<readonly number[]> {
  const plain = { ...counterpartOf(rung), warmUpTokens: 0, tokens: flags.checkTokens - 1 };
  const before = known.get(plain.id);
  if (before) return before;
  const { tokens } = await climb(plain, climbOf(plain, files, words, profile, "off", report));
  known.set(plain.id, tokens);
  return tokens;
}

/** No check, no number. */
function checkTokens(rung: Rung, expected: readonly number[], found: readonly number[]): void {
  const compared = Math.min(expected.length, found.length);
  if (expected.slice(0, compared).every((token, i) => token === found[i])) return;
  throw new FlashwickError(
    "INTEGRITY_TENSOR",
    `${rung.title}: expected the tokens ${expected.join(", ")} of its plain counterpart, found ${found.slice(0, compared).join(", ")}`,
    { details: { rung: rung.id, expected, found } },
  );
}

function ladderTable(rungs: readonly ClimbedRung[]): string {
  const head = [
    "rung",
    "MB",
    "reads",
    "GB/s",
    "I/O ms",
    "exposed",
    "manage",
    "check",
    "compute",
    "total",
    "predicted",
    "limit",
    "times",
    "I/O",
    "total",
    "paper",
  ];
  const rows = rungs.map((rung) => [
    rung.title,
    figure(rung.bytes / 1e6),
    figure(rung.reads),
    rung.gbPerSec.toFixed(2),
    figure(rung.ioMs),
    figure(rung.exposedMs),
    figure(rung.manageMs),
    figure(rung.checkMs),
    figure(rung.computeMs),
    figure(rung.totalMs),
    rung.predicted ? figure(rung.predicted.tokenMs) : "-",
    rung.limit ? figure(rung.limit.togetherMs) : "-",
    rung.limit ? `${figure(rung.limit.times)}x` : "-",
    `${rung.ioTimesFewer.toFixed(1)}x`,
    `${rung.totalTimesFewer.toFixed(1)}x`,
    rung.paper ? `${rung.paper.ioMs} ms, ${rung.paper.ioTimesFewer.toFixed(1)}x` : "-",
  ]);
  const [last] = rungs.slice(-1);
  const dram = last
    ? `\nDRAM of the last rung: ${formatBytes(last.dramBytes.total)}, hits ${percent(last.hitShare)}`
    : "";
  return `${table([head, ...rows])}${dram}${leftTable(rungs)}`;
}

/** Where the time beyond the limit went, a line a rung. */
function leftTable(rungs: readonly ClimbedRung[]): string {
  const rows = rungs.flatMap(({ title, limit }) => (limit ? [[title, leftText(limit.leftMs)]] : []));
  return rows.length === 0 ? "" : `\n\n${table([["beyond the limit", "ms a token"], ...rows])}`;
}
