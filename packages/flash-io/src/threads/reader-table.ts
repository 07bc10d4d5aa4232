/**
 * The shared table through which one thread hands reads to many, without promises and without messages.
 *
 *   shared     words    │ ticket │ published · doorbell · … │ endings │ wakeAt · waiting │ …    one cache line each
 *              entries  │ offset │ sizeBytes │ memory │ firstPiece │ pieceCount │ landed │     a ring of `runCapacity`
 *              pieces   │ ptr │ sizeBytes │                                                    a ring of `pieceCapacity`
 *
 * Ordinals (`published`, `ticket`) only grow, wrapping at 2^32, and are compared by difference; a place in a ring is the
 * ordinal's low bits.
 *
 * Invariants:
 * - The owner writes an entry before it advances `published`; a thread reads it after it has taken its ordinal from `ticket`.
 * - `ticket` moves by compare-and-exchange only: whoever sets it to `published` cancels what nobody has taken.
 * - A place is written again only after its entry has landed, and everything before it.
 * - A thread's `busy` word is 1 from before it looks for work until it has none: if all are 0 after a cancel, no read is in flight.
 */
import type { FlashRun } from "../run-plan.js";

/** Indices into the table's Int32 words. Those that different threads write stand on cache lines of their own. */
export const WORDS = {
  /** Ordinal of the next entry to be taken. */
  ticket: 0,
  /** Ordinal behind the last entry. */
  published: 16,
  /** Changes whenever threads have a reason to look up: entries, memories, stopping. They sleep on it. */
  doorbell: 17,
  /** Grows with every message about a memory. */
  messages: 18,
  stopping: 19,
  /** Threads that shall read: one whose number is not below this sleeps on it. */
  active: 20,
  /** Reads that have ended, landed or failed. The owner sleeps on it. */
  endings: 32,
  /** The owner sleeps … */
  waiting: 48,
  /** … until `endings` is this. */
  wakeAt: 49,
  /** Threads that sleep on the doorbell. */
  sleepers: 64,
  /** 0: all is well, 1: a thread writes the error record, 2: it is there. */
  error: 80,
  /** Why: {@link ERROR_KIND}. */
  errorKind: 81,
  /** Bytes of UTF-8 in the record's text. */
  errorTextBytes: 82,
  /** Threads that have come up. */
  ready: 83,
  /** 1 while a thread changes a flag of V8, which is the process's. */
  flagLock: 84,
  /** Reads that a thread with a ring keeps in flight. */
  depth: 85,
  /** First of one word a thread. */
  busy: 96,
} as const;

export const ERROR_KIND = { device: 1, truncated: 2 } as const;

/** IOV_MAX on Linux and macOS. */
const MAX_PIECES = 1024;
const ERROR_TEXT_BYTES = 512;

/** What a thread needs to know to find its way in the table. */
export interface TableLayout {
  readonly buffer: SharedArrayBuffer;
  readonly words: typeof WORDS;
  readonly errorKind: typeof ERROR_KIND;
  readonly runCapacity: number;
  readonly pieceCapacity: number;
  /** Byte offsets of the columns. */
  readonly columns: Columns;
}

interface Columns {
  readonly offset: number;
  readonly sizeBytes: number;
  readonly piecePtr: number;
  readonly pieceBytes: number;
  readonly errorNumbers: number;
  readonly memory: number;
  readonly firstPiece: number;
  readonly pieceCount: number;
  readonly landed: number;
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

/** A failed read, as the thread that met it saw it. */
export interface ReadFailure {
  readonly kind: "device" | "truncated";
  readonly offset: number;
  readonly sizeBytes: number;
  /** Where the file was found to end, for `truncated`. */
  readonly endsAt: number;
  readonly text: string;
}

/** The owner's side of the table. */
export class ReaderTable {
  readonly layout: TableLayout;
  /** Runs of the batch that have landed, and all runs before them. */
  landedRuns = 0;

  readonly #words: Int32Array;
  readonly #offset: Float64Array;
  readonly #sizeBytes: Float64Array;
  readonly #piecePtr: Float64Array;
  readonly #pieceBytes: Float64Array;
  readonly #memory: Int32Array;
  readonly #firstPiece: Int32Array;
  readonly #pieceCount: Int32Array;
  readonly #landed: Int32Array;
  /** 1 where an entry is the last of its run. */
  readonly #endsRun: Uint8Array;
  readonly #runMask: number;
  readonly #pieceMask: number;
  readonly #maxPieces: number;

  // Ordinals as plain numbers: exact up to 2^53.
  #published = 0;
  /** All entries before this one have landed. */
  #prefix = 0;
  #pieceHead = 0;
  #pieceTail = 0;
  /** The batch, and how far it has been put into the table. */
  #runs: readonly FlashRun[] = [];
  #nextRun = 0;
  #nextPiece = 0;
  #memoryIndex = 0;
  #basePtr = 0;

