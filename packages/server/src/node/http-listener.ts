/** A socket for a function from requests to responses, with limits on what a client may keep waiting. */
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { InputError } from "@flashwick/core";
import { createAdaptorServer, type HttpBindings } from "@hono/node-server";

/** Where a server listens, and its limits. */
export interface ListenOptions {
  /** Default 127.0.0.1: this machine alone. */
  readonly host?: string;
  /** Default 8080; 0: any that is free. */
  readonly port?: number;
  /** Connections at once; one more is closed. Default 512. */
  readonly maxConnections?: number;
  /** For the head of a request to arrive, milliseconds. Default 10,000. */
  readonly headersTimeoutMs?: number;
  /** For the whole of a request to arrive, milliseconds. Default 30,000. */
  readonly requestTimeoutMs?: number;
  /** For another request on a connection, milliseconds. Default 75,000: longer than nginx keeps an idle one to an upstream. */
  readonly idleTimeoutMs?: number;
}

type Fetch = (request: Request, platform: HttpBindings) => Promise<Response>;

export class HttpListener {
  readonly url: string;
  readonly #server: Server;
  #isEnding = false;

  private constructor(server: Server, host: string) {
    this.#server = server;
    const { port } = server.address() as AddressInfo;
    this.url = `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
    server.on("request", (_, response) => {
      // An answered connection stays open for the next request, which does not come any more.
      response.on("close", () => setImmediate(() => this.#isEnding && server.closeIdleConnections()));
    });
  }

  /** @throws {InputError} `INPUT_INVALID` if nothing can listen there. */
  static async listen(fetch: Fetch, options: ListenOptions): Promise<HttpListener> {
    const { host = "127.0.0.1", port = 8080, maxConnections = 512 } = options;
    const { headersTimeoutMs = 10_000, requestTimeoutMs = 30_000, idleTimeoutMs = 75_000 } = options;
    const server = createAdaptorServer({
      fetch: fetch as Parameters<typeof createAdaptorServer>[0]["fetch"],
      overrideGlobalObjects: false,
      serverOptions: {
        headersTimeout: headersTimeoutMs,
        requestTimeout: requestTimeoutMs,
        keepAliveTimeout: idleTimeoutMs,
        connectionsCheckingInterval: Math.min(headersTimeoutMs, requestTimeoutMs, 1000),
      },
    }) as Server;
    server.maxConnections = maxConnections;
    await new Promise<void>((resolve, reject) => {
      server.once("error", (cause: NodeJS.ErrnoException) => reject(cannotListen(host, port, cause)));
      server.listen(port, host, resolve);
    });
    return new HttpListener(server, host);
  }

  /** Takes no more connections, and waits for the answers that are on their way. */
  async end(): Promise<void> {
    this.#isEnding = true;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    await closed;
  }

  /** Breaks every connection. */
  break(): void {
    this.#server.closeAllConnections();
  }
}

/** Breaks the connection of one request. @param platform What `fetch` was given beside it. */
export function breakConnection(platform: unknown): void {
  (platform as Partial<HttpBindings>).outgoing?.destroy();
}

/** The address that a request comes from. @param platform What `fetch` was given beside it. */
export function addressOf(platform: unknown): string {
  return (platform as Partial<HttpBindings>).incoming?.socket.remoteAddress ?? "";
}

function cannotListen(host: string, port: number, cause: NodeJS.ErrnoException): InputError {
  const why = cause.code === "EADDRINUSE" ? "something else listens there" : cause.message;
  return new InputError("INPUT_INVALID", `${host}, port ${port}: ${why}; choose another host or port`, { cause });
}
