/** Workers of a page that are lost, which a real browser says little of. What every reader must do: tools/browser. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Fault } from "../conformance/fault.js";
import { FaultyFile } from "../conformance/faulty-file.js";
import type { FlashReader } from "../reader.js";
import { openOpfsReader } from "./opfs-reader.js";
import { readAt } from "./sync-handle.js";

/** A worker that comes up, takes what it is given and never gives it back. */
class LostWorker {
  onmessage: (event: { data: object }) => void = () => {};
  onerror: (event: { message: string }) => void = () => {};
  terminated = false;

  // biome-ignore lint/suspicious/noExplicitAny: either message of the protocol.
  postMessage(message: any): void {
    if (!("table" in message)) return;
    const { table, thread } = message;
    Atomics.store(new Int32Array(table.buffer), table.words.busy + thread, 1);
    queueMicrotask(() => this.onmessage({ data: { ready: true } }));
  }

  terminate(): void {
    this.terminated = true;
  }
}

const file = {
  name: "model.gguf",
  createSyncAccessHandle: async () => ({ getSize: () => 65536, close() {} }),
} as unknown as FileSystemFileHandle;

async function open(): Promise<{ reader: FlashReader; workers: LostWorker[] }> {
  const workers: LostWorker[] = [];
  const createWorker = () => workers[workers.push(new LostWorker()) - 1]! as unknown as Worker;
  const reader = await openOpfsReader(file, { readers: 2, createWorker });
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  reader.start(new Uint8Array(memory.buffer), [
    { offset: 0, sizeBytes: 512, pieces: [{ ptr: 0, sizeBytes: 512 }], picks: 1 },
  ]);
  return { reader, workers };
}

beforeEach(() => void vi.stubGlobal("crossOriginIsolated", true));
afterEach(() => void vi.unstubAllGlobals());

describe("openOpfsReader", () => {
  it("closing ends although workers have died in the middle of a read", async () => {
    const { reader, workers } = await open();
    await reader.close();
    expect(workers.map(({ terminated }) => terminated)).toEqual([true, true]);
  });

  it("waiting ends when the workers that hold reads have failed", async () => {
    const { reader, workers } = await open();
    for (const worker of workers) worker.onerror({ message: "no such luck" });
    await expect(reader.wait()).rejects.toMatchObject({ code: "IO_READ", message: /no such luck/ });
    await reader.close();
  });
});

describe("a reader on the worker that asks", () => {
  const bytes = Uint8Array.from({ length: 4096 }, (_, i) => i % 251);
  const run = { offset: 100, sizeBytes: 2000, pieces: [{ ptr: 0, sizeBytes: 2000 }], picks: 1 };

  async function openFaulty(fault: Fault) {
    const device = new FaultyFile(bytes);
    const stored = { name: "model.gguf", createSyncAccessHandle: async () => device.handle() };
    const reader = await openOpfsReader(stored as unknown as FileSystemFileHandle, { readers: 0 });
    device.counter.arm(fault);
    return reader;
  }

  it("completes a short read, which it took for the file's end", async () => {
    const reader = await openFaulty({ kind: "short", at: 1, seed: 1 });
    const memory = new Uint8Array(2000);
    reader.start(memory, [run]);
    expect(memory).toEqual(bytes.slice(100, 2100));
  });
  it("says where the device failed, and what to do, instead of the browser's own exception", async () => {
    const reader = await openFaulty({ kind: "device-error", at: 1, seed: 1 });
    expect(() => reader.start(new Uint8Array(2000), [run])).toThrow(
      expect.objectContaining({ code: "IO_READ", message: expect.stringMatching(/model.gguf @ 100: .*EIO.*import/) }),
    );
  });
  it("tells the file's end from a short read, in what is read of a stored model beside its records", () => {
    const device = new FaultyFile(bytes);
    device.counter.arm({ kind: "short", at: 1, seed: 1 });
    const target = new Uint8Array(3000);
    expect([readAt(device.handle(), "model.gguf", target, 2096), target.slice(0, 2000)]).toEqual([
      2000,
      bytes.slice(2096),
    ]);
  });
});
