/** How a server is told to work. */

/** Limits, keys and clocks of a server. */
export interface ServerOptions {
  /** Who may ask: `Authorization: Bearer <key>`. Default: anybody who reaches the server. */
  readonly apiKeys?: readonly string[];
  /**
   * Answer only requests that name this machine (`localhost`, `127.0.0.1`, `[::1]`) in their `Host` header, so that pages of other origins cannot come by a
   * name of their own. Default: true without keys, false with keys.
   */
  readonly loopbackOnly?: boolean;
  /** Requests for texts that a client may make in a minute. Default: no limit. */
  readonly requestsPerMinute?: number;
  /** Largest body of a request, bytes. Default 1 MiB. */
  readonly maxBodyBytes?: number;
  /** Labels metrics and answers (`x-replica-id`), where several servers share a load. Default: none. */
  readonly replicaId?: string;
  /** A comment keeps a stream alive where no token comes for so long, milliseconds. Default 15,000. */
  readonly pingMs?: number;
  /** How long the reader of a stream may take nothing, milliseconds. Default 60,000. */
  readonly stallMs?: number;
  /** Hears of every request when it has been answered. It is told nothing of prompts, answers and keys. */
  readonly onRequest?: (record: RequestRecord) => void;
  /** Who a client is, for the rate: from what the platform hands to `fetch` beside the request. Default: all are one. */
  readonly clientOf?: (platform: unknown) => string;
  /** Breaks the connection of a client that has stopped reading. Default: its stream fails. */
  readonly disconnect?: (platform: unknown) => void;
}

/** A request that has been answered. */
export interface RequestRecord {
  readonly method: string;
  /** As it is declared, never as it was asked for; `*` for any other. */
  readonly route: string;
  /** 499: the client went away first. */
  readonly status: number;
  readonly ms: number;
  /** Null where no text was generated. */
  readonly promptTokens: number | null;
  readonly tokens: number | null;
  /** Why the engine failed, of a status from 500. */
  readonly failure: unknown;
}

export const DEFAULTS = { maxBodyBytes: 2 ** 20, pingMs: 15_000, stallMs: 60_000 } as const;
