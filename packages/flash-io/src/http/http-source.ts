/**
 * A model file on a web server as a ByteSource: range requests, in blocks of a megabyte, a few of which are kept. A header is read in a handful of
 * requests, so that a model can be inspected, planned, and run without being fetched.
 *
 * Invariant: all bytes are of one version of the file. A server that sends another ETag (or date) than the first time ends the source.
 */
import { type ByteSource, FormatError, IoError, truncatedError } from "@flashwick/core";
import { BLOCK_BYTES, BlockCache } from "./block-cache.js";

export interface HttpSourceOptions {
  /** Default: the platform's. */
  readonly fetch?: typeof fetch;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** Tries of each request in all, with pauses of 0.2 s, 0.4 s … between them. Default 4. */
  readonly tries?: number;
  /** Blocks of a megabyte that are kept; 0: every read is a request of its own. Default 4. */
  readonly keptBlocks?: number;
}

/** What a server says of a file. */
export interface HttpFile {
  readonly url: string;
  readonly sizeBytes: number;
  /** `ETag`, or `Last-Modified` where there is none; null: the server gives neither, and a change goes unnoticed. */
  readonly version: string | null;
}

const DEFAULT_TRIES = 4;
const FIRST_PAUSE_MS = 200;

/**
 * Opens a file on a web server.
 *
 * @throws {IoError} `IO_NOT_FOUND` (404), `IO_READ` for other answers and for networks that fail every time. {FormatError} `FORMAT_INVALID` for a
 * server that knows no ranges.
 */
export async function httpSource(
  url: string,
  options: HttpSourceOptions = {},
): Promise<ByteSource & { readonly file: HttpFile }> {
  const requests = new RangeRequests(url, options);
  const file = await requests.open();
  const { keptBlocks = 4 } = options;
  const blocks = new BlockCache(file.sizeBytes, keptBlocks, (offset, size, signal) =>
    requests.read(offset, size, signal),
  );
  return {
    name: url,
    file,
    sizeBytes: file.sizeBytes,
    async read(target, offset, signal) {
      signal?.throwIfAborted();
      const end = offset + target.byteLength;
      if (offset < 0 || end > file.sizeBytes) throw truncatedError(url, offset, target.byteLength, file.sizeBytes);
      if (keptBlocks === 0 || target.byteLength >= BLOCK_BYTES) {
        target.set(await requests.read(offset, target.byteLength, signal));
      } else {
        await blocks.read(target, offset, signal);
      }
    },
    openSibling: (name) => httpSource(siblingUrl(url, name), options),
    async close() {
      blocks.clear();
    },
  };
}

/** The address of another file beside one; what stands behind the path stays. */
function siblingUrl(url: string, name: string): string {
  const end = url.search(/[?#]/);
  const path = end < 0 ? url : url.slice(0, end);
  return path.slice(0, path.lastIndexOf("/") + 1) + encodeURIComponent(name) + url.slice(path.length);
}

/** Requests for ranges of one file, of one version. */
export class RangeRequests {
  readonly #url: string;
  readonly #options: HttpSourceOptions;
  #file: HttpFile | null = null;

  constructor(url: string, options: HttpSourceOptions) {
    this.#url = url;
    this.#options = options;
  }

  /** Asks for the first bytes: size, version, and whether ranges are known. */
  async open(): Promise<HttpFile> {
    // Not for one byte: servers are at large that take an end of 0 for none.
    const response = await this.#request("bytes=0-7", this.#options.signal);
    await response.body?.cancel();
    const total = /^bytes 0-\d+\/(\d+)$/.exec(response.headers.get("content-range") ?? "")?.[1];
    if (response.status !== 206 || total === undefined) {
      const found = `status ${response.status}, content-range ${response.headers.get("content-range") ?? "none"}`;
      throw new FormatError(
        "FORMAT_INVALID",
        `${this.#url}: expected a server that answers range requests (206), found ${found}; use another server, or fetch the file whole`,
        { details: { url: this.#url, status: response.status } },
      );
    }
    this.#file = { url: this.#url, sizeBytes: Number(total), version: versionOf(response) };
    return this.#file;
  }

  /** @throws As {@link httpSource}; {IoError} `IO_FILE_CHANGED` if the file is another one than at first. */
  async read(offset: number, sizeBytes: number, signal: AbortSignal | undefined): Promise<Uint8Array> {
    if (sizeBytes === 0) return new Uint8Array(0);
    return await this.#retry(offset, signal, async () => {
      const response = await this.#request(`bytes=${offset}-${offset + sizeBytes - 1}`, signal);
      const refused =
        this.#changed(response) ?? (response.status === 206 ? null : statusError(this.#url, response.status, offset));
      if (refused) throw await refuse(response, refused);
      const bytes = new Uint8Array(await response.arrayBuffer());
      // A connection that is cut ends a body early, and some platforms say nothing.
      if (bytes.length !== sizeBytes) throw new Error(`${bytes.length} of ${sizeBytes} bytes came`);
      return bytes;
    });
  }

  async #request(range: string, signal: AbortSignal | undefined): Promise<Response> {
    const { fetch: request = fetch, headers } = this.#options;
    return await this.#retry(0, signal, async () => {
      const response = await request(this.#url, {
        headers: { ...headers, range },
        // A cache between could join pieces of two versions.
        cache: "no-store",
        ...(signal ? { signal } : {}),
      });
      const { status } = response;
      if (status >= 500 || status === 429) throw await refuse(response, new Error(`status ${status}`));
      if (status >= 400) throw await refuse(response, statusError(this.#url, status, 0));
      return response;
    });
  }

  /** What to throw if the answer is of another version of the file; null if it is of the same. */
  #changed(response: Response): IoError | null {
    const expected = this.#file?.version ?? null;
    const found = versionOf(response);
    if (expected === null || found === expected) return null;
    return new IoError(
      "IO_FILE_CHANGED",
      `${this.#url}: the file has changed on the server (version ${found}, it was ${expected}); open it again`,
      { details: { url: this.#url, expected, found } },
    );
  }

  /** Tries `work` as often as the options say, unless it fails in a way that trying again does not change. */
  async #retry<T>(offset: number, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    const tries = this.#options.tries ?? DEFAULT_TRIES;
    for (let attempt = 1; ; attempt++) {
      signal?.throwIfAborted();
      try {
        return await work();
      } catch (cause) {
        signal?.throwIfAborted();
        if (isFinal(cause)) throw cause;
        if (attempt >= tries) {
          const message = `${this.#url} @ ${offset}: reading failed ${tries} times (${(cause as Error).message}); check the network`;
          throw new IoError("IO_READ", message, { cause, details: { url: this.#url, offset } });
        }
        await pause(FIRST_PAUSE_MS * 2 ** (attempt - 1), signal);
      }
    }
  }
}

function isFinal(error: unknown): boolean {
  return error instanceof IoError || error instanceof FormatError;
}

/** Lets go of an answer that will not be read, so that its connection does not stay open; `why` is to be thrown. */
async function refuse(response: Response, why: Error): Promise<Error> {
  // The answer is refused either way, and so is one whose connection has broken already.
  await response.body?.cancel().catch(() => {});
  return why;
}

function versionOf({ headers }: Response): string | null {
  return headers.get("etag") ?? headers.get("last-modified");
}

function statusError(url: string, status: number, offset: number): IoError {
  const [code, advice] =
    status === 404 ? (["IO_NOT_FOUND", "check the address"] as const) : (["IO_READ", "check access"] as const);
  return new IoError(code, `${url} @ ${offset}: the server answered ${status}; ${advice}`, {
    details: { url, status, offset },
  });
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
  });
}
