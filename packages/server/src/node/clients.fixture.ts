/** Test support: one set of requests, made by three clients that people use. */
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, streamText } from "ai";
import OpenAI from "openai";
import { readEvents, readNamedEvents } from "./served.fixture.js";

export interface Sampling {
  readonly maxTokens: number;
  readonly temperature: number;
  readonly topP?: number;
  readonly seed: number;
  readonly stop?: readonly string[];
}

export interface Answer {
  readonly text: string;
  readonly finishReason: string | null;
  /** Tokens of prompt and answer. */
  readonly usage: readonly [number, number];
}

export type Messages = readonly { readonly role: "system" | "user" | "assistant"; readonly content: string }[];

export interface Client {
  models(): Promise<readonly string[]>;
  complete(prompt: string, sampling: Sampling, streams: boolean): Promise<Answer>;
  chat(messages: Messages, sampling: Sampling, streams: boolean): Promise<Answer>;
  /** The status that a request ends with. */
  failure(model: string): Promise<number>;
}

/** A client that knows `/v1/responses`, too. */
export interface RespondingClient extends Client {
  respond(messages: Messages, sampling: Omit<Sampling, "stop">, streams: boolean): Promise<Answer>;
}

interface Address {
  readonly url: string;
  readonly model: string;
  readonly apiKey: string;
}

const HELLO: Messages = [{ role: "user", content: "Hello" }];

const fields = ({ maxTokens, temperature, topP, seed, stop }: Sampling) => ({
  ...{ max_tokens: maxTokens, temperature, seed },
  ...(topP !== undefined && { top_p: topP }),
  ...(stop && { stop: [...stop] }),
});

/** The system's message stands in a field of its own. */
function responseFields(messages: Messages, { maxTokens, temperature, topP, seed }: Sampling) {
  const [first, ...others] = messages;
  return {
    ...(first?.role === "system" ? { instructions: first.content, input: others } : { input: [...messages] }),
    ...{ max_output_tokens: maxTokens, temperature, seed },
    ...(topP !== undefined && { top_p: topP }),
  };
}

/** Whole, as a document or the last event of a stream has it. */
interface ResponseDocument {
  readonly status: string;
  readonly incomplete_details: { readonly reason: string } | null;
  readonly output: readonly { readonly content: readonly { readonly text: string }[] }[];
  readonly usage: { readonly input_tokens: number; readonly output_tokens: number };
}

function answerOf({ status, incomplete_details: details, output, usage }: ResponseDocument): Answer {
  const isCut = status === "incomplete" && details?.reason === "max_output_tokens";
  return {
    text: output[0]!.content[0]!.text,
    finishReason: isCut ? "length" : status === "completed" ? "stop" : null,
    usage: [usage.input_tokens, usage.output_tokens],
  };
}

interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
}

const counts = (usage: Usage | null | undefined) => [usage!.prompt_tokens, usage!.completion_tokens] as const;

export function openaiClient({ url, model, apiKey }: Address): RespondingClient {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0 });
  const options = { include_usage: true };
  return {
    models: async () => (await client.models.list()).data.map(({ id }) => id),
    async complete(prompt, sampling, streams) {
      const request = { model, prompt, ...fields(sampling) };
      if (!streams) {
        const { choices, usage } = await client.completions.create(request);
        return { text: choices[0]!.text, finishReason: choices[0]!.finish_reason, usage: counts(usage) };
      }
      const read = new StreamReader();
      for await (const chunk of await client.completions.create({
        ...request,
        stream: true,
        stream_options: options,
      })) {
        read.take(chunk.choices[0]?.text, chunk.choices[0]?.finish_reason, chunk.usage);
      }
      return read.answer;
    },
    async chat(messages, sampling, streams) {
      const request = { model, messages: [...messages], ...fields(sampling) };
      if (!streams) {
        const { choices, usage } = await client.chat.completions.create(request);
        return { text: choices[0]!.message.content!, finishReason: choices[0]!.finish_reason, usage: counts(usage) };
      }
      const read = new StreamReader();
      const chunks = await client.chat.completions.create({ ...request, stream: true, stream_options: options });
      for await (const { choices, usage } of chunks) {
        read.take(choices[0]?.delta.content, choices[0]?.finish_reason, usage);
      }
      return read.answer;
    },
    async respond(messages, sampling, streams) {
      const request = { model, ...responseFields(messages, sampling) };
      const answer = streams
        ? await client.responses.stream(request).finalResponse()
        : await client.responses.create(request);
      return { ...answerOf(answer as ResponseDocument), text: answer.output_text };
    },
    failure: (wrong) =>
      client.chat.completions.create({ model: wrong, messages: [...HELLO] }).then(
        () => 200,
        (error: { status: number }) => error.status,
      ),
  };
}

