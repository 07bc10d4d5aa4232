/** The table of faults on every reader that Node can have; those of a page: tools/browser/src/opfs-reader.test.ts. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { capability } from "@flashwick/test-capabilities";
import { afterAll, describe, expect, it } from "vitest";
import { openHttpReader } from "../http/http-reader.js";
import { memoryReader } from "../memory-reader.js";
import { FaultyThreads } from "../node/faulty-threads.fixture.js";
import { openFileReader } from "../node/file-reader.js";
import { type DirectMode, openFlashFile } from "../node/flash-file.js";
import { openFlashParts } from "../node/flash-parts.js";
import { readByThreads } from "../node/threaded-file.js";
import { SyncReader } from "../opfs/sync-reader.js";
import { changesFile, FAULT_KINDS, FaultCounter, type FaultKind } from "./fault.js";
import { type FaultCase, type FaultyReader, faultCases, runFaultCase } from "./fault-cases.js";
import { FaultyFile } from "./faulty-file.js";

interface Subject {
  readonly title: string;
  /** Which outcomes there are; the table allows what any reader may do. */
  readonly does: Partial<Record<FaultKind, FaultCase["outcomes"]>>;
  /** Faults that it cannot have, and why. */
  readonly cannot: Partial<Record<FaultKind, string>>;
  readonly isDirect?: boolean;
  open(file: Uint8Array, kind: FaultKind): Promise<FaultyReader>;
}

const dir = mkdtempSync(join(tmpdir(), "flash-faults-"));
afterAll(() => rmSync(dir, { recursive: true }));
let files = 0;

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

const direct = capability("direct-io", hasDirectReads() ? null : "the folder of temporary files refuses O_DIRECT");

function faulty(file: FaultyFile, reader: FaultyReader["reader"]): FaultyReader {
  return { reader, arm: (fault) => file.counter.arm(fault), operations: () => file.counter.operations };
}

const AT_ONCE = "it reads on the calling thread";

const memory: Subject = {
  title: "memoryReader",
  does: {},
  cannot: Object.fromEntries(FAULT_KINDS.map((kind) => [kind, "it copies bytes in memory"])),
  async open(file) {
    const counter = new FaultCounter();
    return { reader: memoryReader(file), arm: (fault) => counter.arm(fault), operations: () => counter.operations };
  },
};

const plainFile: Subject = {
  title: "openFileReader",
  does: {
    short: ["right"],
    "device-error": ["IO_READ"],
    "wrong-bit": ["one wrong bit"],
    shrink: ["right", "FORMAT_TRUNCATED"],
    grow: ["right"],
    replace: ["right"],
    delete: ["right"],
  },
  cannot: { delay: AT_ONCE, reorder: AT_ONCE },
  async open(bytes) {
    const file = new FaultyFile(bytes);
    return faulty(file, openFileReader("file.bin", file.reads));
  },
};

const handle: Subject = {
  title: "openOpfsReader on the calling worker",
  does: {
    short: ["right"],
    "device-error": ["IO_READ"],
    "wrong-bit": ["one wrong bit"],
    shrink: ["right", "FORMAT_TRUNCATED"],
  },
  cannot: {
    ...{ delay: AT_ONCE, reorder: AT_ONCE },
    ...{ grow: "an open handle holds the file", replace: "the same", delete: "the same" },
  },
  async open(bytes) {
    const file = new FaultyFile(bytes);
    const handle = file.handle() as ConstructorParameters<typeof SyncReader>[1];
    return faulty(file, new SyncReader("file.bin", handle, null, 0));
  },
};

function threads(how: string, directMode: DirectMode, readers: number, ring: boolean): Subject {
  return {
    title: `openFlashReader: ${how}`,
    does: {
      short: ["right"],
      "device-error": ["IO_READ"],
      shrink: ["right", "IO_FILE_CHANGED"],
      grow: ["right"],
      replace: ["right"],
      delete: ["right"],
    },
    cannot: {},
    isDirect: directMode !== false,
    async open(bytes, kind) {
      const path = newFile(bytes);
      // Which opens a reader for each operation: threads take long to start.
      const threads = changesFile(kind) ? 1 : readers;
      const faults = new FaultyThreads(path);
      const { createWorker } = faults;
      const reader = readByThreads(openFlashParts(path, directMode), threads, 0, { createWorker, ring });
      return { reader, arm: (fault) => faults.arm(fault), operations: () => faults.operations };
    },
  };
}

