import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { IoError } from "@flashwick/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openPrefixFolder } from "./prefix-folder.js";

let folder: string;
beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), "prefixes-")), "kept");
});
afterEach(() => rmSync(join(folder, ".."), { recursive: true }));

const key = (digit: string) => digit.repeat(64);
const page = (seed: number) => Uint8Array.from({ length: 100 }, (_, i) => (seed + 7 * i) % 256);
const file = (digit: string) => join(folder, `${key(digit)}.kv`);
/** Of a page of 100 bytes. */
const FILE_BYTES = 116;
const roomFor = (pages: number) => ({ maxBytes: pages * FILE_BYTES });

it("gives back what was written, in this process and in the next", async () => {
  const store = await openPrefixFolder(folder, roomFor(9));
  expect(await store.read(key("a"), 100)).toBeNull();
  await store.write(key("a"), page(1));
  for (const opened of [store, await openPrefixFolder(folder, roomFor(9))]) {
    expect(await opened.has(key("a"))).toBe(true);
    expect(await opened.read(key("a"), 100)).toEqual(page(1));
  }
  expect(readdirSync(folder)).toEqual([`${key("a")}.kv`]);
  expect(readFileSync(file("a")).length).toBe(FILE_BYTES);
});

it("sees what another process has written meanwhile", async () => {
  const [one, other] = [await openPrefixFolder(folder, roomFor(9)), await openPrefixFolder(folder, roomFor(9))];
  await one.write(key("a"), page(1));
  expect(await other.read(key("a"), 100)).toEqual(page(1));
});

describe("a damaged file", () => {
  const damages: readonly (readonly [string, (bytes: Uint8Array) => Uint8Array])[] = [
    ...[0, 4, 8, 12, 16, 115].map(
      (at) => [`byte ${at}`, (bytes: Uint8Array) => bytes.with(at, bytes[at]! ^ 0x10)] as const,
    ),
    ["cut", (bytes) => bytes.slice(0, 60)],
    ["longer", (bytes) => Uint8Array.of(...bytes, 0)],
    ["empty", () => new Uint8Array(0)],
  ];
  it.each(damages)("(%s) is as good as none, and removed", async (_, damage) => {
    const store = await openPrefixFolder(folder, roomFor(9));
    await store.write(key("a"), page(1));
    writeFileSync(file("a"), damage(new Uint8Array(readFileSync(file("a")))));
    expect(await store.read(key("a"), 100)).toBeNull();
    expect([existsSync(file("a")), await store.has(key("a"))]).toEqual([false, false]);
    await store.write(key("a"), page(1));
    expect(await store.read(key("a"), 100)).toEqual(page(1));
  });
});

it("a whole page under the name of another, whose tokens are others, is as good as none", async () => {
  const store = await openPrefixFolder(folder, roomFor(9));
  await store.write(key("a"), page(1));
  await store.write(key("b"), page(2));
  renameSync(file("a"), file("b"));
  expect(await store.read(key("b"), 100)).toBeNull();
  expect(existsSync(file("b"))).toBe(false);
});

describe("what somebody else has put into the folder", () => {
  it("a file of gigabytes under the name of a page was read into memory as far as Node would, and stayed", async () => {
    const errors: IoError[] = [];
    const store = await openPrefixFolder(folder, { ...roomFor(9), onError: (error) => errors.push(error) });
    writeFileSync(file("a"), "");
    // Sparse: it takes no disk.
    truncateSync(file("a"), 3 * 2 ** 30);
    expect(await store.read(key("a"), 100)).toBeNull();
    expect([errors, existsSync(file("a"))]).toEqual([[], false]);
  });
  it("a link in the place of the file that is being written was written through", async () => {
    const store = await openPrefixFolder(folder, roomFor(9));
    const outside = join(folder, "..", "outside");
    writeFileSync(outside, "mine");
    symlinkSync(outside, `${file("a")}.${process.pid}.tmp`);
    await store.write(key("a"), page(1));
    expect(readFileSync(outside, "utf8")).toBe("mine");
    expect(await store.read(key("a"), 100)).toEqual(page(1));
  });
  it("a folder under the name of a page is no page, and counts for nothing", async () => {
    mkdirSync(file("a"), { recursive: true });
    const store = await openPrefixFolder(folder, roomFor(1));
    expect(await store.has(key("a"))).toBe(false);
    await store.write(key("b"), page(1));
    expect(await store.read(key("b"), 100)).toEqual(page(1));
  });
});

describe("the bound", () => {
  it("removes the least recently used file", async () => {
    const store = await openPrefixFolder(folder, roomFor(2));
    await store.write(key("a"), page(1));
    await store.write(key("b"), page(2));
    await store.read(key("a"), 100);
    await store.write(key("c"), page(3));
    expect(readdirSync(folder).sort()).toEqual([`${key("a")}.kv`, `${key("c")}.kv`]);
    expect(await store.has(key("b"))).toBe(false);
  });
  it("holds in the next process, in the order of use", async () => {
    const before = await openPrefixFolder(folder, roomFor(3));
    for (const [i, digit] of ["a", "b", "c"].entries()) {
      await before.write(key(digit), page(i));
      const used = new Date(1e12 + 1000 * [2, 1, 3][i]!);
      utimesSync(file(digit), used, used);
    }
    const store = await openPrefixFolder(folder, roomFor(3));
    await store.write(key("d"), page(4));
    expect(existsSync(file("b"))).toBe(false);
    await store.write(key("e"), page(5));
    expect(readdirSync(folder).sort()).toEqual(["c", "d", "e"].map((digit) => `${key(digit)}.kv`));
  });
  it("keeps a page that is larger than all of it out", async () => {
    const store = await openPrefixFolder(folder, { maxBytes: FILE_BYTES - 1 });
    await store.write(key("a"), page(1));
    expect(readdirSync(folder)).toEqual([]);
    await expect(openPrefixFolder(folder, { maxBytes: Number.NaN })).rejects.toThrow(
      /maxBytes of a prefix folder is NaN/,
    );
  });
});

it("removes what an interrupted write has left, and nothing that is not its own", async () => {
  await openPrefixFolder(folder, roomFor(9));
  const [stale, fresh, foreign] = [`${file("a")}.1.tmp`, `${file("b")}.2.tmp`, join(folder, "notes.txt")];
  for (const path of [stale, fresh, foreign]) writeFileSync(path, "x");
  for (const path of [stale, foreign]) utimesSync(path, new Date(1e12), new Date(1e12));
  await openPrefixFolder(folder, roomFor(9));
  expect([stale, fresh, foreign].map((path) => existsSync(path))).toEqual([false, true, true]);
});

it("tells what cannot be written, and goes on", async () => {
  const errors: IoError[] = [];
  const store = await openPrefixFolder(folder, { ...roomFor(9), onError: (error) => errors.push(error) });
  rmSync(folder, { recursive: true });
  await store.write(key("a"), page(1));
  expect(errors.map(({ code }) => code)).toEqual(["IO_WRITE"]);
  expect(await store.read(key("a"), 100)).toBeNull();
  expect(errors.length).toBe(1);
  writeFileSync(folder, "a file, not a folder");
  await expect(openPrefixFolder(folder, roomFor(9))).rejects.toMatchObject({ code: "IO_WRITE" });
});