/** What the chunks of a stream come to. */
class StreamReader {
  #text = "";
  #finishReason: string | null = null;
  #usage: Usage | null = null;

  take(
    text: string | null | undefined,
    finishReason: string | null | undefined,
    usage: Usage | null | undefined,
  ): void {
    this.#text += text ?? "";
    this.#finishReason = finishReason ?? this.#finishReason;
    this.#usage = usage ?? this.#usage;
  }

  get answer(): Answer {
    return { text: this.#text, finishReason: this.#finishReason, usage: counts(this.#usage) };
  }
}

export function aiClient({ url, model, apiKey }: Address): Client {
  const provider = createOpenAICompatible({ name: "flashwick", baseURL: `${url}/v1`, apiKey, includeUsage: true });
  const settings = ({ maxTokens, temperature, topP, seed, stop }: Sampling) => ({
    ...{ maxOutputTokens: maxTokens, temperature, seed, maxRetries: 0, allowSystemInMessages: true },
    ...(topP !== undefined && { topP }),
    ...(stop && { stopSequences: [...stop] }),
  });
  const generate = async (
    input: Pick<Parameters<typeof generateText>[0], "model"> & ({ prompt: string } | { messages: Messages }),
    sampling: Sampling,
    streams: boolean,
  ): Promise<Answer> => {
    const call = { ...input, ...settings(sampling) } as Parameters<typeof generateText>[0];
    const result = streams ? streamText(call as Parameters<typeof streamText>[0]) : await generateText(call);
    const { inputTokens, outputTokens } = await result.usage;
    return { text: await result.text, finishReason: await result.finishReason, usage: [inputTokens!, outputTokens!] };
  };
  return {
    // This client has no list of models.
    models: async () => [model],
    complete: (prompt, sampling, streams) =>
      generate({ model: provider.completionModel(model), prompt }, sampling, streams),
    chat: (messages, sampling, streams) => generate({ model: provider.chatModel(model), messages }, sampling, streams),
    failure: (wrong) =>
      generateText({ model: provider.chatModel(wrong), prompt: "Hello", maxRetries: 0 }).then(
        () => 200,
        (error: { statusCode: number }) => error.statusCode,
      ),
  };
}

export function fetchClient({ url, model, apiKey }: Address): RespondingClient {
  const headers = { authorization: `Bearer ${apiKey}`, "content-type": "application/json" };
  const post = (path: string, body: object) =>
    fetch(`${url}${path}`, { method: "POST", headers, body: JSON.stringify(body) });
  const ask = async (path: string, request: object, streams: boolean): Promise<Answer> => {
    if (!streams) {
      const { choices, usage } = (await (await post(path, request)).json()) as Document;
      return { text: textOf(choices[0]!)!, finishReason: choices[0]!.finish_reason, usage: counts(usage) };
    }
    const body = { ...request, stream: true, stream_options: { include_usage: true } };
    const read = new StreamReader();
    for (const chunk of (await readEvents(await post(path, body))) as unknown as readonly Document[]) {
      const [choice] = chunk.choices;
      read.take(choice && textOf(choice), choice?.finish_reason, chunk.usage);
    }
    return read.answer;
  };
  return {
    models: async () => {
      const { data } = (await (await fetch(`${url}/v1/models`, { headers })).json()) as { data: { id: string }[] };
      return data.map(({ id }) => id);
    },
    complete: (prompt, sampling, streams) => ask("/v1/completions", { model, prompt, ...fields(sampling) }, streams),
    chat: (messages, sampling, streams) =>
      ask("/v1/chat/completions", { model, messages, ...fields(sampling) }, streams),
    async respond(messages, sampling, streams) {
      const response = await post("/v1/responses", { model, ...responseFields(messages, sampling), stream: streams });
      if (!streams) return answerOf((await response.json()) as ResponseDocument);
      const events = await readNamedEvents(response);
      const text = events.map(({ delta }) => delta ?? "").join("");
      return { ...answerOf(events.at(-1)!.response as ResponseDocument), text };
    },
    failure: async (wrong) => (await post("/v1/chat/completions", { model: wrong, messages: HELLO })).status,
  };
}

interface Document {
  readonly choices: readonly Choice[];
  readonly usage?: Usage;
}

interface Choice {
  readonly text?: string;
  readonly message?: { readonly content: string | null };
  readonly delta?: { readonly content?: string };
  readonly finish_reason: string | null;
}

function textOf({ text, message, delta }: Choice): string | null | undefined {
  return text ?? message?.content ?? delta?.content;
}
