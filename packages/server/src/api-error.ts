/** Failures as clients of OpenAI's API expect them: a status, and `{ error: { message, type, param, code } }`. */
import { type FlashwickError, isFlashwickError } from "@flashwick/core";

/** What an error tells a client. */
export interface ApiErrorFacts {
  readonly status: number;
  /** What was expected, what was found, what to do. It reaches the client, so it names no path and quotes no prompt. */
  readonly message: string;
  readonly code: string;
  /** The field of the request that is at fault. */
  readonly param?: string | null;
  /** When to try again. */
  readonly retryAfterSeconds?: number;
  /** For the operator; it never reaches the client. */
  readonly cause?: unknown;
}

/** The body of every answer that is no success. */
export interface ErrorDocument {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string;
  };
}

/** Why a request fails, in the terms of the client. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  readonly code: string;
  readonly param: string | null;
  readonly retryAfterSeconds: number | null;

  constructor({ status, message, code, param = null, retryAfterSeconds, cause }: ApiErrorFacts) {
    super(message, cause === undefined ? undefined : { cause });
    this.status = status;
    this.code = code;
    this.param = param;
    this.retryAfterSeconds = retryAfterSeconds ?? null;
  }

  /** The error as a client receives it. */
  get document(): ErrorDocument {
    const { message, status, param, code } = this;
    return { error: { message, type: errorType(status), param, code } };
  }

  /** The answer that says so. */
  get response(): Response {
    const headers = new Headers({ "content-type": "application/json" });
    if (this.retryAfterSeconds !== null) headers.set("retry-after", String(Math.ceil(this.retryAfterSeconds)));
    if (this.status === 401) headers.set("www-authenticate", "Bearer");
    return new Response(JSON.stringify(this.document), { status: this.status, headers });
  }
}

/** A request that cannot be met as it stands. */
export function badRequest(message: string, code: string, param: string | null = null): ApiError {
  return new ApiError({ status: 400, message, code, param });
}

/** There is no such thing here. */
export function notFound(message: string, code: string, param: string | null = null): ApiError {
  return new ApiError({ status: 404, message, code, param });
}

/** Clients choose by type whether to try again. */
function errorType(status: number): string {
  if (status === 401) return "authentication_error";
  if (status === 403) return "permission_error";
  if (status === 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

/** Any failure as an {@link ApiError}; what is not the client's business becomes a 500 with the failure as its cause. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  return (isFlashwickError(error) ? fromEngine(error) : null) ?? internalError(error);
}

/**
 * A failure that blames a field, in the words of a route that calls the field otherwise. Any other one is as it was.
 *
 * @param fields The route's name of each field.
 */
export function renamedField(error: unknown, fields: Readonly<Record<string, string>>): unknown {
  const failure = toApiError(error);
  const { status, message, code, param, cause } = failure;
  if (status !== 400 || param === null || fields[param] === undefined) return error;
  return new ApiError({ status, message, code, param: fields[param], cause });
}

/** Messages of the engine name its files, so the client gets our own. Null for what is no fault of a request. */
function fromEngine(error: FlashwickError): ApiError | null {
  const { code, details, message } = error;
  switch (code) {
    case "QUEUE_FULL":
      return queueFull(Number(details.retryAfterSeconds ?? 1), error);
    case "INPUT_CONTEXT_LENGTH":
      return badRequest("the prompt is longer than the context of this model", "context_length_exceeded", "messages");
    case "INPUT_TOKEN_RANGE":
      return badRequest("the prompt has a token id that the vocabulary does not have", "invalid_token", "prompt");
    case "INPUT_CONVERSATION":
      return badRequest(`the chat template refuses the messages: ${details.reason}`, "invalid_messages", "messages");
    case "INPUT_NO_CHAT_TEMPLATE":
      return badRequest("this model has no chat template; use /v1/completions", "no_chat_template", "messages");
    case "FORMAT_LIMIT":
      return badRequest("the conversation is too long for the chat template", "conversation_too_long", "messages");
    case "DISPOSED":
      return new ApiError({ status: 503, message: "the server is ending", code: "ending", cause: message });
    default:
      return null;
  }
}

/** Too many texts wait already. */
export function queueFull(retryAfterSeconds: number, cause?: unknown): ApiError {
  const message = "the queue is full; try again after the seconds that Retry-After names";
  return new ApiError({ status: 429, message, code: "queue_full", retryAfterSeconds, cause });
}

function internalError(cause: unknown): ApiError {
  const message = "the engine failed; the operator of the server can see why";
  return new ApiError({ status: 500, message, code: "internal_error", cause });
}
