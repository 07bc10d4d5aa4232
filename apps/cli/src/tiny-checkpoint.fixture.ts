/** Test support: the tiny OPT checkpoint of flash-format with a byte-level tokenizer, and a terminal that remembers. */
import { cpSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
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
  writeFileSync(join(dir, "checkpoint", "tokenizer.json"), JSON.stringify(byteTokenizer()));
  return { dir, checkpoint: join(dir, "checkpoint") };
}

/** One token a byte, `</s>` (2) in front. */
function byteTokenizer() {
  const special = ["<s>", "<pad>", "</s>", "<unk>"];
  const pieces = [...special, ...byteCharacters()];
  while (pieces.length < TINY.vocabSize) pieces.push(`<unused${pieces.length}>`);
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: special.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "</s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      pair: [],
      special_tokens: { "</s>": { id: "</s>", ids: [2], tokens: ["</s>"] } },
    },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
      merges: [],
    },
  };
}

/** The printable stand-ins that byte-level BPE uses for bytes 0 to 255. */
function byteCharacters(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    return String.fromCodePoint(printable ? byte : next++);
  });
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
