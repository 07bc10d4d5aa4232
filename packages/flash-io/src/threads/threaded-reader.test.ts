/** The reader over threads, with threads that do what the test says. What every reader must do: ../conformance. */
import { afterEach, describe, expect, it, vi } from "vitest";
import type { FlashRun } from "../run-plan.js";
import { steppedReader } from "./stepped-threads.fixture.js";

const batch = (count: number): FlashRun[] =>
  Array.from({ length: count }, (_, i) => ({
    offset: 512 * i,
    sizeBytes: 512,
    pieces: [{ ptr: 512 * i, sizeBytes: 512 }],
    picks: 1,
  }));

function sharedMemory(): Uint8Array {
  return new Uint8Array(new WebAssembly.Memory({ initial: 2, maximum: 2, shared: true }).buffer);
}

describe("waiting", () => {
  it("needs no promise for what has landed, and returns with a prefix while later runs are still to come", async () => {
    const { reader, threads } = steppedReader(1);
    const memory = sharedMemory();
    reader.start(memory, batch(40));
    for (let i = 0; i < 3; i++) threads[0]!.land(threads[0]!.take());
    expect(reader.wait(3)).toBeUndefined();
    expect(memory[512 * 2]).toBe(2);
    expect(reader.countLanded()).toBe(3);
    for (let place = threads[0]!.take(); place >= 0; place = threads[0]!.take()) threads[0]!.land(place);
    expect(reader.wait()).toBeUndefined();
    expect(reader.wait()).toBeUndefined(); // and there is nothing to wait for any more
  });

  it("needs no promise for named runs that have landed before the first of the batch", async () => {
    const { reader, threads } = steppedReader(3);
    reader.start(sharedMemory(), batch(3));
    const places = threads.map((thread) => thread.take());
    for (const thread of [1, 2]) threads[thread]!.land(places[thread]!);
    expect(reader.waitFor([2, 1])).toBeUndefined();
    expect(reader.countLanded()).toBe(0);
    const first = reader.waitFor([0]);
    expect(first).toBeInstanceOf(Promise);
    threads[0]!.land(places[0]!);
    await first;
    expect(reader.wait()).toBeUndefined();
  });

  it("of a batch longer than the table, named runs that are not yet published come later", async () => {
    const { reader, threads } = steppedReader(1);
    const memory = sharedMemory();
    reader.start(memory, batch(200));
    const last = reader.waitFor([199, 100]);
    expect(last).toBeInstanceOf(Promise);
    let landed = false;
    void Promise.resolve(last).then(() => {
      landed = true;
    });
    for (let count = 0; count < 200; await new Promise(setImmediate)) {
      for (let place = threads[0]!.take(); place >= 0; place = threads[0]!.take(), count++) threads[0]!.land(place);
      if (count < 200) expect(landed).toBe(false);
    }
    await last;
    expect([memory[512 * 199], memory[512 * 100]]).toEqual([199, 100]);
  });

  it("a thread that was told to pause takes nothing that is published afterwards", async () => {
    const { reader, threads } = steppedReader(2);
    reader.limit(1);
    reader.start(sharedMemory(), batch(2));
    expect(threads[1]!.take()).toBe(-1);
    threads[0]!.land(threads[0]!.take());
    reader.limit(2);
    threads[1]!.land(threads[1]!.take());
    expect(reader.wait()).toBeUndefined();
  });
});

describe("a thread that is lost", () => {
  afterEach(() => void vi.useRealTimers());

  it("in the middle of a read does not hold up what wait throws", async () => {
    const { reader, threads } = steppedReader(2);
    reader.start(sharedMemory(), batch(8));
    threads[0]!.take();
    threads[0]!.events.failed(new Error("no such luck"));
    threads[0]!.events.ended("was terminated");
    await expect(reader.wait()).rejects.toMatchObject({
      code: "IO_READ",
      message: "stepped.bin: a reader thread ended (no such luck); open the file again",
    });
    threads[1]!.events.ended("ended");
    await reader.close();
  });

  it("without a word, in the middle of a read, does not keep the reader from closing", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const { reader, threads } = steppedReader(2);
    reader.start(sharedMemory(), batch(8));
    threads[0]!.take();
    const waiting = expect(reader.wait()).rejects.toMatchObject({ code: "DISPOSED" });
    const closing = reader.close();
    threads[1]!.events.ended("ended");
    await vi.advanceTimersByTimeAsync(1000);
    expect(threads.map(({ terminated }) => terminated)).toEqual([true, false]);
    await vi.advanceTimersByTimeAsync(1000);
    await closing;
    await waiting;
  });

  it("while it starts is told to whoever waits for it", async () => {
    const { reader, threads } = steppedReader(1);
    const growing = expect(reader.grow(3)).rejects.toMatchObject({ code: "IO_READ", message: /no such luck/ });
    threads[2]!.events.failed(new Error("no such luck"));
    await growing;
  });
});
