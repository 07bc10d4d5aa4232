/** Reader threads without threads: the test says when an entry is taken, when it lands, and what becomes of a thread. */
import type { MemoryMessage, ThreadEvents, ThreadSetup } from "./reader-threads.js";
import { TableThread } from "./table-thread.js";
import { ThreadedReader } from "./threaded-reader.js";

/** A thread in the hands of the test. */
export class SteppedThread {
  readonly table: TableThread;
  terminated = false;

  constructor(
    setup: ThreadSetup,
    readonly events: ThreadEvents,
  ) {
    this.table = new TableThread(setup.table, setup.thread, setup.received);
    events.ready();
  }

  post(message: MemoryMessage): void {
    this.table.receive(message);
  }

  terminate(): void {
    this.terminated = true;
  }

  /** Takes the next entry and is busy with it; -1 if there is none. */
  take(): number {
    this.table.setBusy(true);
    const place = this.table.takeEntry();
    if (place < 0) this.table.setBusy(false);
    return place;
  }

  /** Lands an entry that it has taken: each piece is filled with the number of the entry's 512-byte block in the file. */
  land(place: number): void {
    const { table } = this;
    const first = table.firstPiece[place]!;
    for (let i = 0; i < table.pieceCount[place]!; i++) {
      const ptr = table.piecePtr[first + i]!;
      table.memoryOf(place).fill(table.offset[place]! / 512, ptr, ptr + table.pieceBytes[first + i]!);
    }
    table.complete(place);
    table.setBusy(false);
  }
}

/** A reader over `count` stepped threads, with a table of 64 entries. */
export function steppedReader(count: number): { readonly reader: ThreadedReader; readonly threads: SteppedThread[] } {
  const threads: SteppedThread[] = [];
  const reader = new ThreadedReader(
    {
      name: "stepped.bin",
      mode: "buffered",
      fallback: null,
      alignmentBytes: 1,
      leavesCores: false,
      fileBytes: 2 ** 20,
      advice: "step again",
      launch(setup, events) {
        const thread = new SteppedThread(setup, events);
        threads.push(thread);
        return thread;
      },
      threadsFor: (readers) => readers,
      checkUnchanged() {},
      closeFile() {},
    },
    {
      readers: count,
      mergeGapBytes: 0,
      tableSize: { runCapacity: 64, pieceCapacity: 64, threads: count },
      checkMs: Number.POSITIVE_INFINITY,
    },
  );
  return { reader, threads };
}
