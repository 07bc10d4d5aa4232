/** Servers that lie: of ranges of a file, and of a hub's listings. */
import { isAbsolute, relative, resolve } from "node:path";
import { httpSource } from "@flashwick/flash-io/http";
import { findModels, openRepository } from "@flashwick/hub";
import { localFiles, localPath } from "@flashwick/hub/node";
import { BrokenPromise, type Harness, jsonBytes, textOf } from "../harness.js";

const MiB = 2 ** 20;
const FILE_BYTES = 100_000;
/** For one input: more than any number of tries needs, and than the pages that a listing may have. */
const MOST_REQUESTS = 1200;
/** What a client may take in: what it asks for, some times over, and the last piece of a body that has no end. */
const MOST_SENT_BYTES = 16 * MiB;

const file = Uint8Array.from({ length: FILE_BYTES }, (_, i) => (i * 7 + (i >> 9)) & 255);

/** Bytes of the input, one after the other: each decides something that the server does. */
class Script {
  #at = 0;
  constructor(private readonly input: Uint8Array) {}

  /** Zero after the end: the server is honest then. */
  next(ways: number): number {
    return (this.input[this.#at++] ?? 0) % ways;
  }
}

/**
 * What has been asked of a server, and what it has got rid of. A client takes what its server throws for a broken network, so what is wrong is noted and
 * told at the end.
 */
class Ledger {
  #requests = 0;
  #sentBytes = 0;
  #fault: BrokenPromise | null = null;

  request(): void {
    if (++this.#requests > MOST_REQUESTS) this.#end("asks without end");
  }

  sent(bytes: number): void {
    this.#sentBytes += bytes;
    if (this.#sentBytes > MOST_SENT_BYTES) this.#end("takes in more than was asked for");
  }

  /** @throws {BrokenPromise} for what was wrong. */
  close(): void {
    if (this.#fault) throw this.#fault;
  }

  #end(what: string): never {
    throw (this.#fault ??= new BrokenPromise(what));
  }
}

const STATUSES = [206, 206, 206, 206, 206, 200, 204, 301, 304, 400, 401, 404, 416, 429, 500, 503];
const ETAGS = ['"one"', '"one"', '"one"', '"one"', '"one"', '"two"', "", null];

function rangeOf(script: Script, begin: number, end: number): string | null {
  switch (script.next(24)) {
    case 1:
      return null;
    case 2:
      return `bytes ${begin}-${end}/*`;
    case 3:
      return `bytes ${begin}-${end}/${"9".repeat(20)}`;
    case 4:
      return `bytes ${begin + 1}-${end + 1}/${FILE_BYTES}`;
    case 5:
      return `bytes 0-7/${FILE_BYTES - 1}`;
    case 6:
      return "bytes -1--1/-1";
    case 7:
      return `bytes 0-7/${10 ** 15}`;
    case 8:
      return "\u00ff";
    default:
      return `bytes ${begin}-${end}/${FILE_BYTES}`;
  }
}

function bodyOf(script: Script, ledger: Ledger, honest: Uint8Array): ReadableStream<Uint8Array> | null {
  const way = script.next(12);
  if (way === 1) return null;
  const pieceBytes = [honest.length || 1, 1000, 7][script.next(3)]!;
  const length = way === 2 ? honest.length >> 1 : way === 3 ? honest.length + 1 : honest.length;
  let at = 0;
  let empty = 0;
  const pull = (controller: ReadableStreamDefaultController<Uint8Array>) => {
    if (way === 4 && at > 0) return controller.error(new Error("cut"));
    if (way === 5 && empty++ < 3) return controller.enqueue(new Uint8Array(0));
    // After what was asked for, more without end.
    const isBeyond = way === 6 && at >= honest.length;
    const piece = isBeyond ? new Uint8Array(MiB) : honest.subarray(at, Math.min(length, at + pieceBytes));
    if (way === 3 && piece.length === 0 && at < length) controller.enqueue(new Uint8Array(length - at));
    at += piece.length;
    ledger.sent(piece.length);
    if (piece.length === 0) controller.close();
    else controller.enqueue(piece);
  };
  return new ReadableStream({ pull }, { highWaterMark: 0 });
}

function lyingFetch(script: Script, ledger: Ledger): typeof fetch {
  const answer = async (
    _: unknown,
    init?: { readonly headers?: Readonly<Record<string, string>> },
  ): Promise<Response> => {
    ledger.request();
    const [, from = 0, to = 0] = (/^bytes=(\d+)-(\d+)$/.exec(init?.headers?.range ?? "") ?? []).map(Number);
    if (script.next(16) === 1) throw new TypeError("fetch failed");
    const status = STATUSES[script.next(STATUSES.length)]!;
    const headers = new Headers();
    const range = rangeOf(script, from, to);
    if (range !== null) headers.set("content-range", range);
    const etag = ETAGS[script.next(ETAGS.length)]!;
    if (etag !== null) headers.set("etag", etag);
    if (script.next(8) === 1)
      headers.set("retry-after", ["0", "-1", "99999999999", "soon", "Thu, 01 Jan 1970 00:00:00 GMT"][script.next(5)]!);
    const bodiless = [204, 301, 304].includes(status);
    return new Response(bodiless ? null : bodyOf(script, ledger, file.subarray(from, to + 1)), { status, headers });
  };
  return answer as unknown as typeof fetch;
}

/**
 * Whether the bytes are the file's: a server that names the right range is believed, and this one does not lie of the bytes in it. What it sends from
 * behind the end of a file that it has said to be longer is nobody's.
 */
function demandSame(bytes: Uint8Array, offset: number): void {
  const expected = file.subarray(offset, offset + bytes.length);
  if (Buffer.compare(bytes.subarray(0, expected.length), expected) !== 0)
    throw new BrokenPromise(`other bytes than the file's at ${offset}`);
}

/** Ranges of a file from a server that breaks off, changes the file, sends too much, too little, or something else. */
export const httpRanges: Harness = {
  name: "http-ranges",
  form: "bytes",
  words: [],
  maxBytes: 128,
  limits: { ms: 1000, growthBytes: 64 * MiB },
  seeds: async () => [new Uint8Array(0), Uint8Array.from({ length: 40 }, (_, i) => i), new Uint8Array(60).fill(6)],
  async read(input) {
    const script = new Script(input);
    const ledger = new Ledger();
    try {
      await readRanges(script, lyingFetch(script, ledger));
    } finally {
      ledger.close();
    }
  },
};

async function readRanges(script: Script, fetch: typeof globalThis.fetch): Promise<void> {
  const source = await httpSource("http://server/model", {
    fetch,
    tries: 3,
    pause: async () => {},
    keptBlocks: script.next(2),
  });
  const bytes = new Uint8Array(script.next(200));
  const offset = script.next(256) * 300;
  await source.read(bytes, offset);
  demandSame(bytes, offset);
  let at = FILE_BYTES - script.next(256) * 100;
  for await (const piece of source.stream(at)) {
    demandSame(piece, at);
    at += piece.length;
    // A file that is said to be longer may be sent without end.
    if (at >= FILE_BYTES) break;
  }
  await source.close();
}

const SHA = "0123456789abcdef0123456789abcdef01234567";
const lfs = (path: string) => ({
  type: "file",
  path,
  size: 9,
  oid: SHA,
  lfs: { oid: "ab".repeat(32), size: 9, pointerSize: 1 },
});
const plain = (path: string) => ({ type: "file", path, size: 9, oid: SHA });
const info = {
  _id: "1",
  id: "o/n",
  sha: SHA,
  private: false,
  gated: false,
  downloads: 1,
  likes: 1,
  lastModified: "2026-01-01T00:00:00Z",
};

const ANSWERS: readonly object[] = [
  { info, pages: [[lfs("a.gguf"), lfs("b-00001-of-00002.gguf"), lfs("b-00002-of-00002.gguf"), plain("README.md")]] },
  { info, pages: [[plain("config.json")], [lfs("model.safetensors"), plain("tokenizer.json")]] },
  { info, pages: [[{ type: "directory", path: "q", size: 0, oid: SHA }, lfs("q/a.gguf"), lfs("q/a.crc32c.gguf")]] },
];

interface HubScript {
  readonly info?: unknown;
  readonly pages?: unknown;
  /** The last page leads to itself. */
  readonly endless?: unknown;
}

function hubFetch({ info: facts, pages, endless }: HubScript, ledger: Ledger): typeof fetch {
  const all = Array.isArray(pages) ? pages : [pages];
  const answer = async (input: unknown): Promise<Response> => {
    ledger.request();
    const url = new URL(input instanceof Request ? input.url : String(input));
    if (!url.pathname.includes("/tree/")) return Response.json(facts ?? null);
    const page = Number(url.searchParams.get("page") ?? 0);
    const headers = new Headers({ "content-type": "application/json" });
    const next = page + 1 < all.length ? page + 1 : endless ? page : null;
    if (next !== null) headers.set("link", `<${url.origin}${url.pathname}?page=${next}>; rel="next"`);
    return new Response(JSON.stringify(all[page] ?? null), { headers });
  };
  return answer as typeof fetch;
}

const FOLDER = resolve("/models/pulled");

function demandInside(path: string): void {
  const inside = relative(FOLDER, resolve(path));
  // A name may begin with two dots.
  if (inside === "" || /^\.\.([/\\]|$)/.test(inside) || isAbsolute(inside)) throw new BrokenPromise(`leads to ${path}`);
}

/** A hub's answers: what a repository has, and where its files would lie here. */
export const hubListing: Harness = {
  name: "hub-listing",
  form: "json",
  words: [
    ...[
      "info",
      "pages",
      "endless",
      "sha",
      "type",
      "file",
      "directory",
      "path",
      "size",
      "oid",
      "lfs",
      "a.gguf",
      "../a.gguf",
      "..\\a.gguf",
      "/etc/passwd.gguf",
    ],
    ...[
      "c:a.gguf",
      "a/../../b.gguf",
      ".",
      "..",
      "../config.json",
      "config.json",
      "model.safetensors",
      "x-00001-of-99999.gguf",
      "\0.gguf",
      "a\nb.gguf",
      ".gguf",
      "a/.gguf",
    ],
  ],
  maxBytes: 64 * 1024,
  // A thousand pages may be asked for.
  limits: { ms: 4000, growthBytes: 64 * MiB },
  seeds: async () => ANSWERS.map(jsonBytes),
  async read(input) {
    const ledger = new Ledger();
    try {
      await listModels(hubFetch(scriptOf(input), ledger));
    } finally {
      ledger.close();
    }
  },
};

async function listModels(fetch: typeof globalThis.fetch): Promise<void> {
  const repository = await openRepository("o/n", { fetch, tries: 2, pause: async () => {} });
  for (const model of findModels(repository, null)) {
    demandInside(localPath(model, FOLDER));
    for (const path of localFiles(model, FOLDER)) demandInside(path);
    for (const one of model.files) new URL(repository.url(one));
  }
}

function scriptOf(input: Uint8Array): HubScript {
  try {
    const script: unknown = JSON.parse(textOf(input));
    return typeof script === "object" && script !== null ? script : {};
  } catch {
    return {};
  }
}