  constructor({ runCapacity, pieceCapacity, threads }: TableSize) {
    const columns = placeColumns(runCapacity, pieceCapacity, threads);
    const buffer = new SharedArrayBuffer(columns.end);
    this.layout = { buffer, words: WORDS, errorKind: ERROR_KIND, runCapacity, pieceCapacity, columns };
    this.#words = new Int32Array(buffer, 0, WORDS.busy + threads);
    this.#offset = new Float64Array(buffer, columns.offset, runCapacity);
    this.#sizeBytes = new Float64Array(buffer, columns.sizeBytes, runCapacity);
    this.#piecePtr = new Float64Array(buffer, columns.piecePtr, pieceCapacity);
    this.#pieceBytes = new Float64Array(buffer, columns.pieceBytes, pieceCapacity);
    this.#memory = new Int32Array(buffer, columns.memory, runCapacity);
    this.#firstPiece = new Int32Array(buffer, columns.firstPiece, runCapacity);
    this.#pieceCount = new Int32Array(buffer, columns.pieceCount, runCapacity);
    this.#landed = new Int32Array(buffer, columns.landed, runCapacity);
    this.#endsRun = new Uint8Array(runCapacity);
    this.#runMask = runCapacity - 1;
    this.#pieceMask = pieceCapacity - 1;
    this.#maxPieces = Math.min(MAX_PIECES, pieceCapacity);
  }

