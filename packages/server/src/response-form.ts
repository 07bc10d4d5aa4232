/**
 * Answers of `/v1/responses`: one message with one part of text. A stream opens the response, the message and the part, adds text to the part, and
 * closes all three. https://platform.openai.com/docs/api-reference/responses-streaming
 */
import type { AnswerForm, AnswerHead, AnswerStream, FinishedText, TextPiece, Usage } from "./answer-form.js";
import type { ApiError } from "./api-error.js";
import { serverSentEvent } from "./event-stream.js";
import type { ResponseRequest } from "./response-request.js";
import type { NamedLogprob } from "./token-text.js";

type Status = "in_progress" | "completed" | "incomplete" | "failed";

/** What a response says of itself while it comes, and when it is complete. */
interface ResponseState {
  readonly status: Status;
  readonly output: readonly object[];
  readonly usage: object | null;
  readonly error: object | null;
}

const OPEN: ResponseState = { status: "in_progress", output: [], usage: null, error: null };
/** Of the message among the outputs, and of the text in the message: there is one of each. */
const MESSAGE_PLACE = { output_index: 0 };
const TEXT_PLACE = { ...MESSAGE_PLACE, content_index: 0 };

export function responseForm(request: ResponseRequest): AnswerForm {
  return {
    document: (head, [text], usage) => {
      const status = statusOf(text!.finishReason);
      const output = [messageItem(messageId(head), status, [textPart(text!)])];
      return responseDocument(request, head, { ...OPEN, status, output, usage: countsOf(usage) });
    },
    stream: (head) => new ResponseEvents(request, head),
  };
}

class ResponseEvents implements AnswerStream {
  readonly #request: ResponseRequest;
  readonly #head: AnswerHead;
  readonly #logprobs: NamedLogprob[] = [];
  #text = "";
  #status: Status = "in_progress";
  /** Number of the next event. */
  #next = 0;

  constructor(request: ResponseRequest, head: AnswerHead) {
    this.#request = request;
    this.#head = head;
  }

  opening(): readonly string[] {
    const response = this.#document(OPEN);
    const part = textPart({ text: "", logprobs: [] });
    return [
      this.#event("response.created", { response }),
      this.#event("response.in_progress", { response }),
      this.#event("response.output_item.added", { ...MESSAGE_PLACE, item: this.#message([]) }),
      this.#event("response.content_part.added", { ...this.#place, part }),
    ];
  }

  take(event: Parameters<AnswerStream["take"]>[0]): readonly string[] {
    if ("finishReason" in event) {
      this.#status = statusOf(event.finishReason);
      return [];
    }
    const { text, logprobs } = event.piece;
    this.#text += text;
    this.#logprobs.push(...logprobs);
    return [
      this.#event("response.output_text.delta", { ...this.#place, delta: text, logprobs: logprobs.map(byteList) }),
    ];
  }

  closing(usage: Usage): readonly string[] {
    const part = textPart({ text: this.#text, logprobs: this.#logprobs });
    const item = this.#message([part]);
    const status = this.#status;
    const response = this.#document({ ...OPEN, status, output: [item], usage: countsOf(usage) });
    const { text, logprobs } = part;
    return [
      this.#event("response.output_text.done", { ...this.#place, text, logprobs }),
      this.#event("response.content_part.done", { ...this.#place, part }),
      this.#event("response.output_item.done", { ...MESSAGE_PLACE, item }),
      this.#event(`response.${status}`, { response }),
    ];
  }

  failure({ message }: ApiError): readonly string[] {
    const error = { code: "server_error", message };
    return [this.#event("response.failed", { response: this.#document({ ...OPEN, status: "failed", error }) })];
  }

  get #place(): object {
    return { item_id: messageId(this.#head), ...TEXT_PLACE };
  }

  #message(content: readonly object[]): object {
    return messageItem(messageId(this.#head), this.#status, content);
  }

  #document(state: ResponseState): object {
    return responseDocument(this.#request, this.#head, state);
  }

  #event(type: string, fields: object): string {
    return serverSentEvent(JSON.stringify({ type, sequence_number: this.#next++, ...fields }), type);
  }
}

/** With every setting of the request, as the API says them back. */
function responseDocument(request: ResponseRequest, { id, created, model }: AnswerHead, state: ResponseState): object {
  const { instructions, max_output_tokens, metadata, temperature, top_p, top_logprobs, tool_choice, user } = request;
  const { status, output, usage, error } = state;
  return {
    ...{ id, object: "response", created_at: created, status, background: false, error },
    incomplete_details: status === "incomplete" ? { reason: "max_output_tokens" } : null,
    ...{ instructions: instructions ?? null, max_output_tokens: max_output_tokens ?? null, model, output },
    ...{ parallel_tool_calls: true, previous_response_id: null, reasoning: null, store: false },
    ...{ temperature: temperature ?? 1, top_p: top_p ?? 1, top_logprobs: top_logprobs ?? 0 },
    text: { format: request.text?.format ?? { type: "text" } },
    ...{ tool_choice: tool_choice ?? "auto", tools: [], truncation: "disabled" },
    ...{ usage, user: user ?? null, metadata: metadata ?? {} },
  };
}

function messageItem(id: string, status: Status, content: readonly object[]): object {
  return { id, type: "message", status, role: "assistant", content };
}

/** The message of a response is named after it. */
function messageId({ id }: AnswerHead): string {
  return id.replace("resp_", "msg_");
}

function textPart({ text, logprobs }: TextPiece) {
  return { type: "output_text", text, annotations: [], logprobs: logprobs.map(byteList) };
}

/** Here a token that is no text of its own has no bytes, where the other routes say null. */
function byteList(named: NamedLogprob): object {
  const list = <Token extends { readonly bytes: readonly number[] | null }>(token: Token) => ({
    ...token,
    bytes: token.bytes ?? [],
  });
  return { ...list(named), top_logprobs: named.top_logprobs.map(list) };
}

function statusOf(finishReason: FinishedText["finishReason"]): Status {
  return finishReason === "length" ? "incomplete" : "completed";
}

function countsOf({ prompt_tokens, completion_tokens, total_tokens, prompt_tokens_details }: Usage): object {
  const { cached_tokens } = prompt_tokens_details;
  return {
    input_tokens: prompt_tokens,
    // What was computed stays as a prefix for later requests.
    input_tokens_details: { cached_tokens, cache_write_tokens: prompt_tokens - cached_tokens },
    output_tokens: completion_tokens,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens,
  };
}
