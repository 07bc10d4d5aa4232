/**
 * The chat template of a model: Jinja that makes one prompt of the messages of a conversation. It is rendered as transformers does
 * (`apply_chat_template`): blocks are trimmed, and `raise_exception`, `strftime_now`, `range` and the special tokens are there.
 */
import { FormatError, InputError } from "@flashwick/core";
import type { GgufValue } from "@flashwick/flash-format";
import { Environment, Template } from "@huggingface/jinja";
import { MeteredInterpreter, WorkLimitError } from "./metered-interpreter.js";
import { strftime } from "./strftime.js";

/** One message of a conversation. */
export interface ChatMessage {
  /** `system`, `user` or `assistant`; templates may know others. */
  readonly role: string;
  readonly content: string;
  /** What else templates read of a message: `tool_calls` of an assistant, `tool_call_id` of a tool. */
  readonly extra?: Readonly<Record<string, unknown>>;
}

/** What a template is given beside the messages. */
export interface RenderOptions {
  /** End with the beginning of the assistant's message. Default false. */
  readonly addGenerationPrompt?: boolean;
  /** Descriptions of the functions that the model may call, which the template writes out as its model knows them. Default: none. */
  readonly tools?: readonly object[] | null;
}

/** Name, special tokens and clock of a template. */
export interface ChatTemplateOptions {
  /** For messages of errors. */
  readonly fileName: string;
  /** As the tokenizer writes them; default empty. */
  readonly bosToken?: string;
  readonly eosToken?: string;
  /** For templates that tell the model the date. Default: the time of rendering. */
  readonly now?: () => Date;
}

/** Characters of a template; the longest of a published model has about 30 thousand. */
const MAX_TEMPLATE_LENGTH = 128 * 1024;
/** White space in a row: the library's time to read a template grows with its square. */
const MAX_GAP_LENGTH = 1024;
/** Elements that `range` gives. */
const MAX_RANGE = 65_536;

/** What a template says with `raise_exception`. */
class ConversationRefused extends Error {}

/** Renders a conversation into one prompt, as transformers does. */
export class ChatTemplate {
  readonly source: string;
  readonly #options: ChatTemplateOptions;
  readonly #program: Template["parsed"];

  /** @throws {FormatError} `FORMAT_INVALID` if it is no template; `FORMAT_LIMIT` if it is longer than any. */
  constructor(source: string, options: ChatTemplateOptions) {
    this.source = source;
    this.#options = options;
    const gap = new RegExp(`\\s{${MAX_GAP_LENGTH + 1}}`).exec(source);
    if (source.length > MAX_TEMPLATE_LENGTH || gap) {
      const found = gap ? `more white space than ${MAX_GAP_LENGTH} in a row` : `${source.length} characters`;
      throw this.#error("FORMAT_LIMIT", `expected at most ${MAX_TEMPLATE_LENGTH} characters, found ${found}`);
    }
    try {
      this.#program = new Template(source).parsed;
    } catch (cause) {
      throw this.#failure(cause);
    }
  }

  /**
   * The prompt, special tokens written out: encode it with `parseSpecial`, and without `addSpecial`.
   *
   * The work and the size of every text are bounded, in a page as in Node, by counting and not by a clock: about a second, and
   * 4 Mi characters.
   *
   * @throws {InputError} `INPUT_CONVERSATION` with the template's own words if it refuses the messages.
   * @throws {FormatError} `FORMAT_INVALID` if the template fails; `FORMAT_LIMIT` if it would take for ever, or give text without end.
   */
  render(messages: readonly ChatMessage[], { addGenerationPrompt = false, tools = null }: RenderOptions = {}): string {
    const conversation = messages.map(({ role, content, extra }) => ({ ...extra, role, content }));
    const given = { ...this.#globals(), tools, messages: conversation, add_generation_prompt: addGenerationPrompt };
    try {
      const environment = new Environment();
      // The library goes through what it is given, and runs out of stack where that nests too deep.
      for (const [name, value] of Object.entries(given)) environment.set(name, value);
      return String(new MeteredInterpreter(environment, this.source.length).run(this.#program).value);
    } catch (cause) {
      throw this.#failure(cause);
    }
  }

  #globals(): Readonly<Record<string, unknown>> {
    const { bosToken = "", eosToken = "", now = () => new Date() } = this.#options;
    return {
      ...{ true: true, True: true, false: false, False: false, none: null, None: null },
      ...{ bos_token: bosToken, eos_token: eosToken, documents: null },
      raise_exception: (message: unknown) => {
        throw new ConversationRefused(typeof message === "string" ? message : "it gives no reason");
      },
      strftime_now: (format: unknown) => (typeof format === "string" ? strftime(now(), format) : ""),
      range,
    };
  }

  #failure(cause: unknown): FormatError | InputError {
    const message = (cause as Error).message.slice(0, 500);
    const { fileName } = this.#options;
    if (cause instanceof ConversationRefused) {
      return new InputError(
        "INPUT_CONVERSATION",
        `${fileName}: the chat template refuses the conversation: ${message}; change its messages`,
        { details: { reason: message }, cause },
      );
    }
    // The engine's own limits: stack and length of strings.
    const isLimit = cause instanceof WorkLimitError || cause instanceof RangeError;
    return this.#error(
      isLimit ? "FORMAT_LIMIT" : "FORMAT_INVALID",
      isLimit ? `it was stopped: ${message}` : message,
      cause,
    );
  }

  #error(code: "FORMAT_LIMIT" | "FORMAT_INVALID", message: string, cause?: unknown): FormatError {
    const advice =
      code === "FORMAT_LIMIT" ? "the conversation is too long, or the template hostile" : "give a prompt of your own";
    return new FormatError(code, `${this.#options.fileName}: chat template: ${message}; ${advice}`, { cause });
  }
}

/** Python's `range`, as far as it is asked for by templates. */
function range(start: number, stop?: number, step = 1): number[] {
  const [first, end] = stop === undefined ? [0, start] : [start, stop];
  const length = Math.max(0, Math.ceil((end - first) / step));
  if (!(length <= MAX_RANGE)) throw new WorkLimitError(`range gives more than ${MAX_RANGE} elements`);
  return Array.from({ length }, (_, i) => first + i * step);
}

/**
 * The chat template that a GGUF file carries, with its special tokens.
 *
 * @param metadata Of the file's header.
 * @throws {InputError} `INPUT_NO_CHAT_TEMPLATE` if there is none. {FormatError} as {@link ChatTemplate}.
 */
export function readChatTemplate(metadata: ReadonlyMap<string, GgufValue>, fileName: string): ChatTemplate {
  const template = metadata.get("tokenizer.chat_template");
  if (template?.type !== "string") {
    throw new InputError(
      "INPUT_NO_CHAT_TEMPLATE",
      `${fileName} carries no chat template ("tokenizer.chat_template" is missing): it was not made for conversations; give a prompt of your own`,
    );
  }
  const bosToken = specialToken(metadata, "bos");
  return new ChatTemplate(template.value, { fileName, bosToken, eosToken: specialToken(metadata, "eos") });
}

function specialToken(metadata: ReadonlyMap<string, GgufValue>, name: "bos" | "eos"): string {
  const id = metadata.get(`tokenizer.ggml.${name}_token_id`)?.value;
  const tokens = metadata.get("tokenizer.ggml.tokens");
  if (id === undefined || tokens?.type !== "array" || tokens.of !== "string") return "";
  return tokens.value[Number(id)] ?? "";
}
