import { closeSync, mkdtempSync, renameSync, rmSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Worker } from "node:worker_threads";
import { Random } from "@flashwick/core";
import { afterAll, describe, expect, it } from "vitest";
import type { FlashRun } from "../run-plan.js";
import type { ThreadedReader } from "../threads/threaded-reader.js";
import { openFlashFile } from "./flash-file.js";
import { openFlashParts } from "./flash-parts.js";
import { createReaderWorker, type NodeThreadSetup } from "./node-threads.js";
import { readByThreads, type ThreadedReaderOptions } from "./threaded-file.js";

const FILE_BYTES = 4 * 2 ** 20 + 777;
const dir = mkdtempSync(join(tmpdir(), "flash-reader-"));
const bytes = randomBytes(FILE_BYTES, 7);
const path = newFile("file.bin");
const hasDirect = openThenClose();

afterAll(() => rmSync(dir, { recursive: true }));

function randomBytes(count: number, seed: number): Uint8Array {
  const random = new Random(seed);
  const words = Uint32Array.from({ length: Math.ceil(count / 4) }, () => random.next());
  return new Uint8Array(words.buffer, 0, count);
}

function newFile(name: string): string {
  const path = join(dir, name);
  writeFileSync(path, bytes);
  return path;
}

/** Writes the same bytes again; at another time, however coarse the time stamps are. */
function rewrite(path: string): void {
  writeFileSync(path, bytes);
  utimesSync(path, 1e9, 1e9);
}

function openThenClose(): boolean {
  const file = openFlashFile(path, "auto");
  file.close();
  return file.access.direct;
}

/** A reader whose threads can be looked at. */
function open(readers: number, options: ThreadedReaderOptions & { file?: string; direct?: boolean } = {}) {
  const workers: Worker[] = [];
  let ended = 0;
  const createWorker = (setup: NodeThreadSetup) => {
    const worker = createReaderWorker(setup);
    worker.on("exit", () => ended++);
    workers.push(worker);
    return worker;
  };
  const file = openFlashParts(options.file ?? path, options.direct === false ? false : "auto");
  const reader = readByThreads(file, readers, 0, { createWorker, ...options });
  const close = async () => {
    await reader.close();
    expect(ended).toBe(workers.length);
  };
  return { reader, file, workers, close };
}

function sharedMemory(sizeBytes = 2 ** 20): Uint8Array {
  const pages = Math.ceil(sizeBytes / 65536);
  return new Uint8Array(new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }).buffer);
}

function wholeRun(offset: number, sizeBytes: number, ptr = 0): FlashRun {
  return { offset, sizeBytes, pieces: [{ ptr, sizeBytes }], picks: 0 };
}

/** `count` reads of 4 KiB, each to a place of its own. */
function manyRuns(count: number): FlashRun[] {
  return Array.from({ length: count }, (_, i) => wholeRun((i * 37 * 4096) % (4 * 2 ** 20), 4096, (i % 256) * 4096));
}

function expectLanded(memory: Uint8Array, runs: readonly FlashRun[]): void {
  for (const run of runs) {
    let from = run.offset;
    for (const { ptr, sizeBytes } of run.pieces) {
      const same = Buffer.compare(memory.subarray(ptr, ptr + sizeBytes), bytes.subarray(from, from + sizeBytes)) === 0;
      if (!same) expect.fail(`run at ${run.offset}: ${sizeBytes} bytes from ${from} are not at ${ptr}`);
      from += sizeBytes;
    }
  }
}

describe("the access", () => {
  it.each([
    ["direct", true],
    ["buffered", false],
  ] as const)("%s: is what the file system allows", async (mode, direct) => {
    const { reader, close } = open(1, { direct });
    expect(reader.mode).toBe(hasDirect ? mode : "buffered");
    expect(reader.fallback === null).toBe(hasDirect || mode === "buffered");
    await close();
  });
});

