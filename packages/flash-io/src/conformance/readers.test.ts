/** The conformance table on every reader that Node can have; those of a page: tools/browser/src/opfs-reader.test.ts. */
import { mkdtempSync, rmSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { capability } from "@flashwick/test-capabilities";
import { afterAll, describe, expect, it } from "vitest";
import { openHttpReader } from "../http/http-reader.js";
import { memoryReader } from "../memory-reader.js";
import { openFileReader } from "../node/file-reader.js";
import { type DirectMode, openFlashFile } from "../node/flash-file.js";
import { openFlashParts } from "../node/flash-parts.js";
import { readByThreads, type ThreadedReaderOptions } from "../node/threaded-file.js";
import type { Intervention, ReaderUnderTest } from "./reader-bench.js";
import { readerCases, runReaderCase } from "./reader-cases.js";
import { ConformanceFailure, expectCode, failureOf } from "./verdict.js";

interface Subject {
  readonly title: string;
  readonly has: readonly Intervention[];
  /** Whether it cannot be had without direct reads. */
  readonly isDirect?: boolean;
  open(file: Uint8Array): Promise<ReaderUnderTest>;
}

const dir = mkdtempSync(join(tmpdir(), "flash-readers-"));
let files = 0;

afterAll(() => rmSync(dir, { recursive: true }));

function newFile(bytes: Uint8Array): string {
  const path = join(dir, `${files++}.bin`);
  writeFileSync(path, bytes);
  return path;
}

function hasDirectReads(): boolean {
  const file = openFlashFile(newFile(new Uint8Array(8192)), "auto");
  file.close();
  return file.access.direct;
}

const directReads = capability("direct-io", hasDirectReads() ? null : "the folder of temporary files refuses O_DIRECT");

const memory: Subject = {
  title: "memoryReader",
  has: [],
  open: async (file) => ({ reader: memoryReader(file) }),
};

const plainFile: Subject = {
  title: "openFileReader",
  has: ["cut"],
  async open(file) {
    const path = newFile(file);
    return { reader: openFileReader(path), cut: (sizeBytes) => truncateSync(path, sizeBytes) };
  },
};

function threads(how: string, direct: DirectMode, readers: number, options: ThreadedReaderOptions = {}): Subject {
  return {
    title: `openFlashReader: ${how}, ${readers} in flight`,
    has: ["hold", "cut", "change"],
    isDirect: direct !== false,
    async open(file) {
      const path = newFile(file);
      const reader = readByThreads(openFlashParts(path, direct), readers, 0, { checkMs: 0, ...options });
      return {
        reader,
        hold() {
          reader.limit(0);
          return () => reader.limit(readers);
        },
        cut: (sizeBytes) => truncateSync(path, sizeBytes),
        // Far from the time at which it was written: time stamps move in steps.
        change: () => utimesSync(path, 1e9, 1e9),
      };
    },
  };
}

const http: Subject = {
  title: "openHttpReader",
  has: ["hold", "cut", "change"],
  async open(file) {
    const server = new HeldServer(file);
    return {
      reader: await openHttpReader("http://server/model", { fetch: server.fetch, tries: 1 }),
      hold: () => server.hold(),
      cut: (sizeBytes) => server.replace(file.subarray(0, sizeBytes)),
      change: () => server.replace(file),
    };
  },
};

/** Answers range requests of one file, when it is let. */
class HeldServer {
  #version = 1;
  #gate = Promise.resolve();

  constructor(private file: Uint8Array) {}

  readonly fetch = (async (_: string, { headers, signal }: { headers: { range: string }; signal?: AbortSignal }) => {
    const [from, to] = /^bytes=(\d+)-(\d+)$/.exec(headers.range)!.slice(1).map(Number) as [number, number];
    await new Promise<void>((resolve, reject) => {
      const onAbort = () => reject(signal?.reason);
      signal?.addEventListener("abort", onAbort);
      void this.#gate.then(() => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      });
    });
    signal?.throwIfAborted();
    const body = this.file.slice(from, to + 1);
    const contentRange = `bytes ${from}-${from + body.length - 1}/${this.file.length}`;
    return new Response(body, { status: 206, headers: { "content-range": contentRange, etag: `"${this.#version}"` } });
  }) as unknown as typeof fetch;

  hold(): () => void {
    let letGo = () => {};
    this.#gate = new Promise((resolve) => {
      letGo = resolve;
    });
    return letGo;
  }

  replace(file: Uint8Array): void {
    this.file = file;
    this.#version++;
  }
}

const subjects: readonly Subject[] = [
  memory,
  plainFile,
  threads("direct", "auto", 1),
  threads("direct", "auto", 8, { jitterUs: 200 }),
  threads("buffered", false, 4),
  threads("buffered, a table smaller than a batch", false, 3, { runCapacity: 4, pieceCapacity: 8 }),
  threads("one thread that keeps many reads in flight", "auto", 8, { ring: true }),
  http,
];

for (const { title, has, isDirect = false, open } of subjects) {
  describe.skipIf(isDirect && directReads.isMissing)(isDirect ? directReads.title(title) : title, () => {
    // A reader of memory has no file that could be cut: such cases are not skipped, there is nothing that they could be about.
    const applicable = readerCases.filter(({ needs }) => needs === undefined || has.includes(needs));
    for (const c of applicable) {
      it(c.title, async () => {
        await expect(runReaderCase(c, open)).resolves.toBeUndefined();
      });
    }
  });
}

describe("the table itself", () => {
  const broken = (what: Partial<ReaderUnderTest["reader"]>) => async (file: Uint8Array) => ({
    reader: { ...memoryReader(file), ...what },
  });
  const failing = async (open: (file: Uint8Array) => Promise<ReaderUnderTest>) => {
    const titles: string[] = [];
    for (const c of readerCases) {
      if (c.needs) continue;
      const error = await runReaderCase(c, open).catch((error: unknown) => error);
      if (error !== undefined) titles.push(c.title);
      if (error !== undefined) expect(error).toBeInstanceOf(ConformanceFailure);
    }
    return titles;
  };

  it("finds fault with a reader that brings nothing", async () => {
    const zeros = async (file: Uint8Array) => ({ reader: memoryReader(new Uint8Array(file.length)) });
    expect((await failing(zeros)).length).toBeGreaterThan(12);
  });
  it("finds fault with a reader that is wrong by one byte", async () => {
    const offByOne = async (file: Uint8Array) => ({ reader: memoryReader(file.with(4095 + 60_000, 0)) });
    expect(await failing(offByOne)).not.toEqual([]);
  });
  it("finds fault with a reader that takes any index", async () => {
    expect(await failing(broken({ waitFor() {} }))).toEqual([expect.stringContaining("refuses runs")]);
  });
  it("finds fault with what does not fail, and with the wrong error", async () => {
    await expect(failureOf("it", () => {})).rejects.toThrow("it: expected an error, found none");
    const wrong = () => Promise.reject(new Error("other"));
    await expect(expectCode("it", wrong, "IO_READ")).rejects.toThrow(
      /expected an error with code IO_READ, found .*other/,
    );
  });
});
