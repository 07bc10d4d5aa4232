import { describe, expect, it } from "vitest";
import type { FlashRun } from "../run-plan.js";
import { ReaderTable, WORDS } from "./reader-table.js";

const run = (offset: number): FlashRun => ({ offset, sizeBytes: 512, pieces: [{ ptr: 0, sizeBytes: 512 }], picks: 1 });
const batch = (count: number) => Array.from({ length: count }, (_, i) => run(512 * i));

/** What a reader thread does when its read has ended. */
function land(table: ReaderTable, entry: number): void {
  const { buffer, columns, runCapacity } = table.layout;
  Atomics.store(new Int32Array(buffer, columns.landed, runCapacity), entry & (runCapacity - 1), 1);
  Atomics.add(new Int32Array(buffer), WORDS.endings, 1);
}

/** How many more reads the owner, about to sleep for the first `runCount` runs, asks to be woken after. */
function asksFor(table: ReaderTable, runCount: number): number {
  table.sleep(runCount, 0);
  const words = new Int32Array(table.layout.buffer);
  return (words[WORDS.wakeAt]! - words[WORDS.endings]!) | 0;
}

describe("ReaderTable.sleep", () => {
  it("does not sleep on when the last read to end was not the last in order", () => {
    const table = new ReaderTable({ runCapacity: 64, pieceCapacity: 64, threads: 4 });
    table.begin(batch(16), 0, 0);
    expect(asksFor(table, 16)).toBe(16);
    for (let entry = 1; entry < 16; entry++) land(table, entry);
    expect(asksFor(table, 16)).toBe(1);
    land(table, 0);
    expect(table.hasLanded(16)).toBe(true);
  });
  it("asks for no more than the first runs need, whatever has landed behind them", () => {
    const table = new ReaderTable({ runCapacity: 64, pieceCapacity: 64, threads: 4 });
    table.begin(batch(16), 0, 0);
    for (const entry of [1, 5, 9, 15]) land(table, entry);
    expect(asksFor(table, 6)).toBe(4);
  });
  it("of a batch longer than the ring asks for what makes room", () => {
    const table = new ReaderTable({ runCapacity: 16, pieceCapacity: 64, threads: 4 });
    table.begin(batch(40), 0, 0);
    // 16 are published; when 8 or fewer are left, more can be.
    for (const entry of [3, 4]) land(table, entry);
    expect(asksFor(table, 40)).toBe(7);
  });
});
