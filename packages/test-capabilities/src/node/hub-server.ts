/**
 * A hub on this machine, for tests: the parts of the Hugging Face hub's protocol that fetching a model takes. Repositories at commits, listings in pages,
 * contents behind a redirect to a second server (the store), ranges, ETags; and the ways in which all of that goes wrong.
 */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface ServedFile {
  readonly bytes: Uint8Array;
  /** Whether it lies in the store, under its SHA-256. Default: for `.gguf`, `.safetensors` and `.bin`. */
  readonly lfs?: boolean;
}

export interface ServedRepository {
  /** Commit of every revision, by name. */
  readonly revisions: Readonly<Record<string, string>>;
  /** The same at every commit. */
  readonly files: ReadonlyMap<string, ServedFile>;
  /** Only with this token, and as if it were not there without. */
  readonly token?: string;
  /** Listed for everybody; its files are for nobody. */
  readonly gated?: boolean;
}

/** What goes wrong; everything may be changed while the server runs. */
export interface HubFaults {
  /** Statuses of the next answers, of the hub or of the store; 0: the connection is closed without one. */
  hub: number[];
  store: number[];
  /** `Retry-After` of those. */
  retryAfter: string | null;
  /** After `passes` whole bodies of the store, the next `holds` ones stop after `heldAfter` bytes, until `breakHeld`. The first few bytes do not count. */
  passes: number;
  holds: number;
  heldAfter: number;
  /** ETag of the store's answers; null: the content's own. */
  etag: string | null;
  /** Changes the bytes that the store sends. */
  damage: ((bytes: Uint8Array) => Uint8Array) | null;
  /** Added to the size that the store tells. */
  sizeOff: number;
}

export interface SeenRequest {
  readonly server: "hub" | "store";
  readonly path: string;
  readonly authorization: string | null;
  readonly range: string | null;
}

export interface HubServer {
  readonly endpoint: string;
  readonly store: string;
  readonly repositories: Map<string, ServedRepository>;
  readonly faults: HubFaults;
  readonly seen: SeenRequest[];
  /** Closes the connections whose bodies are held back, as a network that breaks. @returns How many there were. */
  breakHeld(): number;
  /** No faults, and nothing seen. */
  reset(): void;
  close(): Promise<void>;
}

/** Entries of a listing's page: few, so that there are several. */
const PAGE_ENTRIES = 3;
const STORED = /\.(gguf|safetensors|bin)$/;
const NO_FAULTS = {
  hub: [],
  store: [],
  retryAfter: null,
  passes: 0,
  holds: 0,
  heldAfter: 0,
  etag: null,
  damage: null,
  sizeOff: 0,
};

export async function startHub(): Promise<HubServer> {
  const hub = new TestHub();
  await hub.listen();
  return hub;
}

class TestHub implements HubServer {
  readonly repositories = new Map<string, ServedRepository>();
  readonly faults: HubFaults = { ...NO_FAULTS, hub: [], store: [] };
  readonly seen: SeenRequest[] = [];
  endpoint = "";
  store = "";
  readonly #hub: Server;
  readonly #store: Server;
  readonly #held: ServerResponse[] = [];

  constructor() {
    this.#hub = createServer((request, response) => this.#answer("hub", request, response));
    this.#store = createServer((request, response) => this.#answer("store", request, response));
  }

  async listen(): Promise<void> {
    this.endpoint = await listenOn(this.#hub);
    this.store = await listenOn(this.#store);
  }

  breakHeld(): number {
    const held = this.#held.splice(0);
    for (const response of held) response.destroy();
    return held.length;
  }

  reset(): void {
    this.breakHeld();
    Object.assign(this.faults, { ...NO_FAULTS, hub: [], store: [] });
    this.seen.length = 0;
  }

  async close(): Promise<void> {
    for (const server of [this.#hub, this.#store]) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  #answer(server: SeenRequest["server"], request: IncomingMessage, response: ServerResponse): void {
    const path = decodeURIComponent(request.url ?? "/");
    const { authorization = null, range = null } = request.headers;
    allowPages(request, response);
    if (request.method === "OPTIONS") {
      response.writeHead(204).end();
      return;
    }
    this.seen.push({ server, path, authorization, range });
    const fault = this.faults[server].shift();
    if (fault === 0) request.socket.destroy();
    else if (fault !== undefined) this.#refuse(response, fault);
    else if (server === "store") this.#sendBlob(path, range, response);
    else this.#answerHub(path, authorization, range, response);
  }

  #refuse(response: ServerResponse, status: number): void {
    const { retryAfter } = this.faults;
    response.writeHead(status, retryAfter === null ? {} : { "retry-after": retryAfter }).end("busy");
  }

  #answerHub(path: string, authorization: string | null, range: string | null, response: ServerResponse): void {
    const info = /^\/api\/models\/(.+?)\/revision\/([^?]+)\?/.exec(path);
    const tree = /^\/api\/models\/(.+?)\/tree\/([^?/]+)\?(.*)$/.exec(path);
    const file = /^\/(.+?)\/resolve\/([^/]+)\/(.+)$/.exec(path);
    const [, name = "", revision = "", rest = ""] = info ?? tree ?? file ?? [];
    const repository = this.repositories.get(name);
    const isHidden = repository?.token !== undefined && authorization !== `Bearer ${repository.token}`;
    const commit = repository && commitOf(repository, revision);
    if (!repository || isHidden) sendError(response, 401, "RepoNotFound");
    else if (commit === undefined) sendError(response, 404, "RevisionNotFound");
    else if (info) sendJson(response, { _id: "0", id: name, sha: commit, private: false, lastModified: "2026-01-01" });
    else if (tree) this.#sendTree(repository, path, new URLSearchParams(rest), response);
    else this.#sendFile(repository, rest, range, response);
  }

  #sendFile({ gated, files }: ServedRepository, path: string, range: string | null, response: ServerResponse): void {
    const served = files.get(path);
    if (gated) sendError(response, 403, "GatedRepo");
    else if (!served) sendError(response, 404, "EntryNotFound");
    else if (!isStored(path, served)) sendRange(response, served.bytes, range, `"${gitSha1(served.bytes)}"`);
    else {
      const location = `${this.store}/${sha256(served.bytes)}?signature=secret`;
      response.writeHead(302, { location, "x-linked-size": served.bytes.length }).end();
    }
  }

  #sendTree({ files }: ServedRepository, path: string, query: URLSearchParams, response: ServerResponse): void {
    const from = Number(query.get("cursor") ?? 0);
    const entries = [...files].map(([name, served]) => treeEntry(name, served));
    if (from + PAGE_ENTRIES < entries.length) {
      const next = `${this.endpoint}${path.replace(/&cursor=\d+$/, "")}&cursor=${from + PAGE_ENTRIES}`;
      response.setHeader("link", `<${next}>; rel="next"`);
    }
    sendJson(response, entries.slice(from, from + PAGE_ENTRIES));
  }

