/**
 * One request at a time: who waits for whom.
 *
 * A request that waits for its caller to take a token is idle. It keeps its turn, since it may go on at any moment; but those behind it do not wait
 * for ever: after a while they are told so.
 */
import { InputError } from "@flashwick/core";

/** A request's turn. */
export interface Turn {
  /** The request hands something to its caller, and does nothing until that comes back. */
  rest(): void;
  /** The caller has come back. @throws The reason of closing, if that was meanwhile. */
  resume(): void;
  /** The turn is kept for an unknown time: requests that wait, or that come before it ends, are refused with this error. */
  occupy(refusal: () => unknown): void;
  /** Safe to call twice. */
  end(): void;
}

interface Waiting {
  readonly admit: () => void;
  readonly refuse: (reason: unknown) => void;
}

export class RequestQueue {
  readonly #closing: AbortSignal;
  /** How long a request may rest while others wait, milliseconds. */
  readonly #patienceMs: number;
  readonly #waiting: Waiting[] = [];
  #busy = false;
  #resting = false;
  /** Why no request may wait; null: waiting makes sense. */
  #refusal: (() => unknown) | null = null;
  /** Who waits for the end of all requests. */
  #whenFree: (() => void)[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param closing When it is aborted, nobody is admitted any more, and a resting request has lost its turn. */
  constructor(closing: AbortSignal, patienceMs: number) {
    this.#closing = closing;
    this.#patienceMs = patienceMs;
    closing.addEventListener("abort", () => {
      if (this.#resting) this.#next();
      else this.#refuseAll(closing.reason);
    });
  }

  /**
   * Waits for the turn.
   *
   * @throws The signal's own reason, or that of closing. {InputError} `INPUT_BUSY` when the request before has rested for too long. The error of
   *   `Turn.occupy`.
   */
  async enter(signal?: AbortSignal): Promise<Turn> {
    signal?.throwIfAborted();
    this.#closing.throwIfAborted();
    if (this.#refusal) throw this.#refusal();
    if (this.#busy) await this.#wait(signal);
    this.#busy = true;
    return this.#turn();
  }

  /** Resolves when no request works any more; a resting one has lost its turn to closing. */
  async ended(): Promise<void> {
    while (this.#busy) await new Promise<void>((resolve) => this.#whenFree.push(resolve));
  }

  #turn(): Turn {
    let ended = false;
    return {
      rest: () => {
        this.#resting = true;
        this.#watch();
      },
      resume: () => {
        this.#resting = false;
        clearTimeout(this.#timer);
        this.#closing.throwIfAborted();
      },
      occupy: (refusal) => {
        this.#refusal = refusal;
        for (const waiting of [...this.#waiting]) waiting.refuse(refusal());
      },
      end: () => {
        if (ended) return;
        ended = true;
        this.#refusal = null;
        this.#next();
      },
    };
  }

  #wait(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        const at = this.#waiting.indexOf(waiting);
        if (at >= 0) this.#waiting.splice(at, 1);
        signal?.removeEventListener("abort", onAbort);
      };
      const onAbort = () => waiting.refuse(signal!.reason);
      const waiting: Waiting = {
        admit: () => {
          leave();
          resolve();
        },
        refuse: (reason) => {
          leave();
          reject(reason);
        },
      };
      signal?.addEventListener("abort", onAbort);
      this.#waiting.push(waiting);
      this.#watch();
    });
  }

  /** While somebody waits for a resting request, its time runs. */
  #watch(): void {
    clearTimeout(this.#timer);
    if (!this.#resting || this.#waiting.length === 0) return;
    this.#timer = setTimeout(() => this.#refuseAll(restsTooLong(this.#patienceMs)), this.#patienceMs);
  }

  #next(): void {
    clearTimeout(this.#timer);
    this.#resting = false;
    this.#busy = false;
    if (this.#closing.aborted) this.#refuseAll(this.#closing.reason);
    const next = this.#waiting[0];
    if (!next) {
      for (const tell of this.#whenFree.splice(0)) tell();
      return;
    }
    // Taken at once, so that nobody slips in before the one that waited.
    this.#busy = true;
    next.admit();
  }

  #refuseAll(reason: unknown): void {
    for (const waiting of [...this.#waiting]) waiting.refuse(reason);
  }
}

function restsTooLong(patienceMs: number): InputError {
  return new InputError(
    "INPUT_BUSY",
    `the model is held by a request whose caller has taken no token for ${patienceMs / 1000} s; read its generator to the end, break out of the ` +
      "loop, or call its return()",
    { details: { patienceMs } },
  );
}
