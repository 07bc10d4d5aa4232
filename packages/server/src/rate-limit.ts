/** Requests a minute of each client: a bucket that fills steadily and holds one minute's worth. */

/** Clients that are remembered; the one unseen for longest is forgotten first, which only gives it a full bucket again. */
const MAX_CLIENTS = 10_000;

interface Bucket {
  tokens: number;
  atMs: number;
}

export class RateLimit {
  readonly #perMinute: number;
  readonly #clock: () => number;
  readonly #buckets = new Map<string, Bucket>();

  /** @param clock Milliseconds, monotonic. */
  constructor(perMinute: number, clock: () => number) {
    this.#perMinute = perMinute;
    this.#clock = clock;
  }

  /** Takes one request of `client`. @returns 0 if it may pass, else the seconds until the next one may. */
  take(client: string): number {
    const bucket = this.#fill(client);
    if (bucket.tokens >= 1) {
      bucket.tokens--;
      return 0;
    }
    return ((1 - bucket.tokens) * 60) / this.#perMinute;
  }

  #fill(client: string): Bucket {
    const nowMs = this.#clock();
    const before = this.#buckets.get(client) ?? { tokens: this.#perMinute, atMs: nowMs };
    const gained = ((nowMs - before.atMs) * this.#perMinute) / 60_000;
    const bucket = { tokens: Math.min(this.#perMinute, before.tokens + gained), atMs: nowMs };
    // Written last again: a map keeps the order in which its keys came.
    this.#buckets.delete(client);
    this.#buckets.set(client, bucket);
    if (this.#buckets.size > MAX_CLIENTS) this.#buckets.delete(this.#buckets.keys().next().value!);
    return bucket;
  }
}
