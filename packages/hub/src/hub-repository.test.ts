/** Repositories of a hub on this machine: what is listed and pinned, who sees the token, and what is said of each refusal. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { openModelFile } from "@flashwick/flash-format";
import { readCheckpointConfig } from "@flashwick/flash-format/convert";
import { gitSha1, type HubServer, sha256, startHub } from "@flashwick/test-capabilities/hub-server";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { hubFolder } from "./hub-folder.js";
import { findModels } from "./hub-models.js";
import { type OpenRepositoryOptions, openRepository } from "./hub-repository.js";

const fixture = (path: string) => readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)));
const gguf = fixture("runtime/fixtures/gguf/qwen2.gguf");
const config = fixture("flash-format/fixtures/opt-tiny-sharded/config.json");
const [first, second] = ["1".repeat(40), "2".repeat(40)];
const TOKEN = "hf_very-secret";

let hub: HubServer;
beforeAll(async () => {
  hub = await startHub();
  const files = new Map([
    ["README.md", { bytes: new TextEncoder().encode("# words") }],
    ["qwen 2.gguf", { bytes: gguf }],
    ["opt/config.json", { bytes: config }],
    ["opt/model.safetensors", { bytes: new Uint8Array(100) }],
    ["opt/tokenizer.json", { bytes: new TextEncoder().encode("{}") }],
  ]);
  const revisions = { main: first!, "a/branch": second! };
  hub.repositories.set("owner/name", { revisions, files });
  hub.repositories.set("owner/private", { revisions, files, token: TOKEN });
  hub.repositories.set("owner/gated", { revisions, files, gated: true });
});
afterAll(() => hub.close());
beforeEach(() => hub.reset());

const pauses: number[] = [];
const open = (name = "owner/name", options: OpenRepositoryOptions = {}) =>
  openRepository(name, { endpoint: hub.endpoint, pause: async (ms) => void pauses.push(ms), ...options });
const refusal = (promise: Promise<unknown>) =>
  promise.then(
    () => expect.fail("nothing was thrown"),
    (error: unknown) => error as Error & { code: string; details: Record<string, unknown> },
  );

describe("a repository", () => {
  it("is listed whole, page by page, at the commit of its branch", async () => {
    const repository = await open();
    expect(repository.commit).toBe(first);
    expect(repository.files).toContainEqual({
      path: "qwen 2.gguf",
      sizeBytes: gguf.length,
      content: { kind: "sha256", hex: sha256(gguf) },
    });
    expect(repository.files).toContainEqual({
      path: "opt/config.json",
      sizeBytes: config.length,
      content: { kind: "git-sha1", hex: gitSha1(config) },
    });
    expect(repository.files).toHaveLength(5);
    expect(hub.seen.filter(({ path }) => path.includes("/tree/")).map(({ path }) => path.includes(first!))).toEqual([
      true,
      true,
    ]);
  });

  it.each(["a/branch", second!])("is that of revision %s", async (revision) => {
    expect((await open("owner/name", { revision })).commit).toBe(second);
  });

  it("gives a model's header for few bytes, through the redirect to the store", async () => {
    const repository = await open();
    const [model] = findModels(repository, "qwen 2.gguf");
    const { header } = await openModelFile(await repository.open(model!.files[0]!));
    expect(header.geometry.architecture).toBe("qwen2");
    const fetched = hub.seen.filter(({ server, range }) => server === "store" && range !== "bytes=0-7");
    expect(fetched).toHaveLength(1);
  });

  it("gives a checkpoint's configuration as a folder would", async () => {
    const repository = await open();
    const [model] = findModels(repository, "opt");
    const { geometry } = await readCheckpointConfig(hubFolder(repository, model!));
    expect(geometry.architecture).toBe("opt");
  });
});

describe("the token", () => {
  it("goes to the hub with every request, and never to the store", async () => {
    const repository = await open("owner/private", { token: TOKEN });
    const source = await repository.open(repository.files.find(({ path }) => path.endsWith(".gguf"))!);
    const bytes = new Uint8Array(100);
    await source.read(bytes, 50);
    expect(bytes).toEqual(new Uint8Array(gguf.subarray(50, 150)));
    const by = (server: string) =>
      new Set(hub.seen.filter((seen) => seen.server === server).map((seen) => seen.authorization));
    expect(by("hub")).toEqual(new Set([`Bearer ${TOKEN}`]));
    expect(by("store")).toEqual(new Set([null]));
  });

  it("does not go to another hub that a page of the listing names", async () => {
    const repository = { type: "file", path: "x", size: 1, oid: first };
    const seen: (string | null)[] = [];
    const twoHubs = (async (url: URL, { headers }: { headers: Headers }) => {
      seen.push(`${url.origin} ${headers.get("authorization")}`);
      const link = { link: `<http://elsewhere/next>; rel="next"` };
      return Response.json([repository], { headers: url.origin === "http://hub" ? link : {} });
    }) as unknown as typeof fetch;
    await openRepository("a/b", { endpoint: "http://hub", token: TOKEN, revision: first, fetch: twoHubs });
    expect(seen).toEqual([`http://hub Bearer ${TOKEN}`, "http://elsewhere null"]);
  });

  it.each(["two words", "line\nbreak", "ü"])(
    "is refused where no header can carry it, and not repeated: %j",
    async (token) => {
      const error = await refusal(open("owner/name", { token }));
      expect(error.code).toBe("INPUT_INVALID");
      expect(error.message).not.toContain(token);
    },
  );

  it("is in no message", async () => {
    const error = await refusal(open("owner/absent", { token: TOKEN }));
    expect(JSON.stringify([error.message, error.details, error.stack])).not.toContain(TOKEN);
  });
});

describe("what is refused", () => {
  const file = async (name: string, options: OpenRepositoryOptions = {}) => {
    const repository = await open(name, options);
    return await repository.open(repository.files.find(({ path }) => path.endsWith(".gguf"))!);
  };

  it.each([
    [
      "a repository that is not there",
      () => open("owner/absent"),
      "IO_NOT_FOUND",
      /no such repository, or it is private/,
    ],
    ["a private one without a token", () => open("owner/private"), "IO_NOT_FOUND", /HF_TOKEN/],
    ["a revision that is not there", () => open("owner/name", { revision: "v9" }), "IO_NOT_FOUND", /no such revision/],
    ["a gated file", () => file("owner/gated"), "IO_DENIED", /gated; ask for access/],
    [
      "an endpoint that is no address",
      () => open("owner/name", { endpoint: "hub" }),
      "INPUT_INVALID",
      /address of a hub/,
    ],
  ])("%s", async (_, act, code, message) => {
    expect(await refusal(act())).toMatchObject({ code, message: expect.stringMatching(message) });
  });

  it.each([
    [401, "IO_DENIED"],
    [403, "IO_DENIED"],
    [404, "IO_NOT_FOUND"],
    [418, "IO_READ"],
  ])("%d of the hub, at once", async (status, code) => {
    hub.faults.hub = [status];
    expect(await refusal(open())).toMatchObject({ code, details: { status } });
    expect(hub.seen).toHaveLength(1);
  });

  it("an answer that is not a hub's", async () => {
    const said = (body: BodyInit) => open("owner/name", { fetch: async () => new Response(body) });
    expect(await refusal(said("<html>"))).toMatchObject({
      code: "FORMAT_INVALID",
      message: expect.stringMatching(/check the endpoint/),
    });
    expect(await refusal(said('{"sha":"../../.."}'))).toMatchObject({ code: "FORMAT_INVALID" });
  });

  it.each([
    ["a size that is none", { type: "file", path: "x", size: -1, oid: "3".repeat(40) }],
    ["a content's name that is none", { type: "file", path: "x", size: 1, oid: "../x" }],
    [
      "a SHA-256 that is none",
      { type: "file", path: "x", size: 1, oid: "3".repeat(40), lfs: { oid: "../x", size: 1 } },
    ],
  ])("a listing with %s", async (_, entry) => {
    const fetchEntry = async () => Response.json([entry]);
    expect(await refusal(open("a/b", { revision: first, fetch: fetchEntry }))).toMatchObject({
      code: "FORMAT_INVALID",
    });
  });

  it("a file of another size than is listed", async () => {
    hub.faults.sizeOff = 1;
    expect(await refusal(file("owner/name"))).toMatchObject({
      code: "INTEGRITY_DOWNLOAD",
      details: { expectedBytes: gguf.length, foundBytes: gguf.length + 1 },
    });
  });
});

describe("what may pass", () => {
  it("is tried again: busy answers, closed connections, addresses of the store that have run out", async () => {
    hub.faults.hub = [503, 0, 429];
    hub.faults.store = [403, 500];
    pauses.length = 0;
    const repository = await open();
    const source = await repository.open(repository.files.find(({ path }) => path.endsWith(".gguf"))!);
    expect(source.sizeBytes).toBe(gguf.length);
    expect(pauses).toEqual([200, 400, 800, 200, 400]);
  });

  it("waits as long as the hub asks", async () => {
    Object.assign(hub.faults, { hub: [429, 429], retryAfter: "7" });
    pauses.length = 0;
    await open();
    expect(pauses).toEqual([7000, 7000]);
  });

  it("is given up after a few tries, and at once where the hub asks for too long a pause", async () => {
    hub.faults.hub = Array(99).fill(503);
    expect(await refusal(open())).toMatchObject({
      code: "IO_READ",
      message: expect.stringMatching(/failed 4 times \(status 503\)/),
    });
    expect(hub.seen).toHaveLength(4);
    hub.reset();
    Object.assign(hub.faults, { hub: Array(99).fill(429), retryAfter: "300" });
    expect(await refusal(open())).toMatchObject({
      code: "IO_RATE_LIMIT",
      message: expect.stringContaining("wait 300 s"),
      details: { retryAfterSeconds: 300 },
    });
    expect(hub.seen).toHaveLength(1);
  });

  it("ends with the signal's own reason, whatever it waits for", async () => {
    const stop = new AbortController();
    hub.faults.hub = Array(99).fill(503);
    const pause = async () => stop.abort(new Error("enough"));
    expect(await refusal(open("owner/name", { signal: stop.signal, pause }))).toBe(stop.signal.reason);
  });

  it("says why a network fails", async () => {
    const error = await refusal(open("owner/name", { endpoint: "http://127.0.0.1:1", tries: 2 }));
    expect(error).toMatchObject({
      code: "IO_READ",
      message: expect.stringMatching(/failed 2 times \(.*(ECONNREFUSED|bad port)/),
    });
  });
});

describe("a hub that lies", () => {
  const info = { _id: "1", id: "o/n", sha: first, private: false, gated: false, downloads: 1, likes: 1 };
  const answering = (tree: () => Response) => {
    const answer = async (input: unknown) =>
      String(input).includes("/tree/") ? tree() : Response.json({ ...info, lastModified: "2026-01-01T00:00:00Z" });
    return openRepository("o/n", { fetch: answer as typeof fetch, tries: 1 });
  };

  it("led from page to page for ever: the listing ends with a typed error", async () => {
    const next = { link: `<https://huggingface.co/api/models/o/n/tree/${first}?page=1>; rel="next"` };
    const error = await refusal(answering(() => Response.json([], { headers: next })));
    expect(error).toMatchObject({ code: "FORMAT_LIMIT" });
    expect(error.message).toMatch(/at most 1000 pages/);
  });
  it("sent a document without end: no more of it is taken in than a document has", async () => {
    let sentBytes = 0;
    const pull = (controller: ReadableStreamDefaultController) => {
      sentBytes += 2 ** 20;
      controller.enqueue(new Uint8Array(2 ** 20).fill(0x20));
    };
    const error = await refusal(answering(() => new Response(new ReadableStream({ pull }))));
    expect(error).toMatchObject({ code: "FORMAT_LIMIT" });
    expect(sentBytes).toBeLessThan(2 ** 26);
  });
});
