/** `flashwick serve`: an OpenAI-compatible server of one model. */
import { GiB, type IoError } from "@flashwick/core";
import type { Model } from "@flashwick/runtime";
import { openPrefixFolder } from "@flashwick/runtime/node";
import { isLoopback, type RequestRecord } from "@flashwick/server";
import { type RunningServer, serveModel } from "@flashwick/server/node";
import type { Command } from "commander";
import { frameCommand, withReport } from "../command-frame.js";
import { addEngineFlags, type EngineFlags, openWithFlags } from "../engine-flags.js";
import { UsageError } from "../failure.js";
import type { Invocation } from "../invocation.js";
import { integer, integerWithin, plainBytes, word } from "../option-values.js";
import type { CommonFlags, Report } from "../report.js";
import type { Terminal } from "../terminal.js";
import { noteUnchecked } from "../unchecked-note.js";

interface ServeFlags extends CommonFlags, EngineFlags {
  readonly host: string;
  readonly port: number;
  readonly apiKey?: string;
  readonly maxQueue: number;
  readonly maxSequences: number;
  readonly rate?: number;
  readonly replicaId?: string;
  readonly prefixCache?: string;
  /** Bytes. */
  readonly prefixCacheSize: number;
}

/** Keys and values of each sequence where nobody says how many: a conversation; where the budget is small, a question and its answer. */
const CONTEXT = { most: 4096, least: 256 };

export function serveCommand(invocation: Invocation): Command {
  const command = frameCommand({
    name: "serve",
    summary: "Serve a model to clients of OpenAI's API, on this machine.",
    example: "flashwick serve SmolLM2-135M-Instruct.Q4_1.gguf --port 8080",
  })
    .argument("<model.gguf>", "model file, ours or llama.cpp's")
    .option("--host <host>", "address to listen on; beyond this machine only with an API key", word, "127.0.0.1")
    .option("--port <n>", "port to listen on; 0: any that is free", integerWithin(0, 65_535), 8080)
    .option(
      "--api-key <key>",
      "key that clients must send, as Authorization: Bearer <key> (default: FLASHWICK_API_KEY, which no list of processes shows; without it, none)",
      word,
    )
    .option("--max-sequences <n>", "texts that are generated at once", integerWithin(1, 64), 4)
    .option("--max-queue <n>", "texts that may wait beside them; one more gets status 429", integer(0), 16)
    .option("--rate <n>", "requests a minute that an address may make (default: no limit)", integer(1))
    .option(
      "--replica-id <name>",
      "labels metrics and answers, where several servers share a load (default: none)",
      word,
    )
    .option("--prefix-cache <dir>", "folder that keeps what beginnings of prompts came to, checked (default: none)")
    .option(
      "--prefix-cache-size <size>",
      "most bytes of that folder; the least recently used go first (default: 1GiB)",
      plainBytes,
      GiB,
    );
  return addEngineFlags(command, "sidecar").action(async (path: string, flags: ServeFlags) => {
    invocation.exitStatus = await serve(invocation, path, flags);
  });
}

function serve({ terminal }: Invocation, path: string, flags: ServeFlags): Promise<number> {
  const apiKeys = keysOf(flags, terminal);
  return withReport(terminal, flags, async (report) => {
    // The first signal lets texts end, so it must not end the model.
    const opening = new AbortController();
    const stop = () => opening.abort(terminal.signal.reason);
    terminal.signal.addEventListener("abort", stop, { once: true });
    const { maxSequences } = flags;
    const model = await openWithFlags(path, flags, "sidecar", report, {
      ...{ contextTokens: CONTEXT, maxSequences, signal: opening.signal },
    });
    noteUnchecked(model, report);
    try {
      const server = await start(model, flags, apiKeys, report);
      terminal.signal.removeEventListener("abort", stop);
      await untilAborted(terminal.signal);
      report.note("taking no new texts; those that are there end (a second signal ends them, too)");
      await server.drain();
      return 130;
    } finally {
      await model.close();
    }
  });
}

/** @throws {UsageError} for an address beyond this machine without a key. */
function keysOf({ apiKey, host }: ServeFlags, { env }: Terminal): string[] {
  const key = apiKey ?? env.FLASHWICK_API_KEY ?? "";
  if (/\s/.test(key)) throw new UsageError("FLASHWICK_API_KEY: expected no white space in the key");
  if (key !== "") return [key];
  if (isLoopback(host)) return [];
  throw new UsageError(
    `--host ${host} can be reached from other machines, and anybody there could use this server; set FLASHWICK_API_KEY, or listen on 127.0.0.1`,
  );
}

async function start(
  model: Model,
  { host, port, maxQueue, rate, replicaId, prefixCache, prefixCacheSize }: ServeFlags,
  apiKeys: readonly string[],
  report: Report,
): Promise<RunningServer> {
  const onError = ({ message }: IoError) => report.note(`prefix cache: ${message}`);
  const prefixStore = prefixCache && (await openPrefixFolder(prefixCache, { maxBytes: prefixCacheSize, onError }));
  const server = await serveModel(model, {
    ...{ host, port, maxQueue, apiKeys },
    ...(rate !== undefined && { requestsPerMinute: rate }),
    ...(replicaId !== undefined && { replicaId }),
    ...(prefixStore && { prefixStore }),
    onRequest: (record) => report.note(requestLine(record)),
  });
  const { url, model: name } = server;
  report.result({ url, model: name }, () => `${name} is served at ${url}/v1`);
  return server;
}

/** One line a request, with nothing of what was said. */
function requestLine({ method, route, status, ms, promptTokens, tokens, failure }: RequestRecord): string {
  const counts = promptTokens === null ? "" : `, ${promptTokens} + ${tokens} tokens`;
  const why = failure === null ? "" : `: ${failure instanceof Error ? failure.message : String(failure)}`;
  return `${method} ${route} ${status}, ${Math.round(ms)} ms${counts}${why}`;
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