function http(how: string, tries: number, does: Subject["does"]): Subject {
  return {
    title: `openHttpReader: ${how}`,
    does: {
      "wrong-bit": ["one wrong bit"],
      shrink: ["IO_FILE_CHANGED"],
      grow: ["IO_FILE_CHANGED"],
      replace: ["IO_FILE_CHANGED"],
      delete: ["IO_NOT_FOUND"],
      ...does,
    },
    cannot: {},
    async open(bytes) {
      const file = new FaultyFile(bytes);
      const options = { fetch: file.server(), tries, pause: async () => {} };
      return faulty(file, await openHttpReader("http://server/model", options));
    },
  };
}

const subjects: readonly Subject[] = [
  memory,
  plainFile,
  handle,
  threads("direct, 3 in flight", "auto", 3, false),
  threads("buffered, 3 in flight", false, 3, false),
  threads("one thread that keeps many reads in flight", "auto", 4, true),
  http("one try", 1, { short: ["IO_READ"], "device-error": ["IO_READ"] }),
  http("several tries", 3, { short: ["right"], "device-error": ["right"] }),
];

describe.each(subjects)("$title", ({ does, cannot, isDirect = false, open }) => {
  const skipped = isDirect && direct.isMissing;
  for (const fault of faultCases.filter(({ kind }) => !(kind in cannot))) {
    it.skipIf(skipped)(isDirect ? direct.title(fault.title) : fault.title, async () => {
      const { outcomes, struck } = await runFaultCase(fault, (file) => open(file, fault.kind));
      expect(struck).toBeGreaterThanOrEqual(6);
      expect(does[fault.kind] ?? fault.outcomes).toEqual(expect.arrayContaining([...outcomes]));
    });
  }
  const reasons = Object.entries(cannot).map(([kind, why]) => `${kind} (${why})`);
  it(reasons.length === 0 ? "can have every fault" : `cannot have: ${reasons.join(", ")}`, () => {
    const struck = faultCases.filter(({ kind }) => !(kind in cannot)).map(({ kind }) => kind);
    expect([...struck, ...Object.keys(cannot)].toSorted()).toEqual(FAULT_KINDS.toSorted());
    // What is said of a fault that it cannot have would never be looked at.
    expect(Object.keys(does).filter((kind) => kind in cannot)).toEqual([]);
  });
});

describe("the table itself", () => {
  const open =
    (change: (reader: FaultyReader["reader"]) => Partial<FaultyReader["reader"]>) => async (bytes: Uint8Array) => {
      const subject = await plainFile.open(bytes, "device-error");
      return { ...subject, reader: { ...subject.reader, ...change(subject.reader) } };
    };
  const run = (kind: FaultKind, opened: ReturnType<typeof open>) =>
    runFaultCase(faultCases.find((row) => row.kind === kind)!, opened);

  it("finds fault with a reader that takes part of a read for all of it", async () => {
    const trusting = async (bytes: Uint8Array) => {
      const device = new FaultyFile(bytes);
      const read: FaultyFile["reads"]["read"] = (...args) => {
        device.reads.read(...args);
        return args[3];
      };
      return faulty(device, openFileReader("file.bin", { ...device.reads, read, readv: () => 0 }));
    };
    await expect(run("short", trusting)).rejects.toThrow(
      /short at operation 1: expected right or IO_READ, found \d+ wrong/,
    );
  });
  it("finds fault with a reader that hides a device error", async () => {
    const hiding = open(({ start }) => ({
      start(...args) {
        try {
          start(...args);
        } catch {}
      },
    }));
    await expect(run("device-error", hiding)).rejects.toThrow(
      /device-error at operation \d: expected right or IO_READ/,
    );
  });
  it("finds fault with a reader of the other file", async () => {
    const opensAnew = async (bytes: Uint8Array) => {
      const device = new FaultyFile(bytes);
      return faulty(device, await openHttpReader("http://server/model", { fetch: device.server(false), tries: 1 }));
    };
    await expect(run("replace", opensAnew)).rejects.toThrow(
      /replace at operation 1: expected .*, found \d+ wrong bits/,
    );
  });
});
