/**
 * A small web server for tests: pages and bundles from memory, files from disk with ranges and ETags, and on demand the misfortunes of the world:
 * connections that are cut, files that change, answers that do not come.
 */
import { createReadStream, statSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface Site {
  readonly origin: string;
  /** Sent with every page: without, nothing is cross-origin isolated. */
  isolated: boolean;
  /** After so many bytes of files every connection is cut; Infinity: never. */
  cutAfterBytes: number;
  /** Joined to every ETag: a change is a new version of all files. */
  version: string;
  /** A page, a script. */
  serve(path: string, type: string, body: string | Uint8Array): void;
  /** A file on disk, by range. */
  serveFile(path: string, file: string): void;
  /** Answers nothing at this path until the function that is returned has been called. */
  hold(path: string): () => void;
  close(): Promise<void>;
}

export async function openSite(): Promise<Site> {
  const bodies = new Map<string, { readonly type: string; readonly body: string | Uint8Array }>();
  const files = new Map<string, string>();
  const held = new Map<string, Promise<void>>();
  let sent = 0;
  const server: Server = createServer(async (request, response) => {
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    await held.get(path);
    const file = files.get(path);
    if (site.isolated) {
      response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
      response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
    }
    if (file !== undefined) return sendFile(file, request, response);
    const found = bodies.get(path);
    if (!found) return void response.writeHead(404).end();
    response.writeHead(200, { "content-type": found.type }).end(found.body);
  });

  function sendFile(file: string, { headers }: IncomingMessage, response: ServerResponse): void {
    const { size, mtimeMs } = statSync(file);
    const range = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? "");
    const from = range ? Number(range[1]) : 0;
    const to = range?.[2] ? Math.min(Number(range[2]), size - 1) : size - 1;
    response.writeHead(range ? 206 : 200, {
      "content-type": "application/octet-stream",
      "content-length": to - from + 1,
      "accept-ranges": "bytes",
      etag: `"${size}-${mtimeMs}-${site.version}"`,
      ...(range ? { "content-range": `bytes ${from}-${to}/${size}` } : {}),
    });
    // Counted from when cutting was asked for.
    if (site.cutAfterBytes === Number.POSITIVE_INFINITY) sent = 0;
    const left = site.cutAfterBytes - sent;
    if (site.cutAfterBytes < Number.POSITIVE_INFINITY) sent += to - from + 1;
    if (to - from + 1 <= left) return void createReadStream(file, { start: from, end: to }).pipe(response);
    if (left <= 0) return void response.destroy();
    createReadStream(file, { start: from, end: from + left - 1 })
      .on("end", () => response.destroy())
      .pipe(response, { end: false });
  }

  const site: Site = {
    origin: "",
    isolated: true,
    cutAfterBytes: Number.POSITIVE_INFINITY,
    version: "1",
    serve: (path, type, body) => void bodies.set(path, { type, body }),
    serveFile: (path, file) => void files.set(path, file),
    hold: (path) => {
      let release = () => {};
      held.set(path, new Promise((resolve) => (release = resolve)));
      return release;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return Object.assign(site, { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
}
