/**
 * Requests to one hub.
 *
 * Invariants:
 * - The token goes to the hub's own origin and nowhere else: `fetch` takes it off when a redirect leads to another one. No message has it.
 * - What the hub refuses for good is a typed error; what may pass (429, 500 and above, a broken connection) is tried again.
 * - Documents are bounded, each and all together: a listing whose pages lead on for ever ends with a typed error.
 */
import { FormatError, InputError, IoError, MiB } from "@flashwick/core";
import { BusyServer, type RetryOptions, retry } from "@flashwick/flash-io/http";

/** Which hub is asked, and how. */
export interface HubOptions extends RetryOptions {
  /** Address of the hub or of a mirror. Default: https://huggingface.co. */
  readonly endpoint?: string | undefined;
  /** For private and gated repositories. Default: none. */
  readonly token?: string | null | undefined;
  /** Default: the platform's. */
  readonly fetch?: typeof fetch | undefined;
}

export interface HubConnection {
  /** Without a slash at its end. */
  readonly endpoint: string;
  /** One try, with the token; throws typed errors for what is refused for good. */
  readonly fetch: typeof fetch;
  /** For documents: tried again as the options say, and answers are all good ones. */
  readonly fetchAnswer: typeof fetch;
  readonly retry: RetryOptions;
}

const DEFAULT_ENDPOINT = "https://huggingface.co";
/** A page of a listing has a thousand files, of some hundred bytes each. */
const MAX_DOCUMENT_BYTES = 32 * MiB;
/** Documents of one connection: the facts of a repository, and the pages of its listing. */
const MAX_DOCUMENTS = 1000;

/** @throws {InputError} `INPUT_INVALID` for an endpoint that is no address, or a token that no header can carry. */
export function connectHub(options: HubOptions = {}): HubConnection {
  const { token = null, signal, tries, pause } = options;
  const endpoint = checkEndpoint(options.endpoint ?? DEFAULT_ENDPOINT);
  if (token !== null && !/^[\x21-\x7e]+$/.test(token)) {
    const message =
      "the hub's token: expected letters, digits and signs without spaces; set HF_TOKEN to it as the hub shows it";
    throw new InputError("INPUT_INVALID", message);
  }
  const once = checkedFetch({ origin: new URL(endpoint).origin, token, signal }, options.fetch ?? fetch);
  const retrying = { signal, ...(tries === undefined ? {} : { tries }), ...(pause === undefined ? {} : { pause }) };
  return { endpoint, fetch: once, fetchAnswer: retryingFetch(once, retrying), retry: retrying };
}

function checkEndpoint(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url && /^https?:$/.test(url.protocol) && url.search === "" && url.hash === "") return text.replace(/\/+$/, "");
  throw new InputError(
    "INPUT_INVALID",
    `${JSON.stringify(text)}: expected the address of a hub, as in ${DEFAULT_ENDPOINT}`,
    { details: { field: "endpoint", found: text } },
  );
}

interface Caller {
  readonly origin: string;
  readonly token: string | null;
  readonly signal: AbortSignal | undefined;
}

function checkedFetch({ origin, token, signal }: Caller, request: typeof fetch): typeof fetch {
  return async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input);
    const headers = new Headers(init?.headers);
    if (token !== null && url.origin === origin) headers.set("authorization", `Bearer ${token}`);
    const stop = init?.signal ?? signal;
    const response = await request(url, { ...init, headers, ...(stop ? { signal: stop } : {}) });
    const refusal = refusalOf(response, url, origin);
    if (refusal === null) return response;
    await response.body?.cancel().catch(() => {});
    throw refusal;
  };
}

function retryingFetch(once: typeof fetch, options: RetryOptions): typeof fetch {
  let documents = 0;
  return async (input, init) => {
    const where = `${input instanceof Request ? input.url : input}`;
    if (++documents > MAX_DOCUMENTS) throw limitError(where, `${MAX_DOCUMENTS} pages`);
    return await retry(where, 0, options, async () => {
      const response = await once(input, init);
      if (response.ok) return await wholeDocument(response, where);
      await response.body?.cancel().catch(() => {});
      throw new BusyServer(response);
    });
  };
}

/** The answer with its body in memory. @throws {FormatError} `FORMAT_LIMIT` for one that is larger than any document of a hub. */
async function wholeDocument(response: Response, where: string): Promise<Response> {
  const { body, status, statusText, headers } = response;
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  let sizeBytes = 0;
  const reader = body?.getReader();
  for (let step = await reader?.read(); step?.done === false; step = await reader?.read()) {
    sizeBytes += step.value.length;
    pieces.push(step.value);
    if (sizeBytes <= MAX_DOCUMENT_BYTES) continue;
    await reader?.cancel().catch(() => {});
    throw limitError(where, `${MAX_DOCUMENT_BYTES} bytes`);
  }
  return new Response(body && new Blob(pieces), { status, statusText, headers });
}

function limitError(where: string, most: string): FormatError {
  const message = `${where}: expected answers of at most ${most}, found more; this is no hub, or a hostile one: check the endpoint`;
  return new FormatError("FORMAT_LIMIT", message, { details: { url: where } });
}

/** Null for an answer that is good, or that another try may change. */
function refusalOf(response: Response, asked: URL, origin: string): Error | null {
  const { status } = response;
  if (status < 400 || status === 429 || status >= 500) return null;
  const answered = response.url === "" ? asked : new URL(response.url);
  // The hub leads to a store of contents by addresses that run out: the next try gets a new one.
  if (answered.origin !== origin) return new Error(`${answered.origin} answered ${status}`);
  const reason = response.headers.get("x-error-code") ?? "";
  const [code, text] = REASONS[reason] ?? STATUSES[status] ?? (["IO_READ", "check the address"] as const);
  const where = `${asked.origin}${asked.pathname}`;
  return new IoError(code, `${where}: the hub answered ${status}: ${text}`, {
    details: { url: where, status, ...(reason === "" ? {} : { reason: reason.slice(0, 64) }) },
  });
}

type Refusal = readonly ["IO_DENIED" | "IO_NOT_FOUND", string];

const NO_REPOSITORY =
  "there is no such repository, or it is private; check its name, or set HF_TOKEN to a token that may read it";

/** By `X-Error-Code`, as huggingface_hub's `hf_raise_for_status` knows them. */
const REASONS: Readonly<Record<string, Refusal>> = {
  RepoNotFound: ["IO_NOT_FOUND", NO_REPOSITORY],
  RevisionNotFound: ["IO_NOT_FOUND", "there is no such revision; check the name of the branch or tag, or the commit"],
  EntryNotFound: ["IO_NOT_FOUND", "there is no such file at this revision; check its name"],
  GatedRepo: [
    "IO_DENIED",
    "the repository is gated; ask for access on its page, and set HF_TOKEN to a token of that account",
  ],
  DisabledRepo: ["IO_DENIED", "the repository is disabled; use another one"],
};

const STATUSES: Readonly<Record<number, Refusal>> = {
  401: ["IO_DENIED", NO_REPOSITORY],
  403: ["IO_DENIED", "the token may not read this; set HF_TOKEN to one that may"],
  404: ["IO_NOT_FOUND", "there is nothing at this address; check repository, revision and file"],
};
