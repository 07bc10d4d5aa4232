import { describe, expect, it, onTestFinished, vi } from "vitest";
import type { FlashRun } from "../run-plan.js";
import { type AwaitedRuns, ReaderTable } from "./reader-table.js";
import { WORDS } from "./table-layout.js";
import { TableThread } from "./table-thread.js";

const run = (offset: number): FlashRun => ({ offset, sizeBytes: 512, pieces: [{ ptr: 0, sizeBytes: 512 }], picks: 1 });
const batch = (count: number) => Array.from({ length: count }, (_, i) => run(512 * i));

/** What a reader thread does when its read has ended. */
function land(table: ReaderTable, entry: number): void {
  const { buffer, columns, runCapacity } = table.layout;
  Atomics.store(new Int32Array(buffer, columns.completed, runCapacity), entry & (runCapacity - 1), 1);
  Atomics.add(new Int32Array(buffer), WORDS.completions, 1);
}

/** How many more reads the owner, about to sleep for `awaited`, asks to be woken after. */
function asksFor(table: ReaderTable, awaited: AwaitedRuns): number {
  table.sleep(awaited, 0);
  const words = new Int32Array(table.layout.buffer);
  return (words[WORDS.wakeAt]! - words[WORDS.completions]!) | 0;
}

describe("ReaderTable.sleep", () => {
  it("does not sleep on when the last read to end was not the last in order", () => {
    const table = new ReaderTable({ runCapacity: 64, pieceCapacity: 64, threads: 4 });
    table.startBatch(batch(16), 0, 0);
    expect(asksFor(table, 16)).toBe(16);
    for (let entry = 1; entry < 16; entry++) land(table, entry);
    expect(asksFor(table, 16)).toBe(1);
    land(table, 0);
    expect(table.hasLanded(16)).toBe(true);
  });
  it("asks for no more than the first runs need, whatever has landed behind them", () => {
    const table = new ReaderTable({ runCapacity: 64, pieceCapacity: 64, threads: 4 });
    table.startBatch(batch(16), 0, 0);
    for (const entry of [1, 5, 9, 15]) land(table, entry);
    expect(asksFor(table, 6)).toBe(4);
  });
  it("of a batch longer than the ring asks for what makes room", () => {
    const table = new ReaderTable({ runCapacity: 16, pieceCapacity: 64, threads: 4 });
    table.startBatch(batch(40), 0, 0);
    // 16 are published; when 8 or fewer are left, more can be.
    for (const entry of [3, 4]) land(table, entry);
    expect(asksFor(table, 40)).toBe(7);
  });
  it("for named runs asks for those that are missing, whatever has landed beside them", () => {
    const table = new ReaderTable({ runCapacity: 64, pieceCapacity: 64, threads: 4 });
    table.startBatch(batch(16), 0, 0);
    for (const entry of [0, 1, 5]) land(table, entry);
    expect(asksFor(table, [1, 2, 5, 9, 15])).toBe(3);
    // A run that is named twice lands once.
    expect(asksFor(table, [9, 9])).toBe(1);
    for (const entry of [2, 9, 15]) land(table, entry);
    expect(table.hasLanded([1, 2, 5, 9, 15])).toBe(true);
    expect(table.landedRuns).toBe(3);
  });
  it("for named runs of a batch longer than the ring asks for what makes room", () => {
    const table = new ReaderTable({ runCapacity: 16, pieceCapacity: 64, threads: 4 });
    table.startBatch(batch(40), 0, 0);
    for (const entry of [3, 4]) land(table, entry);
    expect(asksFor(table, [3, 4, 39])).toBe(7);
    expect(table.hasLanded([3, 4])).toBe(true);
    expect(table.hasLanded([39])).toBe(false);
  });
});

describe("ReaderTable.hasLanded", () => {
  const pieces = Array.from({ length: 20 }, (_, i) => ({ ptr: 512 * i, sizeBytes: 512 }));
  const long: FlashRun = { offset: 0, sizeBytes: 20 * 512, pieces, picks: 1 };

  it("counts a run of several entries once the last of them has completed", () => {
    // 8 pieces an entry: the long run is entries 0, 1 and 2, but only two entries' pieces fit at once.
    const table = new ReaderTable({ runCapacity: 16, pieceCapacity: 16, threads: 4 });
    const small = new ReaderTable({ runCapacity: 16, pieceCapacity: 8, threads: 4 });
    table.startBatch([long, run(0)], 0, 0);
    small.startBatch([long, run(0)], 0, 0);
    for (const [t, entries] of [
      [table, 2],
      [small, 3],
    ] as const) {
      for (let entry = 0; entry < entries; entry++) {
        expect([t.hasLanded(1), t.hasLanded([0]), t.hasLanded([1])]).toEqual([false, false, false]);
        land(t, entry);
      }
      expect([t.hasLanded(1), t.hasLanded([0]), t.hasLanded([1])]).toEqual([true, true, false]);
      land(t, entries);
      expect(t.hasLanded(2)).toBe(true);
    }
  });
  it("says of no run that it is there after a cancel, unless it is", () => {
    const table = new ReaderTable({ runCapacity: 4, pieceCapacity: 8, threads: 1 });
    table.startBatch(batch(4), 0, 0);
    for (let entry = 0; entry < 4; entry++) land(table, entry);
    expect(table.hasLanded(4)).toBe(true);
    table.startBatch(batch(20), 0, 0);
    land(table, 4);
    table.cancel();
    const landed = Array.from({ length: 20 }, (_, i) => table.hasLanded([i]));
    expect(landed).toEqual([true, ...new Array(19).fill(false)]);
  });
});

describe("a thread that is about to pause", () => {
  /** What it returns with if `happens` comes between its last look and its sleep. */
  function awaitWork(happens: (table: ReaderTable) => void) {
    const table = new ReaderTable({ runCapacity: 4, pieceCapacity: 4, threads: 1 });
    table.activate(0, 1);
    const sleep = vi.spyOn(Atomics, "wait");
    onTestFinished(() => sleep.mockRestore());
    sleep.mockImplementationOnce(((words: Int32Array, index: number, value: number) => {
      happens(table);
      if (Atomics.load(words, index) === value) throw new Error("it sleeps for ever");
      return "not-equal";
    }) as typeof Atomics.wait);
    return new TableThread(table.layout, 0, 0).awaitWork().what;
  }

  it("does not sleep through the end, which does not change how many may read", () => {
    expect(awaitWork((table) => table.stop())).toBe("stop");
  });
  it("does not sleep through a message, and so does not keep a memory that is released", () => {
    const announce = (table: ReaderTable) => {
      table.announceMessage();
      table.ringDoorbell();
    };
    expect(awaitWork(announce)).toBe("message");
  });
});