describe("failures end a batch at once and leave no thread", () => {
  /** What `wait` throws. `meanwhile` happens while it waits for reads that are held back, which are let go then. */
  async function failure(reader: ThreadedReader, meanwhile?: () => unknown): Promise<unknown> {
    const waiting = (async () => reader.wait())().then(
      () => expect.fail("nothing was thrown"),
      (error: unknown) => error,
    );
    await meanwhile?.();
    return await waiting;
  }

  /** A reader whose threads are ready and take nothing until `letGo`. */
  async function openHeld(readers: number, options: Parameters<typeof open>[1] = {}) {
    const opened = open(readers, options);
    await opened.reader.grow(readers);
    opened.reader.limit(0);
    return { ...opened, letGo: () => opened.reader.limit(readers) };
  }

  it("a thread is killed", async () => {
    const { reader, workers, close } = await openHeld(4);
    reader.start(sharedMemory(), manyRuns(20));
    const error = await failure(reader, () => workers.at(-1)!.terminate());
    expect(error).toMatchObject({ code: "IO_READ", message: expect.stringContaining("reader thread ended") });
    expect(() => reader.start(sharedMemory(), manyRuns(1))).toThrowError(/reader thread ended/);
    await close();
  });

  it("a thread that is not ready yet keeps the process alive, since somebody may wait for it; then it does not", async () => {
    const events: string[] = [];
    const createWorker = (setup: NodeThreadSetup) => {
      const worker = createReaderWorker(setup);
      worker.once("message", () => events.push("ready"));
      const unref = worker.unref.bind(worker);
      worker.unref = () => {
        events.push("unref");
        unref();
      };
      return worker;
    };
    const { reader } = open(1, { createWorker });
    expect(events).toEqual([]);
    await reader.grow(1);
    expect(events).toEqual(["ready", "unref"]);
    await reader.close();
  });

  it("a thread cannot start", async () => {
    const createWorker = (setup: NodeThreadSetup) => createReaderWorker({ ...setup, table: null as never });
    const { reader } = open(2, { createWorker });
    reader.start(sharedMemory(), manyRuns(10));
    expect(await failure(reader)).toMatchObject({ code: "IO_READ" });
    await reader.close();
  });

  it.skipIf(process.platform !== "linux")("the device fails (EIO)", async () => {
    const { reader, close } = open(4, { file: "/proc/self/mem" });
    expect(reader.fallback).toMatch(/O_DIRECT/);
    reader.start(sharedMemory(), [wholeRun(0, 512)]);
    expect(await failure(reader)).toMatchObject({
      code: "IO_READ",
      message: expect.stringMatching(/mem @ 0: reading 512 bytes failed .*EIO/),
      details: { offset: 0, sizeBytes: 512 },
    });
    await close();
  });

  it("the file descriptor goes away (EBADF)", async () => {
    const { reader, file, letGo, close } = await openHeld(4);
    reader.start(sharedMemory(), manyRuns(20));
    closeSync(file.threadFiles[0]!.fd);
    letGo();
    expect(await failure(reader)).toMatchObject({ code: "IO_READ", message: expect.stringContaining("EBADF") });
    await close();
  });

  it("the file is truncated while open", async () => {
    const file = newFile("truncated.bin");
    const { reader, letGo, close } = await openHeld(4, { file });
    reader.start(sharedMemory(), manyRuns(20));
    truncateSync(file, 8192);
    letGo();
    expect(await failure(reader)).toMatchObject({
      code: "IO_FILE_CHANGED",
      message: expect.stringContaining("8192 bytes"),
    });
    await close();
  });

  it.each([
    ["replaced by rename", (file: string) => renameSync(newFile("other.bin"), file), /replaced by another file/],
    ["rewritten in place", rewrite, /written to/],
  ])("the file is %s", async (_, change, message) => {
    const file = newFile("changed.bin");
    const { reader, close } = open(1, { file, checkMs: 0 });
    const memory = sharedMemory();
    reader.start(memory, manyRuns(1));
    await reader.wait();
    change(file);
    expect(() => reader.start(memory, manyRuns(1))).toThrowError(
      expect.objectContaining({ code: "IO_FILE_CHANGED", message: expect.stringMatching(message) }),
    );
    await close();
  });

  it.skipIf(process.platform === "win32")(
    "but not when the file is deleted: its bytes are there until it is closed",
    async () => {
      const file = newFile("deleted.bin");
      const { reader, close } = open(1, { file, checkMs: 0 });
      rmSync(file);
      const memory = sharedMemory();
      const runs = manyRuns(5);
      reader.start(memory, runs);
      await reader.wait();
      expectLanded(memory, runs);
      await close();
    },
  );

  it("closing ends although a thread hangs in the middle of a read", async () => {
    // As one that has taken an entry and never comes back.
    const HANGS = `
      const { table, thread } = require("node:worker_threads").workerData;
      Atomics.store(new Int32Array(table.buffer), table.words.busy + thread, 1);
      require("node:worker_threads").parentPort.postMessage({ ready: true });
      for (;;) {}`;
    const started: Promise<unknown>[] = [];
    const createWorker = (setup: NodeThreadSetup) => {
      const worker = new Worker(HANGS, { eval: true, workerData: setup });
      started.push(new Promise((resolve) => worker.once("message", resolve)));
      return worker;
    };
    const { reader } = open(1, { createWorker });
    await Promise.all(started);
    reader.start(sharedMemory(), manyRuns(1));
    await reader.close();
    await expect((async () => reader.wait())()).rejects.toMatchObject({ code: "DISPOSED" });
  });

  it("closed before its threads are up", async () => {
    const { close } = open(8);
    await close();
  });
});

describe("release", () => {
  it("changes no flag of V8, which would be the whole process's", async () => {
    setFlagsFromString("--expose-gc");
    const { reader, close } = open(2);
    const memory = sharedMemory();
    reader.start(memory, manyRuns(8));
    await reader.wait();
    reader.release(memory);
    await close();
    expect(runInNewContext("typeof gc")).toBe("function");
  });

  it("lets a memory be freed although the threads have seen it", async () => {
    setFlagsFromString("--expose-gc");
    const gc = runInNewContext("gc") as () => void;
    const { reader, close } = open(4);
    const MANY = 192 * 2 ** 20;
    const residentBytes = () => process.memoryUsage.rss();
    let before = 0;
    await (async () => {
      const memory = sharedMemory(MANY);
      memory.fill(1);
      for (let i = 0; i < 4; i++) {
        reader.start(memory, manyRuns(64));
        await reader.wait();
      }
      before = residentBytes();
      reader.release(memory);
    })();
    // The threads let go of it when they come to it: until they have, this goes on, and the test does not end.
    while (residentBytes() > before - 0.8 * MANY) {
      await new Promise(setImmediate);
      gc();
    }
    // And another takes its number.
    const memory = sharedMemory();
    const runs = manyRuns(8);
    reader.start(memory, runs);
    await reader.wait();
    expectLanded(memory, runs);
    await close();
  });
});
