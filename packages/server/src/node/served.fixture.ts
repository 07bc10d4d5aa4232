/** Test support: a tiny model that is served, and the same one to be asked alone. */
import { rmSync } from "node:fs";
import type { GenerateOptions, Model } from "@flashwick/runtime";
import { openModel } from "@flashwick/runtime/node";
import { CHAT_TEMPLATE, type ChattyModel, makeChattyModel } from "../chatty-model.fixture.js";
import type { RequestRecord } from "../server-options.js";
import { type RunningServer, type ServeOptions, serveModel } from "./serve-model.js";

export const CONTEXT_TOKENS = 384;

export interface ServedTiny {
  readonly server: RunningServer;
  readonly file: ChattyModel;
  readonly records: readonly RequestRecord[];
  /** Posts JSON. */
  post(path: string, body: unknown, init?: RequestInit): Promise<Response>;
  /** What `Model.generate` gives. */
  alone(prompt: Prompt, options: GenerateOptions): Promise<AloneText>;
  close(): Promise<void>;
}

/** A text to go on from; messages; or the prompt that a template has made of them. */
type Prompt = string | readonly { readonly role: string; readonly content: string }[] | { readonly rendered: string };

export interface AloneText {
  readonly text: string;
  readonly tokens: readonly number[];
  readonly finishReason: string;
  readonly promptTokens: number;
}

export interface ServedTinyOptions extends ServeOptions {
  readonly maxSequences?: number;
  readonly template?: string | null;
}

export async function serveTiny(options: ServedTinyOptions = {}): Promise<ServedTiny> {
  const { maxSequences = 3, template = CHAT_TEMPLATE, ...serving } = options;
  const file = await makeChattyModel(template);
  const records: RequestRecord[] = [];
  const model = await openModel(file.path, { contextTokens: CONTEXT_TOKENS, maxSequences });
  const lone = await openModel(file.path, { contextTokens: CONTEXT_TOKENS });
  const server = await serveModel(model, { port: 0, onRequest: (record) => records.push(record), ...serving });
  return {
    server,
    file,
    records,
    post: (path, body, init = {}) =>
      fetch(`${server.url}${path}`, {
        method: "POST",
        body: typeof body === "string" ? body : JSON.stringify(body),
        ...init,
        headers: { "content-type": "application/json", ...init.headers },
      }),
    alone: (prompt, generateOptions) => generateAlone(lone, prompt, generateOptions),
    close: async () => {
      await server.close();
      await Promise.all([model.close(), lone.close()]);
      rmSync(file.folder, { recursive: true });
    },
  };
}

function runOf(model: Model, prompt: Prompt, options: GenerateOptions) {
  if (typeof prompt === "string") return model.generate(prompt, options);
  if (!("rendered" in prompt)) return model.chat(prompt, options);
  return model.generate(model.tokenizer.encode(prompt.rendered, { parseSpecial: true }), options);
}

async function generateAlone(model: Model, prompt: Prompt, options: GenerateOptions): Promise<AloneText> {
  const run = runOf(model, prompt, options);
  let text = "";
  for (;;) {
    const step = await run.next();
    if (step.done) {
      const { tokens, finishReason, promptTokens } = step.value;
      return { text, tokens, finishReason, promptTokens };
    }
    text += step.value.text;
  }
}

/** The chunks of a stream of server-sent events, without the last word. */
export async function readEvents(response: Response): Promise<readonly Record<string, unknown>[]> {
  const events = (await response.text()).split("\n\n").filter((event) => event !== "" && !event.startsWith(":"));
  const data = events.map((event) => event.replace(/^data: /, ""));
  if (data.pop() !== "[DONE]") throw new Error("the stream does not end with [DONE]");
  return data.map((json) => JSON.parse(json));
}

/** The events of a response, each named by its type and numbered. */
export async function readNamedEvents(response: Response): Promise<readonly Record<string, unknown>[]> {
  const blocks = (await response.text()).split("\n\n").filter((block) => block !== "" && !block.startsWith(":"));
  return blocks.map((block, index) => {
    const [, name, json] = /^event: (\S+)\ndata: (.*)$/.exec(block) ?? [];
    const event = JSON.parse(json ?? "null");
    if (event?.type !== name || event.sequence_number !== index) throw new Error(`unexpected event ${index}: ${block}`);
    return event;
  });
}
