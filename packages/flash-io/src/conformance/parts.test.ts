/** Readers of a model in several files: runs are at offsets among those of all, and errors name the file and the place in it. */
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { joinedSource, memorySource, Random, type SourcePart } from "@flashwick/core";
import { capability } from "@flashwick/test-capabilities";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { openHttpReader } from "../http/http-reader.js";
import { httpSource } from "../http/http-source.js";
import { memoryReader } from "../memory-reader.js";
import { openFileReader } from "../node/file-reader.js";
import { openFlashFile } from "../node/flash-file.js";
import { openFlashParts } from "../node/flash-parts.js";
import { readByThreads, type ThreadedReaderOptions } from "../node/threaded-file.js";
import type { FlashReader } from "../reader.js";
import type { FlashRun } from "../run-plan.js";

const dir = mkdtempSync(join(tmpdir(), "flash-parts-"));
afterAll(() => rmSync(dir, { recursive: true }));

const random = new Random(3);
/** Three files, two of which end within a page. */
const files = [70_001, 8192, 300_123].map(
  (sizeBytes) =>
    new Uint8Array(Uint32Array.from({ length: Math.ceil(sizeBytes / 4) }, () => random.next()).buffer, 0, sizeBytes),
);
const names = files.map((_, i) => join(dir, `part ${i}.bin`));
const partsOf = (name: (i: number) => string): readonly SourcePart[] =>
  joinedSource(files.map((bytes, i) => memorySource(bytes, name(i)))).parts;
const parts = partsOf((i) => names[i]!);

const fetchFile = (async (url: string, { headers }: { headers: { range: string } }) => {
  const file = files[Number(/part%20(\d)\.bin\?download$/.exec(url)![1])]!;
  const [from, to] = /^bytes=(\d+)-(\d+)$/.exec(headers.range)!.slice(1).map(Number) as [number, number];
  const body = file.slice(from, to + 1);
  const contentRange = `bytes ${from}-${from + body.length - 1}/${file.length}`;
  return new Response(body, { status: 206, headers: { "content-range": contentRange } });
}) as unknown as typeof fetch;
const address = (i: number) => `https://models.example/a/part%20${i}.bin?download`;

let reader: FlashReader | undefined;
afterEach(async () => await reader?.close());

function threads(direct: "auto" | false, options: ThreadedReaderOptions = {}) {
  return () => readByThreads(openFlashParts(parts, direct), 4, 0, options);
}
function writeFiles(): boolean {
  files.forEach((bytes, i) => {
    writeFileSync(names[i]!, bytes);
  });
  const file = openFlashFile(names[0]!, "auto");
  file.close();
  return file.access.direct;
}
const direct = capability("direct-io", writeFiles() ? null : "the folder of temporary files refuses O_DIRECT");

const subjects: [string, open: () => FlashReader | Promise<FlashReader>, needsDirect?: boolean][] = [
  ["memory", () => memoryReader(files.map((bytes, i) => ({ bytes, begin: parts[i]!.begin })))],
  ["plain files", () => openFileReader(parts)],
  ["threads, direct", threads("auto", { jitterUs: 100 }), true],
  ["threads, buffered", threads(false)],
  ["one thread with a ring", threads("auto", { ring: true }), true],
  ["HTTP", () => openHttpReader(partsOf(address), { fetch: fetchFile })],
];

describe.each(subjects)("%s", (title, open, needsDirect = false) => {
  it.skipIf(needsDirect && direct.isMissing)(
    needsDirect ? direct.title(title) : "brings the bytes of each file",
    async () => {
      reader = await open();
      const memory = new Uint8Array(new WebAssembly.Memory({ initial: 16, maximum: 16, shared: true }).buffer);
      const runs: FlashRun[] = [];
      const expected: Uint8Array[] = [];
      let ptr = 0;
      for (const [i, file] of [...files.entries(), ...files.entries()].reverse()) {
        for (const [at, sizes] of [
          [0, [512]],
          [4096, [4096]],
          [1001, [7, 1500]],
          [file.length - 77, [77]],
        ] as const) {
          const sizeBytes = sizes[0] + (sizes[1] ?? 0);
          const pieces = sizes.map((size) => ({ ptr: (ptr += 8192) - 8192, sizeBytes: size }));
          runs.push({ offset: parts[i]!.begin + at, sizeBytes, pieces, picks: 0 });
          expected.push(file.subarray(at, at + sizeBytes));
        }
      }
      reader.start(memory, runs);
      await reader.wait();
      for (const [i, { pieces }] of runs.entries()) {
        const found = pieces.flatMap(({ ptr, sizeBytes }) => [...memory.subarray(ptr, ptr + sizeBytes)]);
        expect(found).toEqual([...expected[i]!]);
      }
    },
  );
});

it.each([
  ["plain files", () => openFileReader(parts)],
  ["threads", threads(false)],
] as const)("a part that was cut is named, with the place in it: %s", async (_, open) => {
  reader = open();
  truncateSync(names[2]!, 100_000);
  const run = { offset: parts[2]!.begin + 200_000, sizeBytes: 16, pieces: [{ ptr: 0, sizeBytes: 16 }], picks: 0 };
  const failure = await (async () => {
    reader.start(new Uint8Array(new SharedArrayBuffer(4096)), [run]);
    await reader.wait();
  })().catch((error: unknown) => error);
  writeFileSync(names[2]!, files[2]!);
  expect(failure).toMatchObject({ message: expect.stringContaining(names[2]!) });
  expect((failure as { code: string }).code).toMatch(/^(FORMAT_TRUNCATED|IO_FILE_CHANGED)$/);
});

it("a missing part is named, and what was opened before it is closed", () => {
  const missing = [...parts.slice(0, 2), { ...parts[2]!, name: join(dir, "none.bin") }];
  for (const open of [() => openFileReader(missing), () => openFlashParts(missing, false)]) {
    expect(open).toThrow(
      expect.objectContaining({ code: "IO_NOT_FOUND", message: expect.stringContaining("none.bin") }),
    );
  }
});

it("a sibling on a server has the address of the first, but for its name", async () => {
  const first = await httpSource(address(0), { fetch: fetchFile });
  const sibling = await first.openSibling!("part 1.bin");
  const bytes = new Uint8Array(16);
  await sibling.read(bytes, 4096);
  expect([sibling.name, [...bytes]]).toEqual([address(1), [...files[1]!.subarray(4096, 4112)]]);
});
