/**
 * A model file on a web server as a ByteSource: range requests, in blocks of a megabyte, a few of which are kept. A header is read in a handful of
 * requests, so that a model can be inspected, planned, and run without being fetched.
 *
 * Invariants: all bytes are of one version of the file: a server that sends another ETag (or date) than the first time, or another size, ends the
 * source. Every answer says that it begins where it was asked to, and of an answer no more is taken in than was asked for, whatever the server sends.
 */
import { type ByteSource, FormatError, IoError, truncatedError } from "@flashwick/core";
import { BLOCK_BYTES, BlockCache } from "./block-cache.js";
import { BusyServer, Retries, type RetryOptions, retry } from "./retries.js";

/** How a source asks a web server. */
export interface HttpSourceOptions extends RetryOptions {
  /** Default: the platform's. */
  readonly fetch?: typeof fetch;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
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

/** An open file on a web server. */
export interface HttpSource extends ByteSource {
  readonly file: HttpFile;
  /**
   * The bytes from `offset` to the end, in pieces as they arrive. A connection that breaks is made anew from the byte that was
   * reached; tries are counted from the last byte that arrived.
   *
   * @throws As `read`; {IoError} `IO_FILE_CHANGED` if the file is another one than when it was opened.
   */
  stream(offset: number, signal?: AbortSignal): AsyncGenerator<Uint8Array, void, void>;
}

/**
 * Opens a file on a web server.
 *
 * @throws {IoError} `IO_NOT_FOUND` (404), `IO_DENIED` (401, 403), `IO_RATE_LIMIT` (429 every time), `IO_READ` for other answers and for networks that
 * fail every time. {FormatError} `FORMAT_INVALID` for a server that knows no ranges, or no size that an offset can have.
 */
export async function httpSource(url: string, options: HttpSourceOptions = {}): Promise<HttpSource> {
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
    stream: (offset, signal) => requests.stream(offset, signal),
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
    const sizeBytes = Number(total);
    if (response.status !== 206 || !Number.isSafeInteger(sizeBytes)) {
      const found = `status ${response.status}, content-range ${response.headers.get("content-range") ?? "none"}`;
      throw new FormatError(
        "FORMAT_INVALID",
        `${this.#url}: expected a server that answers range requests (206), found ${found}; use another server, or fetch the file whole`,
        { details: { url: this.#url, status: response.status } },
      );
    }
    this.#file = { url: this.#url, sizeBytes, version: versionOf(response) };
    return this.#file;
  }

  /** @throws As {@link httpSource}; {IoError} `IO_FILE_CHANGED` if the file is another one than at first. */
  async read(offset: number, sizeBytes: number, signal: AbortSignal | undefined): Promise<Uint8Array> {
    if (sizeBytes === 0) return new Uint8Array(0);
    return await retry(this.#url, offset, { ...this.#options, signal }, async () => {
      const { body } = await this.#range(offset, offset + sizeBytes, signal);
      const bytes = new Uint8Array(sizeBytes);
      let at = 0;
      // One byte more than was asked for is enough to know that the server sends something else: its answer may have no end.
      for await (const piece of piecesOf(body!, sizeBytes + 1)) {
        if (at + piece.length > sizeBytes) throw new Error(`more than the ${sizeBytes} bytes that were asked for came`);
        bytes.set(piece, at);
        at += piece.length;
      }
      // A connection that is cut ends a body early, and some platforms say nothing.
      if (at !== sizeBytes) throw new Error(`${at} of ${sizeBytes} bytes came`);
      return bytes;
    });
  }

  /** @throws As {@link HttpSource.stream}. */
  async *stream(offset: number, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array, void, void> {
    const { sizeBytes } = this.#file!;
    const retries = new Retries(this.#url, { ...this.#options, signal });
    for (let at = offset; at < sizeBytes; ) {
      try {
        const { body } = await this.#range(at, sizeBytes, signal);
        for await (const piece of piecesOf(body!, sizeBytes - at)) {
          // Else a server that sends nothing, again and again, would be asked for ever.
          if (piece.length === 0) continue;
          at += piece.length;
          retries.reset();
          yield piece;
        }
        if (at < sizeBytes) throw new Error(`the answer ended ${sizeBytes - at} bytes early`);
      } catch (cause) {
        await retries.awaitNextTry(cause, at);
      }
    }
  }

  /** The answer to a request for the bytes from `begin` to `end`, of this version of the file, its body not yet read. */
  async #range(begin: number, end: number, signal: AbortSignal | undefined): Promise<Response> {
    const response = await this.#request(`bytes=${begin}-${end - 1}`, signal);
    const refused =
      this.#changed(response) ??
      (response.status === 206 ? this.#misplaced(response, begin) : statusError(this.#url, response.status, begin));
    if (refused) throw await refuse(response, refused);
    return response;
  }

  /** What to throw if the answer is another part of the file than was asked for, or of a file of another size; null if it is neither. */
  #misplaced({ headers }: Response, begin: number): Error | null {
    const found = headers.get("content-range") ?? "none";
    const [, from, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(found) ?? [];
    // Another try may be answered by another server, or without the cache between.
    if (Number(from) !== begin) return new Error(`expected bytes from ${begin} on, found content-range ${found}`);
    const expected = this.#file?.sizeBytes ?? null;
    if (total === "*" || expected === null || Number(total) === expected) return null;
    return this.#changedError(`${total} bytes`, `${expected} bytes`);
  }

  async #request(range: string, signal: AbortSignal | undefined): Promise<Response> {
    const { fetch: request = fetch, headers } = this.#options;
    return await retry(this.#url, 0, { ...this.#options, signal }, async () => {
      const response = await request(this.#url, {
        headers: { ...headers, range },
        // A cache between could join pieces of two versions.
        cache: "no-store",
        ...(signal ? { signal } : {}),
      });
      const { status } = response;
      if (status >= 500 || status === 429) throw await refuse(response, new BusyServer(response));
      if (status >= 400) throw await refuse(response, this.#cutShort(response) ?? statusError(this.#url, status, 0));
      return response;
    });
  }

  /** What to throw if the answer is of another version of the file; null if it is of the same. */
  #changed(response: Response): IoError | null {
    const expected = this.#file?.version ?? null;
    const found = versionOf(response);
    if (expected === null || found === expected) return null;
    return this.#changedError(`version ${found}`, expected);
  }

