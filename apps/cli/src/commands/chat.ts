/** `flashwick chat`: a conversation with a model that has a chat template. */
import { eventLoopTurn, isFlashwickError, unitName } from "@flashwick/core";
import type { ChatMessage, GenerateOptions, Model, RunSummary } from "@flashwick/runtime";
import type { Command } from "commander";
import { frameCommand, withReport } from "../command-frame.js";
import { addEngineFlags, type EngineFlags, openWithFlags } from "../engine-flags.js";
import type { Invocation } from "../invocation.js";
import { collect, integer, number } from "../option-values.js";
import type { CommonFlags, Report } from "../report.js";
import { runTable } from "../run-report.js";
import { bold } from "../terminal.js";
import { noteUnchecked } from "../unchecked-note.js";

interface ChatFlags extends CommonFlags, EngineFlags {
  readonly system?: string;
  readonly message?: readonly string[];
  readonly maxTokens: number;
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly seed: number;
  readonly lossless?: boolean;
}

/** Keys and values that are reserved where nobody says how many: a few pages of text; where the budget is small, a question and its answer. */
const CONTEXT = { most: 2048, least: 256 };
const COMMANDS = "/reset forgets the conversation, /stats shows what the last reply cost, /exit ends";

export function chatCommand(invocation: Invocation): Command {
  const command = frameCommand({
    name: "chat",
    summary: "Talk with a model that has a chat template.",
    example: "flashwick chat SmolLM2-135M-Instruct.Q4_1.gguf",
  })
    .argument("<model.gguf>", "model file, ours or llama.cpp's")
    .option("--system <text>", "what the model is told first (default: what its template says)")
    .option(
      "--message <text>",
      "message to reply to; may be given several times, and ends after the last reply (default: standard input, a message a line)",
      collect,
    )
    .option("--max-tokens <n>", "most tokens of a reply", integer(1), 512)
    .option("--temperature <x>", "0 takes the likeliest token, larger numbers are bolder", number(0), 0)
    .option("--top-k <n>", "choose among the n likeliest tokens; 0: all", integer(0), 0)
    .option("--top-p <x>", "choose among the fewest tokens of probability x in all, 0 to 1", number(0, 1), 1)
    .option("--seed <n>", "seed of the random numbers", integer(0), 0)
    .option("--lossless", "the dense model's replies, drafted by the sparse path (default: off)");
  return addEngineFlags(command, "sidecar").action(async (path: string, flags: ChatFlags) => {
    invocation.exitStatus = await chat(invocation, path, flags);
  });
}

function chat({ terminal }: Invocation, path: string, flags: ChatFlags): Promise<number> {
  return withReport(terminal, flags, async (report) => {
    const model = await openForChat(path, flags, report);
    try {
      // Before anybody types: a model without a template is refused.
      const { chatTemplate } = model;
      chatTemplate.render([{ role: "user", content: "" }]);
      const conversation = new Conversation(model, flags, report);
      if (flags.message) for (const message of flags.message) await conversation.reply(message);
      else await converse(conversation, report);
      return terminal.signal.aborted ? 130 : 0;
    } finally {
      await model.close();
    }
  });
}

/** With as many tokens as were asked for, or as many of a few pages as the budget holds; says how many, if those are fewer. */
async function openForChat(path: string, flags: ChatFlags, report: Report): Promise<Model> {
  const model = await openWithFlags(path, flags, "sidecar", report, { contextTokens: CONTEXT });
  noteUnchecked(model, report);
  const { contextLength } = model.header.geometry;
  if (flags.context === undefined && model.contextTokens! < Math.min(CONTEXT.most, contextLength)) {
    report.note(
      `note: the budget leaves room for ${model.contextTokens} tokens of text (--context asks for another number)`,
    );
  }
  return model;
}

/** Reads messages and commands until the input ends. */
async function converse(conversation: Conversation, report: Report): Promise<void> {
  const { input } = report.terminal;
  if (input.isTty) report.note(COMMANDS);
  for await (const line of input.lines("> ")) {
    const text = line.trim();
    if (text === "/exit") return;
    if (text === "/reset") conversation.reset();
    else if (text === "/stats") report.note(conversation.statsText());
    else if (/^\/\w+$/.test(text)) report.note(`${text} is not a command: ${COMMANDS}`);
    else if (text !== "") await replyOrSay(conversation, text, report);
    if (report.terminal.signal.aborted) return;
  }
}

/** What is wrong with one message ends neither the conversation nor the program. */
async function replyOrSay(conversation: Conversation, text: string, report: Report): Promise<void> {
  try {
    await conversation.reply(text);
  } catch (error) {
    if (!isFlashwickError(error) || !error.code.startsWith("INPUT_")) throw error;
    report.note(`${error.message}; /reset starts a new conversation`);
  }
}

class Conversation {
  readonly #model: Model;
  readonly #flags: ChatFlags;
  readonly #report: Report;
  #messages: ChatMessage[] = [];
  #last: RunSummary | null = null;

  constructor(model: Model, flags: ChatFlags, report: Report) {
    this.#model = model;
    this.#flags = flags;
    this.#report = report;
    this.reset();
  }

  reset(): void {
    const { system } = this.#flags;
    this.#messages = system === undefined ? [] : [{ role: "system", content: system }];
    this.#last = null;
  }

  statsText(): string {
    return this.#last ? runTable(this.#last.stats, unitName(this.#model.header.geometry)) : "nothing was said yet";
  }

  /** Adds a message and the model's reply to it. Ctrl-C ends the reply, which stays as far as it came. */
  async reply(content: string): Promise<void> {
    const { terminal, json } = this.#report;
    this.#messages.push({ role: "user", content });
    let text = "";
    const isWhole = await terminal.interruptible(async (signal) => {
      try {
        this.#last = await this.#generate(signal, (piece) => {
          text += piece;
          if (!json) this.#report.stream(piece);
        });
        return true;
      } catch (error) {
        if (signal.aborted) return false;
        this.#messages.pop();
        throw error;
      }
    });
    this.#messages.push({ role: "assistant", content: text });
    const message = { role: "assistant", content: text };
    if (json)
      this.#report.line({ message, stats: isWhole ? this.#last!.stats : null, cacheFit: this.#model.cacheFit() });
    else this.#report.stream(isWhole ? "\n" : `${bold(terminal, terminal.out, " …")}\n`);
  }

  async #generate(signal: AbortSignal, onText: (text: string) => void): Promise<RunSummary> {
    const { maxTokens, temperature, topK, topP, seed, lossless = false } = this.#flags;
    const sampling: GenerateOptions = { maxTokens, temperature, topK, topP, seed, lossless, signal };
    const reply = this.#model.chat(this.#messages, { ...sampling, onProgress: this.#report.onProgress });
    for (;;) {
      const step = await reply.next();
      if (step.done) return step.value;
      onText(step.value.text);
      // A reader on the calling thread never waits, and Ctrl-C could not be seen.
      await eventLoopTurn();
    }
  }
}
