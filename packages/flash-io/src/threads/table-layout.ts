/**
 * The bytes of the shared table through which one thread hands reads to many, without promises and without messages.
 *
 *   shared     words    │ ticket │ published · doorbell · … │ completions │ wakeAt · waiting │ …    one cache line each
 *              entries  │ offset │ sizeBytes │ memory │ firstPiece │ pieceCount │ completed │     a ring of `runCapacity`
 *              pieces   │ ptr │ sizeBytes │                                                       a ring of `pieceCapacity`
 *
 * The owner's side is reader-table.ts, the threads' side is table-thread.js.
 *
 * Ordinals (`published`, `ticket`) only grow, wrapping at 2^32, and are compared by difference. An entry's place in the
 * ring is the low bits of its ordinal.
 *
 * Invariants:
 * - The owner writes an entry before it advances `published`. A thread reads it after it has taken its ordinal from `ticket`.
 * - `ticket` moves by compare-and-exchange only: setting it to `published` cancels every entry that no thread has taken.
 * - A place is written again only after its entry, and every entry before it, has completed.
 * - A thread's `busy` word is 1 from before it looks for work until it has none: if all are 0 after a cancel, no read is in
 *   flight.
 */

/** Indices into the table's Int32 words. Words that different threads write stand on cache lines of their own. */
export const WORDS = {
  /** Ordinal of the next entry to be taken. */
  ticket: 0,
  /** Ordinal behind the last entry. */
  published: 16,
  /** Changes whenever threads have a reason to look up: entries, messages, stopping. They sleep on it. */
  doorbell: 17,
  /** How many messages have been posted to each thread. */
  messages: 18,
  /** 1: the threads shall end. */
  stopping: 19,
  /**
   * Low bits ({@link ACTIVE_MASK}): how many threads may read. A thread whose number is not below that takes no entry and sleeps on the word. The other bits change
   * whenever all threads are to look up: else one that is about to sleep would miss what has changed, if the number is the same again.
   */
  active: 20,
  /** Reads that have completed, well or with an error. The owner sleeps on it. */
  completions: 32,
  /** 1: the owner sleeps … */
  waiting: 48,
  /** … until `completions` is this. */
  wakeAt: 49,
  /** How many threads sleep on the doorbell. */
  sleepers: 64,
  /** 0: no error, 1: a thread is writing the error record, 2: it is complete. */
  error: 80,
  /** Why: {@link ERROR_KIND}. */
  errorKind: 81,
  /** Bytes of UTF-8 in the record's text. */
  errorTextBytes: 82,
  /** Reads that a thread with a submission ring keeps in flight. */
  depth: 83,
  /** First of one word per thread. */
  busy: 96,
} as const;

/** Of {@link WORDS}.active: threads that may read. */
export const ACTIVE_MASK = 0x3ff;

export const ERROR_KIND = { device: 1, truncated: 2 } as const;

/** Longest message of an error record, UTF-8. */
const ERROR_TEXT_BYTES = 512;

/** What a thread needs to know to find its way in the table; it is cloned into workers. */
export interface TableLayout {
  readonly buffer: SharedArrayBuffer;
  readonly words: typeof WORDS;
  readonly activeMask: number;
  readonly errorKind: typeof ERROR_KIND;
  readonly errorTextBytes: number;
  readonly runCapacity: number;
  readonly pieceCapacity: number;
  /** Byte offsets of the columns. */
  readonly columns: TableColumns;
}

export interface TableColumns {
  readonly offset: number;
  readonly sizeBytes: number;
  readonly piecePtr: number;
  readonly pieceBytes: number;
  readonly errorNumbers: number;
  readonly memory: number;
  readonly firstPiece: number;
  readonly pieceCount: number;
  readonly completed: number;
  readonly errorText: number;
  readonly end: number;
}

export interface TableSize {
  /** Entries that can be in flight; a power of two. */
  readonly runCapacity: number;
  /** Pieces of them; a power of two. */
  readonly pieceCapacity: number;
  readonly threads: number;
}

/** Allocates an empty table. Cost: 40 bytes per entry, 16 per piece. */
export function allocateTable({ runCapacity, pieceCapacity, threads }: TableSize): TableLayout {
  const columns = placeColumns(runCapacity, pieceCapacity, threads);
  return {
    buffer: new SharedArrayBuffer(columns.end),
    words: WORDS,
    activeMask: ACTIVE_MASK,
    errorKind: ERROR_KIND,
    errorTextBytes: ERROR_TEXT_BYTES,
    runCapacity,
    pieceCapacity,
    columns,
  };
}

function placeColumns(runCapacity: number, pieceCapacity: number, threads: number): TableColumns {
  let at = Math.ceil(((WORDS.busy + threads) * 4) / 64) * 64;
  const column = (sizeBytes: number) => {
    const start = at;
    at += Math.ceil(sizeBytes / 64) * 64;
    return start;
  };
  return {
    offset: column(8 * runCapacity),
    sizeBytes: column(8 * runCapacity),
    piecePtr: column(8 * pieceCapacity),
    pieceBytes: column(8 * pieceCapacity),
    errorNumbers: column(8 * 3),
    memory: column(4 * runCapacity),
    firstPiece: column(4 * runCapacity),
    pieceCount: column(4 * runCapacity),
    completed: column(4 * runCapacity),
    errorText: column(ERROR_TEXT_BYTES),
    end: at,
  };
}
