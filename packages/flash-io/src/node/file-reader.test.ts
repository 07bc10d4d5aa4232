import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { FlashRun } from "../run-plan.js";
import { openFileReader, type PositionalReads } from "./file-reader.js";

let dir: string;
let path: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "flash-io-"));
  path = join(dir, "file.bin");
  writeFileSync(
    path,
    Uint8Array.from({ length: 256 }, (_, i) => i),
  );
});
afterAll(() => rmSync(dir, { recursive: true }));

const scattered: FlashRun = {
  offset: 16,
  sizeBytes: 8,
  pieces: [
    { ptr: 12, sizeBytes: 4 },
    { ptr: 0, sizeBytes: 4 },
  ],
  picks: 2,
};

/** A device that obeys, except in what the test overrides. */
function device(override: Partial<PositionalReads>): PositionalReads {
  return {
    open: () => 7,
    close: () => {},
    read: (_fd, into, at, sizeBytes, offset) => {
      for (let i = 0; i < sizeBytes; i++) into[at + i] = offset + i;
      return sizeBytes;
    },
    readv: () => 0,
    ...override,
  };
}

describe("openFileReader", () => {
  it("scatters one run over several places of a WebAssembly memory", async () => {
    const memory = new Uint8Array(new WebAssembly.Memory({ initial: 1, maximum: 1 }).buffer);
    const reader = openFileReader(path);
    reader.start(memory, [scattered]);
    await reader.wait();
    expect([...memory.subarray(0, 16)]).toEqual([20, 21, 22, 23, 0, 0, 0, 0, 0, 0, 0, 0, 16, 17, 18, 19]);
    await reader.close();
    expect(() => reader.start(memory, [scattered])).toThrowError(/closed/);
  });
  it("names file and offset when the file ends inside a run", () => {
    const reader = openFileReader(path);
    const run: FlashRun = { offset: 250, sizeBytes: 16, pieces: [{ ptr: 0, sizeBytes: 16 }], picks: 1 };
    expect(() => reader.start(new Uint8Array(32), [run])).toThrowError(
      expect.objectContaining({ code: "FORMAT_TRUNCATED", message: expect.stringContaining("file.bin @ 250") }),
    );
  });
  it("completes short reads", () => {
    const memory = new Uint8Array(16);
    const whole = device({});
    const reader = openFileReader(
      "x",
      device({ read: (fd, into, at, sizeBytes, offset) => whole.read(fd, into, at, Math.min(3, sizeBytes), offset) }),
    );
    reader.start(memory, [scattered]);
    expect([...memory.subarray(0, 4)]).toEqual([20, 21, 22, 23]);
    expect([...memory.subarray(12, 16)]).toEqual([16, 17, 18, 19]);
  });
  it("turns a device error into IO_READ with the offset", () => {
    const eio = Object.assign(new Error("EIO: i/o error, read"), { code: "EIO" });
    const reader = openFileReader(
      "x",
      device({
        read: () => {
          throw eio;
        },
      }),
    );
    expect(() => reader.start(new Uint8Array(16), [scattered])).toThrowError(
      expect.objectContaining({ code: "IO_READ", details: { offset: 16, sizeBytes: 8 }, cause: eio }),
    );
  });
  it("reports a missing file", () => {
    expect(() => openFileReader(join(dir, "none"))).toThrowError(expect.objectContaining({ code: "IO_NOT_FOUND" }));
  });
  it("throws the signal's own reason", () => {
    const reader = openFileReader(path);
    const reason = new Error("stop");
    expect(() => reader.start(new Uint8Array(16), [scattered], AbortSignal.abort(reason))).toThrow(reason);
  });
});