  /** How many threads have ever come up. */
  get readyThreads(): number {
    return Atomics.load(this.#words, WORDS.ready);
  }

  /** Takes on a batch; the one before must have ended. Publishes as much of it as the table holds. Cost: O(pieces), no allocation. */
  begin(runs: readonly FlashRun[], memoryIndex: number, basePtr: number): void {
    this.#runs = runs;
    this.#nextRun = 0;
    this.#nextPiece = 0;
    this.#memoryIndex = memoryIndex;
    this.#basePtr = basePtr;
    this.landedRuns = 0;
    this.#publish();
  }

  /** Counts what has landed, publishes what has become possible, and says whether the first `runCount` runs are there. */
  hasLanded(runCount: number): boolean {
    const mask = this.#runMask;
    const landed = this.#landed;
    while (this.#prefix < this.#published) {
      const place = this.#prefix & mask;
      if (Atomics.load(landed, place) === 0) break;
      landed[place] = 0;
      this.#pieceTail += this.#pieceCount[place]!;
      this.landedRuns += this.#endsRun[place]!;
      this.#prefix++;
    }
    // In halves of the ring: often enough that it never runs dry, seldom enough that the owner sleeps.
    if (this.#nextRun < this.#runs.length && this.#published - this.#prefix <= this.#runMask >> 1) this.#publish();
    return this.landedRuns >= runCount;
  }

  /** Sleeps until the first `runCount` runs may be there, or an error is, or `ms` have passed. */
  sleep(runCount: number, ms: number): void {
    const words = this.#words;
    const seen = Atomics.load(words, WORDS.endings);
    if (this.hasLanded(runCount) || this.hasError()) return;
    // So many reads must end before waking makes sense: one wake-up a wait, not one a read.
    Atomics.store(words, WORDS.wakeAt, (seen + Math.max(1, this.#countMissing(runCount))) | 0);
    Atomics.store(words, WORDS.waiting, 1);
    if (!this.hasError()) Atomics.wait(words, WORDS.endings, seen, ms);
    Atomics.store(words, WORDS.waiting, 0);
  }

  /**
   * Entries that have not landed, of those that the first `runCount` runs need; of a batch longer than the ring, of those that must
   * land before more can be published. Reads end in any order: those behind the first that is missing have been counted as ended already,
   * and waiting for them again would be waiting for nobody.
   */
  #countMissing(runCount: number): number {
    const unpublished = this.#nextRun < this.#runs.length;
    const end = unpublished
      ? this.#prefix + Math.max(1, this.#published - this.#prefix - (this.#runMask >> 1))
      : this.#published;
    let missing = 0;
    let runs = this.landedRuns;
    for (let entry = this.#prefix; entry < end && runs < runCount; entry++) {
      const place = entry & this.#runMask;
      if (Atomics.load(this.#landed, place) === 0) missing++;
      runs += this.#endsRun[place]!;
    }
    return missing;
  }

  /** Takes back every entry that no thread has taken. Those in flight go on: see {@link idle}. */
  cancel(): void {
    Atomics.store(this.#words, WORDS.ticket, this.#published | 0);
    this.#nextRun = this.#runs.length;
  }

  /** Whether thread `thread` has no read in flight and will take none until entries are published. */
  isIdle(thread: number): boolean {
    return Atomics.load(this.#words, WORDS.busy + thread) === 0;
  }

  /** Forgets the batch. Only after a cancel, and when no read is in flight. */
  reset(): void {
    for (; this.#prefix < this.#published; this.#prefix++) this.#landed[this.#prefix & this.#runMask] = 0;
    this.#pieceTail = this.#pieceHead;
    this.#runs = [];
    this.#nextRun = 0;
    this.landedRuns = 0;
    Atomics.store(this.#words, WORDS.error, 0);
  }

  hasError(): boolean {
    return Atomics.load(this.#words, WORDS.error) !== 0;
  }

  /** The error record once it is complete; null before, and if there is none. */
  failure(): ReadFailure | null {
    if (Atomics.load(this.#words, WORDS.error) !== 2) return null;
    const { buffer, columns } = this.layout;
    const [offset, sizeBytes, endsAt] = new Float64Array(buffer, columns.errorNumbers, 3);
    const textBytes = new Uint8Array(buffer, columns.errorText, this.#words[WORDS.errorTextBytes]);
    return {
      kind: this.#words[WORDS.errorKind] === ERROR_KIND.truncated ? "truncated" : "device",
      offset: offset!,
      sizeBytes: sizeBytes!,
      endsAt: endsAt!,
      text: new TextDecoder().decode(Uint8Array.from(textBytes)),
    };
  }

  /** How many reads a thread with a ring keeps in flight. */
  setDepth(depth: number): void {
    Atomics.store(this.#words, WORDS.depth, depth);
  }

  /** Tells the threads that messages about memories wait for them. */
  announceMessage(): void {
    Atomics.add(this.#words, WORDS.messages, 1);
  }

  /** Makes all threads look up. */
  ring(): void {
    Atomics.add(this.#words, WORDS.doorbell, 1);
    Atomics.sub(this.#words, WORDS.sleepers, Atomics.notify(this.#words, WORDS.doorbell));
    Atomics.notify(this.#words, WORDS.active);
  }

  /** Lets threads 0 … count - 1 read, and the others sleep. */
  activate(count: number): void {
    Atomics.store(this.#words, WORDS.active, count);
    this.ring();
  }

  /** Tells the threads to end. */
  stop(): void {
    Atomics.store(this.#words, WORDS.stopping, 1);
    // A thread that is about to sleep on this word finds it changed.
    this.activate(0);
  }

  #publish(): void {
    const before = this.#published;
    while (this.#nextRun < this.#runs.length && this.#put(this.#runs[this.#nextRun]!)) {}
    const added = this.#published - before;
    if (added === 0) return;
    const words = this.#words;
    Atomics.store(words, WORDS.published, this.#published | 0);
    Atomics.add(words, WORDS.doorbell, 1);
    // Two only: whoever wakes wakes the next, so that the owner can go on computing.
    if (Atomics.load(words, WORDS.sleepers) > 0) {
      Atomics.sub(words, WORDS.sleepers, Atomics.notify(words, WORDS.doorbell, Math.min(added, 2)));
    }
  }

  /** Writes the next entry of `run`: all of it, or as many pieces as one vectored read takes. False if the table is full. */
  #put(run: FlashRun): boolean {
    const { pieces } = run;
    const first = this.#nextPiece;
    const count = Math.min(pieces.length - first, this.#maxPieces);
    if (this.#published - this.#prefix > this.#runMask) return false;
    if (this.#pieceHead - this.#pieceTail + count > this.#pieceMask + 1) return false;
    const place = this.#published & this.#runMask;
    let offset = run.offset;
    for (let i = 0; i < first; i++) offset += pieces[i]!.sizeBytes;
    let sizeBytes = 0;
    for (let i = 0; i < count; i++) {
      const piece = pieces[first + i]!;
      const at = (this.#pieceHead + i) & this.#pieceMask;
      this.#piecePtr[at] = this.#basePtr + piece.ptr;
      this.#pieceBytes[at] = piece.sizeBytes;
      sizeBytes += piece.sizeBytes;
    }
    const ends = first + count === pieces.length;
    this.#offset[place] = offset;
    this.#sizeBytes[place] = sizeBytes;
    this.#memory[place] = this.#memoryIndex;
    this.#firstPiece[place] = this.#pieceHead & this.#pieceMask;
    this.#pieceCount[place] = count;
    this.#endsRun[place] = ends ? 1 : 0;
    this.#pieceHead += count;
    this.#published++;
    this.#nextPiece = ends ? 0 : first + count;
    if (ends) this.#nextRun++;
    return true;
  }
}

function placeColumns(runCapacity: number, pieceCapacity: number, threads: number): Columns {
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
    landed: column(4 * runCapacity),
    errorText: column(ERROR_TEXT_BYTES),
    end: at,
  };
}
