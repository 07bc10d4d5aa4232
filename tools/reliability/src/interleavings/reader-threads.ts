/**
 * The table through which reads are handed to threads (packages/flash-io/src/threads), as a search over all interleavings: its own code on both sides, with reads
 * that count how often each run is read.
 */
import { type AwaitedRuns, ReaderTable } from "../../../../packages/flash-io/src/threads/reader-table.js";
import { allocateTable, type TableSize, WORDS } from "../../../../packages/flash-io/src/threads/table-layout.js";
import { TableThread } from "../../../../packages/flash-io/src/threads/table-thread.js";
import type { Exploration, ExploredThread } from "./explore.js";
import { SharedMemory } from "./shared-memory.js";

const MOST_RUNS = 8;

/** What the owner does with the table. */
export interface Owner {
  readonly table: ReaderTable;
  /** How often the run at each offset was read. */
  readonly reads: Int32Array;
  /** Starts to read the runs of these offsets. */
  start(offsets: readonly number[]): void;
  /** Waits as ThreadedReader does; false: a read has failed. */
  await(awaited: AwaitedRuns): boolean;
  /** Cancels, and waits until no read is in flight. */
  drain(): void;
  expectReads(what: string, offsets: readonly number[], count: number): void;
}

/** What is explored. */
export interface ReaderSetting {
  readonly name: string;
  readonly threads: number;
  readonly size?: Partial<TableSize>;
  /** The offset of the run whose read fails. */
  readonly failing?: number;
  readonly owner: (owner: Owner) => void;
  /** At the end the threads are told to end, and must. */
  readonly stops?: boolean;
}

/** The owner and its threads. */
export function readerExploration({ threads, size, failing, owner, stops = false }: ReaderSetting): Exploration {
  const sizes = { runCapacity: 2, pieceCapacity: 2, threads, ...size };
  const real = allocateTable(sizes);
  const readsOffset = real.columns.end;
  const memory = new SharedMemory(readsOffset + 4 * MOST_RUNS);
  // As ReaderTable.activate leaves it: all threads may read.
  memory.words[WORDS.active] = threads;
  const layout = { ...real, buffer: memory.buffer };
  const readsOf = () => new Int32Array(memory.buffer, readsOffset, MOST_RUNS);
  const thread = (i: number): ExploredThread => ({
    ...{ name: `thread ${i}`, mustEnd: stops },
    run: () => {
      const reads = readsOf();
      const table = new TableThread(layout, i, 0);
      table.serve((place) => {
        const offset = table.offset[place]!;
        reads[offset]!++;
        if (offset === failing) throw new Error("bad block");
      });
    },
    // The top of its loop: it knows nothing but the doorbell that it has just loaded.
    isHome: (op, before) =>
      op.name === "load" && op.word === WORDS.active && before?.name === "load" && before.word === WORDS.doorbell,
  });
  const run = () => {
    const table = new ReaderTable(sizes);
    const reads = readsOf();
    owner({
      table,
      reads,
      start(offsets) {
        const runs = offsets.map((offset) => ({
          ...{ offset, sizeBytes: 1, pieces: [{ ptr: offset, sizeBytes: 1 }], picks: 1 },
        }));
        table.startBatch(runs, 0, 0);
      },
      await(awaited) {
        while (!table.hasLanded(awaited)) {
          if (table.hasError()) return false;
          table.sleep(awaited, 10);
        }
        return true;
      },
      drain() {
        table.cancel();
        for (let i = 0; i < threads; i++) while (!table.isIdle(i)) memory.pause();
      },
      expectReads(what, offsets, count) {
        for (const offset of offsets) {
          if (reads[offset] !== count) throw new Error(`${what}: run ${offset} was read ${reads[offset]} times`);
        }
      },
    });
    if (stops) table.stop();
  };
  const all = Array.from({ length: threads }, (_, i) => thread(i));
  return { memory, threads: [{ name: "owner", run, mustEnd: true, pauses: true }, ...all] };
}

/** Batches one after another, awaited whole. */
const batches =
  (...all: readonly (readonly number[])[]) =>
  (owner: Owner) => {
    for (const offsets of all) {
      owner.start(offsets);
      owner.await(offsets.length);
      owner.expectReads("a batch has landed", offsets, 1);
    }
  };

/** The second of two runs before the first. */
function outOfOrder(owner: Owner): void {
  owner.start([0, 1]);
  owner.await([1]);
  owner.expectReads("the second run has landed", [1], 1);
  owner.await(2);
  owner.expectReads("all has landed", [0, 1], 1);
}

function cancelled(owner: Owner): void {
  owner.start([0, 1]);
  owner.drain();
  const before = [owner.reads[0], owner.reads[1]];
  owner.table.reset();
  owner.start([2]);
  owner.await(1);
  owner.expectReads("the batch after the cancelled one has landed", [2], 1);
  if (owner.reads[0] !== before[0] || owner.reads[1] !== before[1]) throw new Error("a cancelled run was read");
}

function cancelledAtOnce(owner: Owner): void {
  owner.start([0]);
  owner.drain();
  if (owner.reads[0]! > 1) throw new Error("a run was read twice");
}

function failedAtOnce(owner: Owner): void {
  owner.start([0]);
  if (owner.await(1)) throw new Error("all has landed, although a read has failed");
  owner.drain();
  if (owner.table.failure() === null) throw new Error("nobody says why");
}

function failed(owner: Owner): void {
  owner.start([0, 1]);
  if (owner.await(2)) throw new Error("all has landed, although a read has failed");
  owner.drain();
  if (owner.table.failure() === null) throw new Error("nobody says why");
  owner.table.reset();
  owner.start([2]);
  owner.await(1);
  owner.expectReads("the batch after the failed one has landed", [2], 1);
}

/** Searched by the tests, and by the long run alone. */
export const SHORT_READERS: readonly ReaderSetting[] = [
  { name: "one thread that is told to end at any moment", threads: 1, owner: () => {}, stops: true },
  {
    ...{ name: "one thread that is told to pause, to read, to pause and to end", threads: 1 },
    owner: ({ table }) => {
      table.activate(0, 1);
      table.activate(1, 1);
    },
    stops: true,
  },
  { name: "one thread, a read", threads: 1, owner: batches([0]) },
  { name: "one thread, a read that is cancelled or not", threads: 1, owner: cancelledAtOnce },
  { name: "one thread, a read that fails", threads: 1, failing: 0, owner: failedAtOnce },
];
export const LONG_READERS: readonly ReaderSetting[] = [
  { name: "one thread, a batch of two", threads: 1, owner: batches([0, 1]) },
  { name: "one thread, the second run awaited before the first", threads: 1, owner: outOfOrder },
  { name: "one thread, a batch cancelled and another begun", threads: 1, owner: cancelled },
  { name: "one thread, a read that fails and another batch", threads: 1, failing: 0, owner: failed },
  { name: "one thread, a batch of two and the end", threads: 1, owner: batches([0, 1]), stops: true },
  { name: "one thread, batches longer than the ring", threads: 1, owner: batches([0, 1, 2], [3]) },
  { name: "two threads, a batch of two", threads: 2, owner: batches([0, 1]) },
  { name: "two threads, the second run awaited before the first", threads: 2, owner: outOfOrder },
  { name: "two threads, a batch cancelled and another begun", threads: 2, owner: cancelled },
  { name: "two threads, a read that fails and another batch", threads: 2, failing: 0, owner: failed },
];