  /** What to throw if the file has nothing where it once had bytes: only those are asked for. Null for any other answer, and before it is open. */
  #cutShort({ status, headers }: Response): IoError | null {
    if (status !== 416 || this.#file === null) return null;
    const sizeBytes = /^bytes \*\/(\d+)$/.exec(headers.get("content-range") ?? "")?.[1];
    return this.#changedError(sizeBytes ? `${sizeBytes} bytes` : "status 416", `${this.#file.sizeBytes} bytes`);
  }

  #changedError(found: string, expected: string): IoError {
    return new IoError(
      "IO_FILE_CHANGED",
      `${this.#url}: the file has changed on the server (${found}, it was ${expected}); open it again`,
      { details: { url: this.#url, expected, found } },
    );
  }
}

/** A body's pieces, `most` bytes at most: what a server sends beyond the range that was asked for is dropped. */
async function* piecesOf(body: ReadableStream<Uint8Array>, most: number): AsyncGenerator<Uint8Array, void, void> {
  const reader = body.getReader();
  try {
    for (let left = most; left > 0; ) {
      const { done, value } = await reader.read();
      if (done) return;
      const piece = value.length > left ? value.subarray(0, left) : value;
      left -= piece.length;
      yield piece;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
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

const STATUS_ERRORS = {
  401: ["IO_DENIED", "give credentials that may read it"],
  403: ["IO_DENIED", "give credentials that may read it"],
  404: ["IO_NOT_FOUND", "check the address"],
} as const;

function statusError(url: string, status: number, offset: number): IoError {
  const [code, advice] = STATUS_ERRORS[status as keyof typeof STATUS_ERRORS] ?? ["IO_READ", "check access"];
  return new IoError(code, `${url} @ ${offset}: the server answered ${status}; ${advice}`, {
    details: { url, status, offset },
  });
}
