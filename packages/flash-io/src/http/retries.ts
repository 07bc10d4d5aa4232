/**
 * Trying again what a network or a busy server has failed: a bounded number of times, with pauses that double, or as long as the server asks.
 * Typed errors are final and are never tried again.
 */
import { IoError, isFlashwickError } from "@flashwick/core";

/** How often, and for how long, a request that failed is tried again. */
export interface RetryOptions {
  /** Tries of each request in all, with pauses of 0.2 s, 0.4 s … between them. Default 4. */
  readonly tries?: number;
  readonly signal?: AbortSignal | undefined;
  /** Waits before the next try; returns early if the signal aborts. Default: a timer. */
  readonly pause?: (ms: number, signal: AbortSignal | undefined) => Promise<void>;
}

const DEFAULT_TRIES = 4;
const FIRST_PAUSE_MS = 200;
/** A server that wants a longer pause ends the work: the user decides when to come back. */
const LONGEST_PAUSE_MS = 60_000;

/** A server that refuses for now: 429, or 500 and above. */
export class BusyServer extends Error {
  override readonly name = "BusyServer";
  readonly status: number;
  /** What its `Retry-After` asks for; null if it does not say. */
  readonly retryAfterMs: number | null;

  constructor({ status, headers }: Response) {
    super(`status ${status}`);
    this.status = status;
    this.retryAfterMs = retryAfterMs(headers.get("retry-after"));
  }
}

/** @param text Seconds, or an HTTP date. RFC 9110, 10.2.3. */
function retryAfterMs(text: string | null): number | null {
  if (text === null) return null;
  const ms = /^\d+$/.test(text) ? 1000 * Number(text) : Date.parse(text) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : null;
}

/** The failures of one piece of work since it last made progress. */
export class Retries {
  readonly #where: string;
  readonly #options: RetryOptions;
  #failures = 0;

  /** @param where What is tried, for messages: an address. */
  constructor(where: string, options: RetryOptions) {
    this.#where = where;
    this.#options = options;
  }

  /** Something arrived: failures are counted anew. */
  reset(): void {
    this.#failures = 0;
  }

  /**
   * Returns when it is time to try again.
   *
   * @param cause  What went wrong.
   * @param offset Where in the file.
   * @throws `cause` if it is a typed error. {IoError} `IO_RATE_LIMIT` or `IO_READ` after the last try. The signal's own reason.
   */
  async awaitNextTry(cause: unknown, offset: number): Promise<void> {
    const { tries = DEFAULT_TRIES, signal, pause = wait } = this.#options;
    signal?.throwIfAborted();
    if (isFlashwickError(cause)) throw cause;
    this.#failures++;
    const asked = cause instanceof BusyServer ? cause.retryAfterMs : null;
    if (this.#failures >= tries || (asked ?? 0) > LONGEST_PAUSE_MS) throw this.#givenUp(cause, offset, asked);
    await pause(asked ?? FIRST_PAUSE_MS * 2 ** (this.#failures - 1), signal);
    signal?.throwIfAborted();
  }

  #givenUp(cause: unknown, offset: number, asked: number | null): IoError {
    const status = cause instanceof BusyServer ? cause.status : null;
    const details = { url: this.#where, offset, ...(status === null ? {} : { status }) };
    if (status === 429) {
      const seconds = asked === null ? null : Math.ceil(asked / 1000);
      const advice = seconds === null ? "wait a few minutes" : `wait ${seconds} s`;
      const message = `${this.#where} @ ${offset}: the server limits requests (429); ${advice}, then try again`;
      return new IoError("IO_RATE_LIMIT", message, { cause, details: { ...details, retryAfterSeconds: seconds } });
    }
    const times = this.#failures === 1 ? "once" : `${this.#failures} times`;
    const message = `${this.#where} @ ${offset}: reading failed ${times} (${reasonOf(cause)}); check the network`;
    return new IoError("IO_READ", message, { cause, details });
  }
}

/** Does `work` until it succeeds, as often as the options allow. @throws A typed error of `work`, at once. {IoError} `IO_RATE_LIMIT`, `IO_READ` after the last try. The signal's reason. */
export async function retry<T>(
  where: string,
  offset: number,
  options: RetryOptions,
  work: () => Promise<T>,
): Promise<T> {
  const retries = new Retries(where, options);
  for (;;) {
    options.signal?.throwIfAborted();
    try {
      return await work();
    } catch (cause) {
      await retries.awaitNextTry(cause, offset);
    }
  }
}

/** `fetch` says no more than "fetch failed"; its cause says why. */
function reasonOf(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  return cause.cause instanceof Error ? `${cause.message}: ${cause.cause.message}` : cause.message;
}

async function wait(ms: number, signal: AbortSignal | undefined): Promise<void> {
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