  #sendBlob(path: string, range: string | null, response: ServerResponse): void {
    const { etag, damage, sizeOff, heldAfter } = this.faults;
    const name = path.slice(1).split("?")[0]!;
    const bytes = this.#blob(name);
    if (!bytes) {
      response.writeHead(404).end();
      return;
    }
    const isHeld = range !== "bytes=0-7" && this.#isHeld();
    if (isHeld) this.#held.push(response);
    const how = { most: isHeld ? heldAfter : null, sizeOff };
    sendRange(response, damage?.(bytes) ?? bytes, range, etag ?? `"${name}"`, how);
  }

  #isHeld(): boolean {
    const { faults } = this;
    if (faults.passes > 0) faults.passes--;
    else if (faults.holds > 0) return faults.holds-- > 0;
    return false;
  }

  #blob(name: string): Uint8Array | undefined {
    for (const { files } of this.repositories.values()) {
      for (const { bytes } of files.values()) if (sha256(bytes) === name) return bytes;
    }
    return undefined;
  }
}

/** Of a branch or tag, or of a commit that it has. */
function commitOf({ revisions }: ServedRepository, revision: string): string | undefined {
  return Object.values(revisions).find((commit) => commit === revision) ?? revisions[revision];
}

async function listenOn(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** As the hub does: pages of every site may read, and see what they need to know. */
function allowPages({ headers }: IncomingMessage, response: ServerResponse): void {
  response.setHeader("access-control-allow-origin", headers.origin ?? "*");
  response.setHeader("access-control-allow-headers", "authorization, range, accept");
  response.setHeader(
    "access-control-expose-headers",
    "etag, link, content-range, accept-ranges, x-error-code, retry-after",
  );
}

function treeEntry(path: string, served: ServedFile) {
  const { bytes } = served;
  if (!isStored(path, served)) return { type: "file", oid: gitSha1(bytes), size: bytes.length, path };
  const lfs = { oid: sha256(bytes), size: bytes.length, pointerSize: 134 };
  return {
    type: "file",
    oid: gitSha1(new TextEncoder().encode(`pointer to ${lfs.oid}`)),
    size: bytes.length,
    path,
    lfs,
  };
}

function isStored(path: string, { lfs = STORED.test(path) }: ServedFile): boolean {
  return lfs;
}

function sendJson(response: ServerResponse, document: unknown): void {
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(document));
}

function sendError(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { "x-error-code": code, "content-type": "application/json" }).end(`{"error":"${code}"}`);
}

function sendRange(
  response: ServerResponse,
  bytes: Uint8Array,
  range: string | null,
  etag: string,
  { most = null, sizeOff = 0 }: { readonly most?: number | null; readonly sizeOff?: number } = {},
): void {
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(range ?? "") ?? [];
  if (first === undefined) {
    response.writeHead(200, { etag }).end(bytes);
    return;
  }
  const from = Number(first);
  const part = bytes.subarray(from, Number(last) + 1);
  response.writeHead(206, {
    etag,
    "content-range": `bytes ${from}-${from + part.length - 1}/${bytes.length + sizeOff}`,
    "content-length": part.length,
  });
  if (most === null) response.end(part);
  else response.write(part.subarray(0, most));
}

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Git's name of a file's content. */
export function gitSha1(bytes: Uint8Array): string {
  return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}
