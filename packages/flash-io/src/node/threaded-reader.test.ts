import { closeSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Worker } from "node:worker_threads";
import { Random } from "@flashwick/core";
import { afterAll, describe, expect, it } from "vitest";
import type { FlashRun, RunPiece } from "../run-plan.js";
import { openFlashFile } from "./flash-file.js";
import { createReaderWorker, type ThreadSetup } from "./reader-threads.js";
import { ThreadedReader, type ThreadedReaderOptions } from "./threaded-reader.js";

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

function openThenClose(): boolean {
  const file = openFlashFile(path, "auto");
  file.close();
  return file.access.direct;
}

/** A reader whose threads can be looked at. */
function open(readers: number, options: ThreadedReaderOptions & { file?: string; direct?: boolean } = {}) {
  const workers: Worker[] = [];
  let ended = 0;
  const createWorker = (setup: ThreadSetup) => {
    const worker = createReaderWorker(setup);
    worker.on("exit", () => ended++);
    workers.push(worker);
    return worker;
  };
  const file = openFlashFile(options.file ?? path, options.direct === false ? false : "auto");
  const reader = new ThreadedReader(file, readers, 0, { createWorker, ...options });
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

/** Runs of all kinds: aligned to 4096, to 512 or not at all, whole or scattered, short or long. They land apart. */
function randomRuns(random: Random, count: number, memoryBytes: number): FlashRun[] {
  const runs: FlashRun[] = [];
  let ptr = 0;
  for (let i = 0; i < count; i++) {
    const grain = [4096, 512, 1][random.below(3)]!;
    const pieces: RunPiece[] = [];
    ptr = Math.ceil(ptr / grain) * grain;
    for (let n = 1 + random.below(4); n > 0; n--) {
      const sizeBytes = grain * (1 + random.below(Math.ceil(12000 / grain)));
      pieces.unshift({ ptr, sizeBytes });
      ptr += sizeBytes + grain * random.below(2);
    }
    const sizeBytes = pieces.reduce((sum, piece) => sum + piece.sizeBytes, 0);
    if (ptr > memoryBytes) break;
    const offset = grain * random.below(Math.floor((FILE_BYTES - sizeBytes) / grain));
    runs.push({ offset, sizeBytes, pieces, picks: 0 });
  }
  return runs;
}

describe.each([
  { mode: "direct", direct: true },
  { mode: "buffered", direct: false },
])("a $mode reader", ({ mode, direct }) => {
  describe.skipIf(direct && !hasDirect)(hasDirect ? "(O_DIRECT works here)" : "(no O_DIRECT here)", () => {
    it.each([1, 8, 32])("lands whatever is asked for, with %i readers and late reads", async (readers) => {
      const { reader, close } = open(readers, { direct, jitterUs: 200 });
      expect(reader.mode).toBe(mode);
      expect(reader.fallback).toBeNull();
      const random = new Random(readers);
      const memory = sharedMemory();
      for (let batch = 0; batch < 12; batch++) {
        memory.fill(0);
        const runs = randomRuns(random, 40, memory.byteLength);
        reader.start(memory, runs);
        await reader.wait();
        expectLanded(memory, runs);
      }
      await close();
    });

    it("reads up to the last byte of a file that ends anywhere", async () => {
      const { reader, close } = open(2, { direct });
      const memory = sharedMemory();
      const runs = [
        wholeRun(FILE_BYTES - 777, 777, 512), // aligned head, odd tail
        wholeRun(FILE_BYTES - 777 - 65536, 65536 + 777, 65536), // long middle, odd tail
        wholeRun(FILE_BYTES - 5, 5, 3),
        { ...wholeRun(FILE_BYTES - 1024, 1024), pieces: [{ ptr: 4096, sizeBytes: 24 }, { ptr: 8192, sizeBytes: 1000 }] }, // biome-ignore format: one line a run
      ];
      reader.start(memory, runs);
      await reader.wait();
      expectLanded(memory, runs);
      await close();
    });

    it.each([
      ["aligned", wholeRun(FILE_BYTES - 777, 4096)],
      ["unaligned", wholeRun(FILE_BYTES - 7, 8, 1)],
      ["beyond the end", wholeRun(8 * 2 ** 20, 512)],
      ["scattered", { ...wholeRun(FILE_BYTES - 777, 1024), pieces: [{ ptr: 0, sizeBytes: 512 }, { ptr: 4096, sizeBytes: 512 }] }], // biome-ignore format: one line a case
    ])("names file and offset when the file ends inside a run: %s", async (_, run) => {
      const { reader, close } = open(2, { direct });
      reader.start(sharedMemory(), [run]);
      await expect((async () => reader.wait())()).rejects.toMatchObject({
        code: "FORMAT_TRUNCATED",
        message: expect.stringContaining(`file.bin @ ${run.offset}`),
      });
      await close();
    });
  });
});

describe("waiting", () => {
  it("returns when a prefix has landed, while later runs are still to come", async () => {
    const { reader, close } = open(1, { jitterUs: 4000 });
    const memory = sharedMemory();
    const runs = manyRuns(200);
    reader.start(memory, runs);
    await reader.wait(3);
    expectLanded(memory, runs.slice(0, 3));
    expect(reader.countLanded()).toBeLessThan(200);
    await reader.wait(20);
    expectLanded(memory, runs.slice(0, 20));
    await reader.wait();
    expectLanded(memory, runs);
    await close();
  });

  it("needs no promise once threads are up and reads are quick", async () => {
    const { reader, close } = open(2);
    await reader.grow(2);
    reader.start(sharedMemory(), manyRuns(4));
    expect(reader.wait()).toBeUndefined();
    expect(reader.wait()).toBeUndefined(); // and there is nothing to wait for any more
    await close();
  });

  it("publishes a batch in portions when the table is small, and splits runs of many pieces", async () => {
    const { reader, close } = open(3, { runCapacity: 4, pieceCapacity: 8, jitterUs: 50 });
    const memory = sharedMemory();
    const pieces = Array.from({ length: 30 }, (_, i) => ({ ptr: 2 ** 19 + (29 - i) * 1024, sizeBytes: 512 }));
    const runs = [
      ...manyRuns(50),
      { offset: 512, sizeBytes: 30 * 512, pieces, picks: 0 },
      wholeRun(0, 4096, 2 ** 20 - 4096),
    ];
    for (let batch = 0; batch < 3; batch++) {
      memory.fill(0);
      reader.start(memory, runs);
      await reader.wait(51);
      expectLanded(memory, runs.slice(0, 51));
      await reader.wait();
      expectLanded(memory, runs);
    }
    await close();
  });

  it("refuses a second batch, and memory that is not shared", async () => {
    const { reader, close } = open(1, { jitterUs: 5000 });
    expect(() => reader.start(new Uint8Array(4096), manyRuns(1))).toThrowError(/shared/);
    const memory = sharedMemory();
    reader.start(memory, manyRuns(8));
    expect(() => reader.start(memory, manyRuns(1))).toThrowError(/in flight/);
    expect(() => reader.release(memory)).toThrowError(/in flight/);
    await reader.wait();
    await close();
  });
});

describe("failures end a batch at once and leave no thread", () => {
  /** A second, on a machine that is five times slower than it should be. */
  const PROMPT_MS = 5000;
  /** What `wait` throws. */
  async function failure(reader: ThreadedReader, meanwhile?: () => unknown): Promise<unknown> {
    const begun = performance.now();
    const waiting = (async () => reader.wait())().then(
      () => expect.fail("nothing was thrown"),
      (error: unknown) => error,
    );
    await meanwhile?.();
    const error = await waiting;
    expect(performance.now() - begun).toBeLessThan(PROMPT_MS);
    return error;
  }
  const slow = { jitterUs: 20_000 };

  it("a thread is killed mid-batch", async () => {
    const { reader, workers, close } = open(4, slow);
    await reader.grow(4);
    reader.start(sharedMemory(), manyRuns(2000));
    const error = await failure(reader, () => workers.at(-1)!.terminate());
    expect(error).toMatchObject({ code: "IO_READ", message: expect.stringContaining("reader thread ended") });
    expect(() => reader.start(sharedMemory(), manyRuns(1))).toThrowError(/reader thread ended/);
    await close();
  });

  it("a thread cannot start", async () => {
    const createWorker = (setup: ThreadSetup) => createReaderWorker({ ...setup, table: null as never });
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
    const { reader, file, close } = open(4, slow);
    await reader.grow(4);
    reader.start(sharedMemory(), manyRuns(500));
    const error = await failure(reader, () => closeSync(file.access.fd));
    expect(error).toMatchObject({ code: "IO_READ", message: expect.stringContaining("EBADF") });
    await close();
  });

  it("goes on after a read error, with the next batch", async () => {
    const { reader, close } = open(4);
    const memory = sharedMemory();
    reader.start(memory, [...manyRuns(20), wholeRun(8 * 2 ** 20, 512), ...manyRuns(20)]);
    expect(await failure(reader)).toMatchObject({ code: "FORMAT_TRUNCATED" });
    const runs = manyRuns(100);
    reader.start(memory, runs);
    await reader.wait();
    expectLanded(memory, runs);
    await close();
  });

  it("the file is truncated while open", async () => {
    const file = newFile("truncated.bin");
    const { reader, close } = open(4, { file, ...slow });
    await reader.grow(4);
    reader.start(sharedMemory(), manyRuns(500));
    const error = await failure(reader, () => truncateSync(file, 8192));
    expect(error).toMatchObject({ code: "IO_FILE_CHANGED", message: expect.stringContaining("8192 bytes") });
    await close();
  });

  it.each([
    ["replaced by rename", (file: string) => renameSync(newFile("other.bin"), file), /replaced by another file/],
    ["rewritten in place", (file: string) => writeFileSync(file, bytes), /written to/],
  ])("the file is %s", async (_, change, message) => {
    const file = newFile("changed.bin");
    const { reader, close } = open(1, { file, checkMs: 0 });
    const memory = sharedMemory();
    reader.start(memory, manyRuns(1));
    await reader.wait();
    // Time stamps of files move in steps of up to 10 ms.
    await new Promise((resolve) => setTimeout(resolve, 20));
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

  it("aborted mid-batch: the signal's own reason, and no byte lands afterwards", async () => {
    const { reader, close } = open(8, slow);
    const memory = sharedMemory();
    const abort = new AbortController();
    const reason = new Error("enough");
    expect(() => reader.start(memory, manyRuns(1), AbortSignal.abort(reason))).toThrow(reason);
    reader.start(memory, manyRuns(2000), abort.signal);
    expect(await failure(reader, () => abort.abort(reason))).toBe(reason);
    memory.fill(0);
    await new Promise((resolve) => setTimeout(resolve, 40));
    expect(memory.every((byte) => byte === 0)).toBe(true);
    const runs = manyRuns(10);
    reader.start(memory, runs);
    await reader.wait();
    expectLanded(memory, runs);
    await close();
  });

  it("closed mid-batch, closed twice, used after close", async () => {
    const { reader, close } = open(4, slow);
    reader.start(sharedMemory(), manyRuns(2000));
    let closing: Promise<void> | undefined;
    const error = await failure(reader, () => {
      closing = close();
    });
    expect(error).toMatchObject({ code: "DISPOSED" });
    await closing;
    await close();
    expect(() => reader.start(sharedMemory(), manyRuns(1))).toThrowError(/closed/);
  });

  it("closed before its threads are up", async () => {
    const { close } = open(8);
    await close();
  });
});

describe("release", () => {
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
    const until = performance.now() + 5000;
    do {
      await new Promise((resolve) => setTimeout(resolve, 10));
      gc();
    } while (residentBytes() > before - 0.8 * MANY && performance.now() < until);
    expect(residentBytes()).toBeLessThan(before - 0.8 * MANY);
    // And another takes its number.
    const memory = sharedMemory();
    const runs = manyRuns(8);
    reader.start(memory, runs);
    await reader.wait();
    expectLanded(memory, runs);
    await close();
  });
});
