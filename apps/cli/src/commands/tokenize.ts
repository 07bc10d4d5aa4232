/** `flashwick tokenize`: text to token ids and back, and the prompt that a chat template makes. */
import { InputError } from "@flashwick/core";
import { type GgufValue, openModelFile, readGgufHeader } from "@flashwick/flash-format";
import { fileSource } from "@flashwick/flash-format/node";
import { type ChatMessage, readChatTemplate, readTokenizer, type TextTokenizer } from "@flashwick/runtime";
import type { Command } from "commander";
import { frameCommand, withReport } from "../command-frame.js";
import { requireOne } from "../engine-flags.js";
import { UsageError } from "../failure.js";
import type { Invocation } from "../invocation.js";
import { tokenIds } from "../option-values.js";
import type { CommonFlags, Report } from "../report.js";
import { table } from "../table.js";
import { readText } from "../text-file.js";

interface TokenizeFlags extends CommonFlags {
  readonly text?: string;
  readonly file?: string;
  readonly special?: boolean;
  readonly decode?: readonly number[];
  readonly messages?: string;
  readonly generationPrompt?: boolean;
}

export function tokenizeCommand(invocation: Invocation): Command {
  return frameCommand({
    name: "tokenize",
    summary:
      "Turn text into token ids or back, or a conversation into the prompt of the model's chat template; needs no weights.",
    example: 'flashwick tokenize opt-demo.gguf --text "In the beginning"',
  })
    .argument("<model.gguf>", "model file, ours or llama.cpp's")
    .option("--text <text>", "text to turn into ids (no default: this or --file, --decode or --messages is needed)")
    .option("--file <file>", "the same, from a file (default: none)")
    .option(
      "--special",
      "put BOS and EOS around the text as for a prompt, and read special tokens in it; with --decode, write them out (default: off)",
    )
    .option("--decode <ids>", "token ids to turn into text: 2,17,4 (default: none)", tokenIds)
    .option("--messages <file.json>", 'conversation to render: [{"role": "user", "content": "…"}, …] (default: none)')
    .option("--generation-prompt", "with --messages, end where the model's reply begins (default: off)")
    .action(async (path: string, flags: TokenizeFlags) => {
      requireOne(flags, ["text", "file", "decode", "messages"]);
      if (flags.messages === undefined && flags.generationPrompt)
        throw new UsageError("--generation-prompt needs --messages");
      if (flags.messages !== undefined && flags.special)
        throw new UsageError(
          "--special goes with --text, --file or --decode: a chat template writes special tokens itself",
        );
      invocation.exitStatus = await tokenize(invocation, path, flags);
    });
}

function tokenize({ terminal }: Invocation, path: string, flags: TokenizeFlags): Promise<number> {
  return withReport(terminal, flags, async (report) => {
    const metadata = await readMetadata(path);
    const tokenizer = readTokenizer(metadata, path);
    const special = flags.special ?? false;
    if (flags.decode) {
      const text = tokenizer.decode(flags.decode, { special });
      report.result({ text }, () => text);
    } else if (flags.messages !== undefined) {
      const messages = parseMessages(await readText(flags.messages), flags.messages);
      const addGenerationPrompt = flags.generationPrompt ?? false;
      const prompt = readChatTemplate(metadata, path).render(messages, { addGenerationPrompt });
      const tokens = tokenizer.encode(prompt, { parseSpecial: true });
      report.result({ prompt, tokens }, () => `${prompt}\n\n${tokens.length} tokens: ${tokens.join(",")}`);
    } else {
      const text = flags.text ?? (await readText(flags.file!));
      showTokens(report, tokenizer, tokenizer.encode(text, { addSpecial: special, parseSpecial: special }));
    }
    return undefined;
  });
}

/** A file of ours is checked as a whole header; of any other only the metadata is read. */
async function readMetadata(path: string): Promise<ReadonlyMap<string, GgufValue>> {
  const source = await fileSource(path);
  try {
    const { metadata } = await readGgufHeader(source);
    if (metadata.has("flashwick.format.version")) await openModelFile(source);
    return metadata;
  } finally {
    await source.close();
  }
}

/** Pieces are what each token stands for; bytes of a character that several tokens share are U+FFFD. */
function showTokens(report: Report, tokenizer: TextTokenizer, tokens: readonly number[]): void {
  const pieces = tokens.map((token) => tokenizer.decode([token], { special: true, continues: true }));
  report.result({ tokens, pieces }, () =>
    table([["token", "piece"], ...tokens.map((token, i) => [token, JSON.stringify(pieces[i])])]),
  );
}

/** @throws {InputError} `INPUT_INVALID` naming file and message. */
function parseMessages(text: string, fileName: string): ChatMessage[] {
  const invalid = (found: string) =>
    new InputError(
      "INPUT_INVALID",
      `${fileName}: expected an array of messages {"role": text, "content": text}, found ${found}`,
      { details: { file: fileName } },
    );
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw invalid(`what is no JSON (${(cause as Error).message})`);
  }
  if (!Array.isArray(document)) throw invalid(`${document === null ? "null" : typeof document}`);
  return document.map((message: unknown, index) => {
    const { role, content } = (message ?? {}) as Partial<ChatMessage>;
    if (typeof role === "string" && typeof content === "string") return { role, content };
    throw invalid(`${JSON.stringify(message).slice(0, 80)} at index ${index}`);
  });
}
