/** Range requests against a real server that cuts connections, changes the file and knows no ranges, when told to. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Random } from "@flashwick/core";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { FaultyFile } from "../conformance/faulty-file.js";
import type { FlashRun } from "../run-plan.js";
import { openHttpReader } from "./http-reader.js";
import { httpSource } from "./http-source.js";

const SIZE = 3_000_001;
const file = Uint8Array.from({ length: SIZE }, (_, i) => (i * 7 + (i >> 9)) & 255);

/** How the server misbehaves: the next `cut` bodies end half-way, the next `busy` answers are 503. */
const faults = { cut: 0, busy: 0, ranges: true, etag: '"one"' };
let requests = 0;
let server: Server;
let url: string;

beforeAll(async () => {
  server = createServer((request, response) => {
    requests++;
    if (request.url !== "/model") return void response.writeHead(404).end();
    if (faults.busy > 0) {
      faults.busy--;
      return void response.writeHead(503).end();
    }
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    if (!range || !faults.ranges) return void response.writeHead(200).end("everything");
    // As some servers do: an end of 0 is taken for none.
    const [from, to] = [Number(range[1]), Number(range[2]) || SIZE - 1];
    const bytes = file.subarray(from, to + 1);
    const headers = {
      etag: faults.etag,
      "content-range": `bytes ${from}-${to}/${SIZE}`,
      "content-length": bytes.length,
    };
    response.writeHead(206, headers);
    if (faults.cut > 0 && bytes.length > 1) {
      faults.cut--;
      response.write(bytes.subarray(0, bytes.length >> 1), () => response.destroy());
    } else response.end(bytes);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/model`;
});
afterAll(() => void server.close());
beforeEach(() => {
  Object.assign(faults, { cut: 0, busy: 0, ranges: true, etag: '"one"' });
  requests = 0;
});

async function readAt(source: Awaited<ReturnType<typeof httpSource>>, offset: number, size: number) {
  const bytes = new Uint8Array(size);
  await source.read(bytes, offset);
  return bytes;
}

describe("httpSource", () => {
  it("reads any range, across blocks and at the end, few requests for many small reads", async () => {
    const source = await httpSource(url);
    expect(source.sizeBytes).toBe(SIZE);
    const random = new Random(1);
    for (let i = 0; i < 50; i++) {
      const offset = random.below(SIZE - 5000);
      const size = random.below(5000);
      expect(await readAt(source, offset, size)).toEqual(file.slice(offset, offset + size));
    }
    expect(requests).toBeLessThanOrEqual(4);
    expect(await readAt(source, SIZE - 3, 3)).toEqual(file.slice(SIZE - 3));
    expect(Buffer.compare(await readAt(source, 5, 2_500_000), file.subarray(5, 2_500_005))).toBe(0);
    await source.close();
  });
  it("tries again after a cut connection and a busy server", async () => {
    const source = await httpSource(url, { tries: 4 });
    Object.assign(faults, { cut: 1, busy: 1 });
    expect(await readAt(source, 100, 50)).toEqual(file.slice(100, 150));
    expect(faults).toMatchObject({ cut: 0, busy: 0 });
  });
  it("says where, when the network does not come back", async () => {
    const source = await httpSource(url, { tries: 2 });
    faults.busy = 99;
    await expect(readAt(source, 1_500_000, 8)).rejects.toMatchObject({ code: "IO_READ" });
    faults.busy = 0;
    expect(await readAt(source, 1_500_000, 8)).toEqual(file.slice(1_500_000, 1_500_008));
  });
  it("ends when the file has become another one", async () => {
    const source = await httpSource(url);
    faults.etag = '"two"';
    await expect(readAt(source, 0, 8)).rejects.toMatchObject({ code: "IO_FILE_CHANGED" });
  });
  it("says that the file has changed, not that access is denied, when it ends before what is asked for", async () => {
    const file = new FaultyFile(new Uint8Array(3_000_000));
    const source = await httpSource("http://server/model", { fetch: file.server(false), tries: 1 });
    file.counter.arm({ kind: "shrink", at: 1, seed: 1 });
    await expect(readAt(source, 2_999_000, 8)).rejects.toMatchObject({
      code: "IO_FILE_CHANGED",
      message: expect.stringMatching(/it was 3000000 bytes/),
    });
  });
  it("refuses a server without ranges, an address without a file, and reads past the end", async () => {
    faults.ranges = false;
    await expect(httpSource(url)).rejects.toMatchObject({ code: "FORMAT_INVALID" });
    faults.ranges = true;
    await expect(httpSource(`${url}s`)).rejects.toMatchObject({ code: "IO_NOT_FOUND" });
    await expect(readAt(await httpSource(url), SIZE - 4, 8)).rejects.toMatchObject({ code: "FORMAT_TRUNCATED" });
  });
  it("streams the rest of the file, over cut connections and a busy server", async () => {
    const source = await httpSource(url, { pause: async () => {} });
    Object.assign(faults, { cut: 3, busy: 2 });
    const pieces: Uint8Array[] = [];
    for await (const piece of source.stream(1000)) pieces.push(piece);
    expect(Buffer.compare(Buffer.concat(pieces), file.subarray(1000))).toBe(0);
    expect(faults).toMatchObject({ cut: 0, busy: 0 });
  });
  it("ends a stream when the file has become another one", async () => {
    const source = await httpSource(url);
    faults.etag = '"two"';
    await expect(source.stream(0).next()).rejects.toMatchObject({ code: "IO_FILE_CHANGED" });
  });
  it("lets go of a stream that is not read to its end", async () => {
    let cancelled = 0;
    const endless = async () =>
      new Response(
        new ReadableStream({
          pull: (controller) => controller.enqueue(new Uint8Array(10)),
          cancel: () => void cancelled++,
        }),
        { status: 206, headers: { "content-range": "bytes 0-7/1000" } },
      );
    const source = await httpSource("http://server/model", { fetch: endless });
    for await (const piece of source.stream(0)) {
      expect(piece.length).toBe(10);
      break;
    }
    expect(cancelled).toBe(2);
  });
  it("is aborted with the signal's own reason", async () => {
    const source = await httpSource(url);
    const stop = new AbortController();
    stop.abort(new Error("enough"));
    await expect(source.read(new Uint8Array(8), 0, stop.signal)).rejects.toThrow("enough");
  });
});

/** What a promise that must fail fails with. */
const failureOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => expect.fail("nothing was thrown"),
    (error: unknown) => error,
  );

describe("an answer that is not read", () => {
  /** Answers the opening request; every later one with `answer`, whose body notes that it was cancelled. */
  function answering(answer: (body: ReadableStream) => Response) {
    const noted = { cancelled: 0 };
    let first = true;
    const answerOnce = async () => {
      if (first) {
        first = false;
        return new Response("01234567", { status: 206, headers: { "content-range": "bytes 0-7/1000", etag: '"one"' } });
      }
      return answer(
        new ReadableStream({
          cancel() {
            noted.cancelled++;
          },
        }),
      );
    };
    return { noted, fetch: answerOnce as typeof fetch };
  }

  it.each([
    ["200, the whole file instead of the range", 200, '"one"', "IO_READ"],
    ["206 of another version of the file", 206, '"two"', "IO_FILE_CHANGED"],
    ["404", 404, '"one"', "IO_NOT_FOUND"],
    ["401", 401, '"one"', "IO_DENIED"],
    ["429", 429, '"one"', "IO_RATE_LIMIT"],
    ["503", 503, '"one"', "IO_READ"],
  ])("leaves no connection open: %s", async (_, status, etag, code) => {
    const { noted, fetch } = answering((body) => new Response(body, { status, headers: { etag } }));
    const source = await httpSource("http://server/model", { fetch, tries: 1 });
    expect(await failureOf(source.read(new Uint8Array(8), 0))).toMatchObject({ code });
    expect(noted.cancelled).toBe(1);
  });
});

describe("a server that lies", () => {
  /** Answers the opening request, and every later one as it is told. */
  function lying(answer: (begin: number, end: number) => { readonly range: string; readonly body: BodyInit | null }) {
    let requests = 0;
    const request = async (_: unknown, { headers }: { headers: { range: string } }) => {
      const [begin, end] = /^bytes=(\d+)-(\d+)$/.exec(headers.range)!.slice(1).map(Number) as [number, number];
      requests++;
      const { range, body } = requests === 1 ? { range: "bytes 0-7/1000", body: "01234567" } : answer(begin, end);
      return new Response(body, { status: 206, headers: { "content-range": range } });
    };
    return httpSource("http://server/model", {
      fetch: request as unknown as typeof fetch,
      tries: 3,
      pause: async () => {},
    });
  }

  it.each([0, 4])(
    "sent a body without end, which was taken in: no more than was asked for is (%d kept blocks)",
    async (keptBlocks) => {
      let sentBytes = 0;
      const endless = async (_: unknown, { headers }: { headers: { range: string } }) => {
        const pull = (controller: ReadableStreamDefaultController) => {
          sentBytes += 100_000;
          if (sentBytes > 10_000_000) throw new Error("the server has given up");
          controller.enqueue(new Uint8Array(100_000));
        };
        const range = `bytes ${/\d+/.exec(headers.range)![0]}-999/1000`;
        return new Response(new ReadableStream({ pull }), { status: 206, headers: { "content-range": range } });
      };
      const fetch = endless as unknown as typeof globalThis.fetch;
      const source = await httpSource("http://server/model", { fetch, tries: 2, pause: async () => {}, keptBlocks });
      expect(await failureOf(source.read(new Uint8Array(8), 0))).toMatchObject({ code: "IO_READ" });
      expect(sentBytes).toBeLessThan(2_000_000);
    },
  );
  it("sent another part of the file as the one that was asked for: its bytes are not taken", async () => {
    const source = await lying((begin, end) => ({
      range: `bytes 0-${end - begin}/1000`,
      body: new Uint8Array(end - begin + 1),
    }));
    expect(await failureOf(source.stream(500).next())).toMatchObject({ code: "IO_READ" });
  });
  it("sent a file of another size without another version: the file has changed", async () => {
    const source = await lying((begin, end) => ({
      range: `bytes ${begin}-${end}/999`,
      body: new Uint8Array(end - begin + 1),
    }));
    expect(await failureOf(source.read(new Uint8Array(8), 0))).toMatchObject({ code: "IO_FILE_CHANGED" });
  });
  it("sent nothing in pieces was asked for ever: tries are counted", async () => {
    let requests = 0;
    const source = await lying((begin, end) => {
      if (++requests > 50) throw new Error("asked for ever");
      const empty = new ReadableStream({
        pull(controller) {
          controller.enqueue(new Uint8Array(0));
          controller.close();
        },
      });
      return { range: `bytes ${begin}-${end}/1000`, body: empty };
    });
    expect(await failureOf(source.stream(0).next())).toMatchObject({ code: "IO_READ" });
    expect(requests).toBe(3);
  });
  it("claims a size that no offset can name", async () => {
    const huge = async () =>
      new Response("01234567", { status: 206, headers: { "content-range": `bytes 0-7/${"9".repeat(30)}` } });
    const opened = httpSource("http://server/model", { fetch: huge as typeof fetch, tries: 1 });
    expect(await failureOf(opened)).toMatchObject({ code: "FORMAT_INVALID" });
  });
});

describe("a block that two callers wait for", () => {
  /** A server that holds its answers back until they are let go. */
  async function openHeld() {
    const held = { letGo: () => {}, aborted: 0 };
    const holding = (async (_: string, { headers, signal }: { headers: { range: string }; signal?: AbortSignal }) => {
      const [from, to] = /^bytes=(\d+)-(\d+)$/.exec(headers.range)!.slice(1).map(Number) as [number, number];
      if (to > 7) {
        await new Promise<void>((resolve, reject) => {
          held.letGo = resolve;
          signal?.addEventListener("abort", () => {
            held.aborted++;
            reject(signal.reason);
          });
        });
      }
      const headersOut = { "content-range": `bytes ${from}-${to}/${SIZE}`, etag: '"one"' };
      return new Response(file.slice(from, to + 1), { status: 206, headers: headersOut });
    }) as unknown as typeof fetch;
    return { held, source: await httpSource("http://server/model", { fetch: holding, tries: 1 }) };
  }

  it("comes to the second when the first gives up", async () => {
    const { held, source } = await openHeld();
    const [first, second] = [new AbortController(), new Uint8Array(50)];
    const givenUp = failureOf(source.read(new Uint8Array(50), 10, first.signal));
    const wanted = source.read(second, 100);
    first.abort(new Error("enough"));
    expect(await givenUp).toBe(first.signal.reason);
    held.letGo();
    await wanted;
    expect(second).toEqual(file.slice(100, 150));
    expect(held.aborted).toBe(0);
  });

  it("is given up when both give up, and asked for anew by a third", async () => {
    const { held, source } = await openHeld();
    const stops = [new AbortController(), new AbortController()];
    const givenUp = stops.map(({ signal }) => failureOf(source.read(new Uint8Array(50), 10, signal)));
    for (const stop of stops) stop.abort(new Error("enough"));
    expect(await Promise.all(givenUp)).toEqual(stops.map(({ signal }) => signal.reason));
    expect(held.aborted).toBe(1);
    const third = new Uint8Array(50);
    const wanted = source.read(third, 10);
    held.letGo();
    await wanted;
    expect(third).toEqual(file.slice(10, 60));
  });
});

describe("openHttpReader", () => {
  const runAt = (offset: number, sizes: readonly number[], ptr: number): FlashRun => {
    let at = ptr;
    const pieces = sizes.map((sizeBytes) => ({ ptr: (at += sizeBytes + 16) - sizeBytes, sizeBytes }));
    return { offset, sizeBytes: sizes.reduce((sum, size) => sum + size, 0), pieces, picks: sizes.length };
  };

  it("lands every run's pieces, the first runs first", async () => {
    const reader = await openHttpReader(url, { readers: 3 });
    const memory = new Uint8Array(65536);
    const runs = Array.from({ length: 10 }, (_, i) => runAt(1000 + 40_000 * i, [512, 256 + i], 4096 * i));
    reader.start(memory, runs);
    await reader.wait(4);
    await reader.wait();
    for (const { offset, pieces } of runs) {
      let at = offset;
      for (const { ptr, sizeBytes } of pieces) {
        expect(memory.slice(ptr, ptr + sizeBytes)).toEqual(file.slice(at, at + sizeBytes));
        at += sizeBytes;
      }
    }
    await reader.close();
  });
  it("throws what went wrong once, with nothing in flight, and goes on with the next batch", async () => {
    const reader = await openHttpReader(url, { tries: 1 });
    const memory = new Uint8Array(8192);
    faults.cut = 99;
    reader.start(memory, [runAt(0, [100], 0), runAt(5000, [100], 2000)]);
    await expect(reader.wait()).rejects.toMatchObject({ code: "IO_READ" });
    faults.cut = 0;
    reader.start(memory, [runAt(64, [100], 0)]);
    await reader.wait();
    expect(memory.slice(16, 116)).toEqual(file.slice(64, 164));
  });
});
