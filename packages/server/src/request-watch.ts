/** One request from its arrival to the end of its answer: what is counted of it, and told of it, once. */

import type { ServerMetrics } from "./server-metrics.js";
import type { RequestRecord } from "./server-options.js";
import type { TextRun } from "./text-run.js";

/** The client went away before it was answered: nginx's word for it. */
export const CLIENT_GONE = 499;

export interface WatchParts {
  readonly metrics: ServerMetrics;
  readonly onRequest: ((record: RequestRecord) => void) | undefined;
  /** Milliseconds, monotonic. */
  readonly clock: () => number;
  /** Called once, when the request has been answered. */
  readonly onEnd: (watch: RequestWatch) => void;
}

/** Why texts end whose reader has left. */
export class ClientGoneError extends Error {
  constructor() {
    super("the client is gone");
  }
}

export class RequestWatch {
  readonly #parts: WatchParts;
  readonly #method: string;
  readonly #route: string;
  readonly #startMs: number;
  /** Its texts, once they are asked for. */
  run: TextRun | null = null;
  /** Its answer is a stream, whose end is the end of the request. */
  streams = false;
  failure: unknown = null;
  /** Ends its texts. Not made of signals that live longer: those would keep something of every request (Node 20). */
  readonly ending = new AbortController();
  #isDone = false;
  #forget = () => {};

  constructor(parts: WatchParts, method: string, route: string) {
    this.#parts = parts;
    this.#method = method;
    this.#route = route;
    this.#startMs = parts.clock();
  }

  /** Whether nobody reads the answer any more. */
  get isAbandoned(): boolean {
    return this.ending.signal.reason instanceof ClientGoneError;
  }

  /** Ends its texts when the connection breaks. @param signal Of the platform, whose reason may be anything. */
  endWith(signal: AbortSignal): void {
    const onAbort = () => this.ending.abort(new ClientGoneError());
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort);
    // Platforms may keep a signal for long after its request.
    this.#forget = () => signal.removeEventListener("abort", onAbort);
  }

  /** Safe to call twice: the first status counts. */
  end(status: number): void {
    if (this.#isDone) return;
    this.#isDone = true;
    const { metrics, onRequest, clock, onEnd } = this.#parts;
    this.#forget();
    onEnd(this);
    const usage = this.run?.usage ?? null;
    metrics.countRequest(this.#route, status);
    onRequest?.({
      method: this.#method,
      route: this.#route,
      status,
      ms: clock() - this.#startMs,
      promptTokens: usage?.prompt_tokens ?? null,
      tokens: usage?.completion_tokens ?? null,
      failure: this.failure,
    });
  }
}
