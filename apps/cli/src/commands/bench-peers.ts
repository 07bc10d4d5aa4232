/** `flashwick bench peers`: beside an engine that a user would pick instead, on the same machine, with the same memory. */
import { execFileSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { formatBytes, InputError } from "@flashwick/core";
import { openModelFile } from "@flashwick/flash-format";
import { fileSource } from "@flashwick/flash-format/node";
import { Argument, type Command, Option } from "commander";
import { type Machine, readMachine } from "../bench/machine.js";
import { memoryGroupsMissing, runInMemoryGroup } from "../bench/memory-group.js";
import { writePeerFile } from "../bench/peer-file.js";
import { PEER_FAMILIES, type PeerFamily } from "../bench/peer-forms.js";
import { frameCommand, withReport } from "../command-frame.js";
import type { Invocation } from "../invocation.js";
import { integer } from "../option-values.js";
import type { CommonFlags, Report } from "../report.js";
import { figure, table } from "../table.js";

interface PeersFlags extends CommonFlags {
  readonly peerFile: string;
  readonly peer: string;
  readonly memory: number;
  readonly prompt: string;
  readonly tokens: number;
  readonly peerTokens: number;
  readonly repeat: number;
  readonly threads: number;
  readonly overlap: string;
  readonly lookahead: string;
  readonly predictor?: string;
}

/** One run of one engine. */
interface PeerRow {
  readonly engine: "flashwick" | "node-llama-cpp";
  /** Null, with the reason, where it did not run. */
  readonly failed: string | null;
  readonly tokens: number;
  readonly tokensPerSec: number | null;
  readonly p99Ms: number | null;
  readonly firstTokenMs: number | null;
  /** From the device, loading included. */
  readonly readBytes: number | null;
  readonly readBytesPerToken: number | null;
  readonly peakBytes: number | null;
}

/** The document of `flashwick bench peers --json`. */
interface Peers {
  readonly machine: Machine;
  readonly model: string;
  readonly peerFile: string;
  readonly memoryBytes: number;
  readonly rows: readonly PeerRow[];
  /** Of mean tokens a second, ours over theirs; null where one did not run. */
  readonly timesFaster: number | null;
}

/** What Node, the program and its threads take beside the budget: packages/runtime/README.md, "Memory". */
const OVERHEAD_BYTES = 128 * 2 ** 20;
const THREAD_BYTES = 12 * 2 ** 20;
const READERS = 16;

export function benchPeersCommand(invocation: Invocation): Command {
  return frameCommand({
    name: "peers",
    summary:
      "Beside node-llama-cpp on a mapped file of the same geometry, both within the same memory, cold, in turns.",
    example: "flashwick bench peers falcon falcon-7b-f16.gguf --peer-file falcon-7b-llama.gguf",
  })
    .addArgument(new Argument("<family>", "the geometry's family").choices(PEER_FAMILIES))
    .argument("<model.gguf>", "our model file, f16, with its predictor beside it")
    .requiredOption(
      "--peer-file <file>",
      "the peer's model file; made, of noise in the same geometry, if it is not there (no default)",
    )
    .option("--peer <folder>", "where node-llama-cpp is installed (npm install node-llama-cpp@3.22.1)", ".")
    .option("--memory <percent>", "memory of each, of the model file", integer(1), 50)
    .option("--prompt <text>", "prompt of both", "In the beginning God created the heaven and the earth.")
    .option("--tokens <n>", "tokens that we decode", integer(2), 128)
    .option("--peer-tokens <n>", "tokens that the peer decodes: they take seconds each", integer(2), 8)
    .option("--repeat <n>", "turns of each", integer(1), 2)
    .option("--threads <n>", "compute threads of each", integer(1), 2)
    .addOption(new Option("--overlap <when>", "ours: as in flashwick run").choices(["auto", "on", "off"]).default("on"))
    .addOption(
      new Option("--lookahead <when>", "ours: as in flashwick run").choices(["auto", "on", "off"]).default("on"),
    )
    .addOption(new Option("--predictor <file>", "our predictor (default: <model>.predictor.gguf)"))
    .action(async (family: PeerFamily, model: string, _, command: Command) => {
      const flags = command.optsWithGlobals<PeersFlags>();
      invocation.exitStatus = await withReport(invocation.terminal, flags, (report) =>
        peers({ family, model }, flags, report),
      );
    });
}

/** What is compared. */
interface Subject {
  readonly family: PeerFamily;
  readonly model: string;
}

async function peers(subject: Subject, flags: PeersFlags, report: Report): Promise<number> {
  const { model } = subject;
  const missing = memoryGroupsMissing();
  if (missing !== null) throw new InputError("INPUT_INVALID", `bench peers needs memory control groups: ${missing}`);
  await preparePeerFile(subject, flags, report);
  const memoryBytes = Math.floor((statSync(model).size * flags.memory) / 100);
  const rows: PeerRow[] = [];
  for (let turn = 0; turn < flags.repeat; turn++) {
    for (const engine of ["node-llama-cpp", "flashwick"] as const) {
      report.terminal.signal.throwIfAborted();
      dropCaches();
      const row = await (engine === "flashwick" ? runOurs(model, flags, memoryBytes) : runPeer(flags, memoryBytes));
      rows.push(row);
      report.note(row.failed ? `${engine}: ${row.failed}` : `${engine}: ${figure(row.tokensPerSec!)} tokens a second`);
    }
  }
  const speed = (engine: PeerRow["engine"]) => {
    const own = rows.filter((row) => row.engine === engine && row.tokensPerSec !== null);
    return own.length === 0 ? null : own.reduce((sum, row) => sum + row.tokensPerSec!, 0) / own.length;
  };
  const [ours, theirs] = [speed("flashwick"), speed("node-llama-cpp")];
  const document: Peers = {
    machine: readMachine(),
    model,
    peerFile: flags.peerFile,
    memoryBytes,
    rows,
    timesFaster: ours !== null && theirs !== null ? ours / theirs : null,
  };
  report.result(document, () => peersText(document));
  return 0;
}

async function preparePeerFile(
  { family, model }: Subject,
  { peerFile }: PeersFlags,
  { onProgress, terminal }: Report,
): Promise<void> {
  if (existsSync(peerFile)) return;
  const source = await fileSource(model);
  const { header } = await openModelFile(source).finally(() => source.close());
  await writePeerFile(peerFile, family, header, { onProgress, signal: terminal.signal });
}

/** Cold: nothing of either file is in memory. Where that is not allowed, the group's own small cache is cold anyway. */
function dropCaches(): void {
  try {
    execFileSync("/bin/sh", ["-c", "sync; echo 3 > /proc/sys/vm/drop_caches"], { stdio: "ignore" });
  } catch {
    // Not root: a group of half the file cannot hold it in any case.
  }
}

async function runOurs(model: string, flags: PeersFlags, memoryBytes: number): Promise<PeerRow> {
  const budget = memoryBytes - OVERHEAD_BYTES - (READERS + flags.threads) * THREAD_BYTES;
  const program = fileURLToPath(import.meta.url);
  const args = [
    ...[
      program.endsWith("flashwick.js") ? program : join(program, "../flashwick.js"),
      "run",
      model,
      "--json",
      "--quiet",
    ],
    ...["--prompt", flags.prompt, "--max-tokens", `${flags.tokens}`, "--dram-budget", `${budget}`],
    ...["--threads", `${flags.threads}`, "--readers", `${READERS}`],
    ...["--overlap", flags.overlap, "--lookahead", flags.lookahead],
    ...(flags.predictor === undefined ? [] : ["--predictor", flags.predictor]),
  ];
  const run = await runInMemoryGroup({ limitBytes: memoryBytes, command: process.execPath, args });
  if (run.status !== 0) return failed("flashwick", run);
  const { stats, tokens } = JSON.parse(run.stdout);
  return {
    engine: "flashwick",
    failed: null,
    tokens: tokens.length,
    tokensPerSec: stats.tokensPerSec,
    p99Ms: stats.tokenMs.p99,
    firstTokenMs: stats.timeToFirstTokenMs,
    readBytes: stats.flashBytes,
    readBytesPerToken: stats.flashBytesPerToken,
    peakBytes: run.peakBytes,
  };
}

async function runPeer(flags: PeersFlags, memoryBytes: number): Promise<PeerRow> {
  const entry = findPeer(flags.peer);
  if (entry === null) {
    const why = `not installed in ${flags.peer}: npm install node-llama-cpp@3.22.1 there, or name the folder with --peer`;
    return failed("node-llama-cpp", { status: 1, killed: 0, stderr: why, peakBytes: 0 });
  }
  const args = [
    ...[fileURLToPath(new URL("./bench-peer.js", import.meta.url)), entry, resolve(flags.peerFile), flags.prompt],
    ...[`${flags.peerTokens}`, `${flags.threads}`],
  ];
  const run = await runInMemoryGroup({ limitBytes: memoryBytes, command: process.execPath, args });
  const line = run.stdout.split("\n").findLast((text) => text.startsWith("{"));
  if (run.status !== 0 || line === undefined) return failed("node-llama-cpp", run);
  const { firstMs, tokenMs, readBytes } = JSON.parse(line) as {
    readonly firstMs: number;
    readonly tokenMs: readonly number[];
    readonly readBytes: number;
  };
  const sorted = [...tokenMs].sort((a, b) => a - b);
  const total = tokenMs.reduce((sum, ms) => sum + ms, 0);
  return {
    engine: "node-llama-cpp",
    failed: null,
    tokens: tokenMs.length,
    tokensPerSec: (1000 * tokenMs.length) / total,
    p99Ms: sorted[Math.min(sorted.length - 1, Math.floor(0.99 * sorted.length))]!,
    firstTokenMs: firstMs,
    readBytes,
    readBytesPerToken: readBytes / (tokenMs.length + 1),
    peakBytes: run.peakBytes,
  };
}

/** The module's file, from where a program in that folder would find it. */
function findPeer(folder: string): string | null {
  try {
    return createRequire(join(resolve(folder), "package.json")).resolve("node-llama-cpp");
  } catch {
    // Modules without a CommonJS form are not found that way.
    const entry = join(resolve(folder), "node_modules/node-llama-cpp/dist/index.js");
    return existsSync(entry) ? entry : null;
  }
}

function failed(
  engine: PeerRow["engine"],
  { status, killed, stderr, peakBytes }: { status: number | null; killed: number; stderr: string; peakBytes: number },
): PeerRow {
  const why = killed > 0 ? "killed by the kernel for memory" : stderr.trim().split("\n").slice(-3).join(" ");
  return {
    engine,
    failed: why || `ended with status ${status}`,
    tokens: 0,
    ...{ tokensPerSec: null, p99Ms: null, firstTokenMs: null, readBytes: null, readBytesPerToken: null },
    peakBytes,
  };
}

function peersText({ rows, memoryBytes, timesFaster, machine }: Peers): string {
  const cell = (value: number | null, show: (value: number) => string | number) => (value === null ? "—" : show(value));
  const lines = rows.map((row) => [
    row.engine,
    cell(row.tokensPerSec, figure),
    cell(row.p99Ms, figure),
    cell(row.firstTokenMs, figure),
    cell(row.readBytesPerToken, formatBytes),
    cell(row.peakBytes, formatBytes),
    row.failed ?? "",
  ]);
  const head = ["engine", "tokens/s", "p99 ms", "first ms", "read a token", "peak", ""];
  const ratio = timesFaster === null ? "" : `\n\n${figure(timesFaster)} times the peer's tokens a second`;
  return `${machine.cpu}, ${formatBytes(memoryBytes)} of memory for each\n\n${table([head, ...lines])}${ratio}`;
}
