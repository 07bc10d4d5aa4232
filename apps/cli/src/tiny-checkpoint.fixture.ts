/** Test support: the tiny OPT checkpoint of flash-format with a byte-level tokenizer, and a terminal that remembers. */
import { cpSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { byteTokenizer } from "@flashwick/test-capabilities/byte-tokenizer";
import { main } from "./main.js";
import type { Terminal } from "./terminal.js";
import { inputOf } from "./terminal-input.fixture.js";

const checkpoint = fileURLToPath(new URL("../../../packages/flash-format/fixtures/opt-tiny-sharded", import.meta.url));
const references = fileURLToPath(new URL("../../../packages/runtime/fixtures/", import.meta.url));
/** Of the checkpoint. */
export const TINY = { nLayers: 3, dModel: 64, dFf: 256, vocabSize: 512, contextLength: 128 } as const;

/** A fresh folder with `checkpoint/` in it. @param reference A checkpoint of runtime's fixtures, of 512 tokens; default: the tiny OPT. */
export function makeWorkplace(reference?: string): { readonly dir: string; readonly checkpoint: string } {
  const dir = mkdtempSync(join(tmpdir(), "flashwick-cli-"));
  const from = reference === undefined ? checkpoint : `${references}${reference}`;
  cpSync(from, join(dir, "checkpoint"), { recursive: true });
  writeFileSync(join(dir, "checkpoint", "tokenizer.json"), JSON.stringify(byteTokenizer(TINY.vocabSize)));
  return { dir, checkpoint: join(dir, "checkpoint") };
}

export interface Outcome {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

export interface TerminalOptions {
  /** Lines of standard input. */
  readonly input?: readonly string[];
  readonly signal?: AbortSignal;
  readonly isTty?: boolean;
  readonly env?: Terminal["env"];
  /** Default: the real one. */
  readonly clock?: Terminal["clock"];
  /** Called with everything written to standard output. */
  readonly onOut?: (text: string) => void;
  /** The same for standard error. */
  readonly onErr?: (text: string) => void;
}

/** Runs one command line in this process. */
export async function flashwick(argv: readonly string[], options: TerminalOptions = {}): Promise<Outcome> {
  let out = "";
  let err = "";
  const { isTty = false, env = {}, signal = new AbortController().signal } = options;
  const status = await main(argv, {
    out: {
      isTty,
      columns: 100,
      write: (text) => {
        out += text;
        options.onOut?.(text);
      },
    },
    err: {
      isTty,
      columns: 100,
      write: (text) => {
        err += text;
        options.onErr?.(text);
      },
    },
    env,
    signal,
    clock: options.clock ?? (() => performance.now()),
    peakRssBytes: () => process.resourceUsage().maxRSS * 1024,
    ...inputOf(options.input ?? []),
  });
  return { status, out, err };
}

/** Runs it with `--json` and reads the one document. */
export async function flashwickJson(argv: readonly string[], options: TerminalOptions = {}) {
  const outcome = await flashwick([...argv, "--json"], options);
  return { ...outcome, document: JSON.parse(outcome.out) };
}
