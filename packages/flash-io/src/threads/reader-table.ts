/**
 * The owner's side of the shared table (table-layout.ts): publishes the runs of a batch as entries, and sees which have
 * landed.
 *
 * A run is one entry, or several where it has more pieces than one vectored read takes.
 */
import type { FlashRun } from "../run-plan.js";
import { ACTIVE_MASK, allocateTable, ERROR_KIND, type TableLayout, type TableSize, WORDS } from "./table-layout.js";

/** IOV_MAX on Linux and macOS. */
const MAX_PIECES = 1024;

/** What to wait for: the first n runs of the batch, or the runs of these indices. */
export type AwaitedRuns = number | ArrayLike<number>;

/** A failed read, as the thread that met it saw it. */
export interface ReadFailure {
  readonly kind: "device" | "truncated";
  readonly offset: number;
  readonly sizeBytes: number;
  /** Where the file was found to end, for `truncated`. */
  readonly endsAt: number;
  readonly text: string;
}

export class ReaderTable {
  readonly layout: TableLayout;
  /** How many runs of the batch have landed together with all runs before them. */
  landedRuns = 0;

  readonly #words: Int32Array;
  readonly #offset: Float64Array;
  readonly #sizeBytes: Float64Array;
  readonly #piecePtr: Float64Array;
  readonly #pieceBytes: Float64Array;
  readonly #memory: Int32Array;
  readonly #firstPiece: Int32Array;
  readonly #pieceCount: Int32Array;
  readonly #completed: Int32Array;
  /** By run, in a ring: the ordinal behind its last entry. Valid for runs from `landedRuns` up to `#nextRun`. */
  readonly #runEnd: Float64Array;
  readonly #runMask: number;
  readonly #pieceMask: number;
  readonly #maxPieces: number;

  // Ordinals as plain numbers: exact up to 2^53.
  #published = 0;
  /** All entries before this one have completed. */
  #prefix = 0;
  #pieceHead = 0;
  #pieceTail = 0;
  /** The batch, and how much of it has been published. */
  #runs: readonly FlashRun[] = [];
  #nextRun = 0;
  #nextPiece = 0;
  #memoryIndex = 0;
  #basePtr = 0;

  constructor(size: TableSize) {
    this.layout = allocateTable(size);
    const { buffer, columns, runCapacity, pieceCapacity } = this.layout;
    this.#words = new Int32Array(buffer, 0, WORDS.busy + size.threads);
    this.#offset = new Float64Array(buffer, columns.offset, runCapacity);
    this.#sizeBytes = new Float64Array(buffer, columns.sizeBytes, runCapacity);
    this.#piecePtr = new Float64Array(buffer, columns.piecePtr, pieceCapacity);
    this.#pieceBytes = new Float64Array(buffer, columns.pieceBytes, pieceCapacity);
    this.#memory = new Int32Array(buffer, columns.memory, runCapacity);
    this.#firstPiece = new Int32Array(buffer, columns.firstPiece, runCapacity);
    this.#pieceCount = new Int32Array(buffer, columns.pieceCount, runCapacity);
    this.#completed = new Int32Array(buffer, columns.completed, runCapacity);
    this.#runEnd = new Float64Array(runCapacity);
    this.#runMask = runCapacity - 1;
    this.#pieceMask = pieceCapacity - 1;
    this.#maxPieces = Math.min(MAX_PIECES, pieceCapacity);
  }

  /** Publishes as much of a new batch as the table holds; the batch before must have ended. Cost: O(pieces), no allocation. */
  startBatch(runs: readonly FlashRun[], memoryIndex: number, basePtr: number): void {
    this.#runs = runs;
    this.#nextRun = 0;
    this.#nextPiece = 0;
    this.#memoryIndex = memoryIndex;
    this.#basePtr = basePtr;
    this.landedRuns = 0;
    this.#publish();
  }

  /** Counts what has landed, publishes what has become possible, and says whether all of `awaited` is there. */
  hasLanded(awaited: AwaitedRuns): boolean {
    const mask = this.#runMask;
    const completed = this.#completed;
    while (this.#prefix < this.#published) {
      const place = this.#prefix & mask;
      if (Atomics.load(completed, place) === 0) break;
      completed[place] = 0;
      this.#pieceTail += this.#pieceCount[place]!;
      this.#prefix++;
      if (this.#runEnd[this.landedRuns & mask] === this.#prefix) this.landedRuns++;
    }
    // In halves of the ring: often enough that it never runs dry, seldom enough that the owner sleeps.
    if (this.#nextRun < this.#runs.length && this.#published - this.#prefix <= mask >> 1) this.#publish();
    if (typeof awaited === "number") return this.landedRuns >= awaited;
    for (let i = 0; i < awaited.length; i++) if (this.#countPending(awaited[i]!) > 0) return false;
    return true;
  }

  /** Sleeps until `awaited` may have landed, or an error is recorded, or `ms` have passed. */
  sleep(awaited: AwaitedRuns, ms: number): void {
    const words = this.#words;
    const seen = Atomics.load(words, WORDS.completions);
    if (this.hasLanded(awaited) || this.hasError()) return;
    // So many reads must complete before waking makes sense: one wake-up for a wait, not one for each read.
    Atomics.store(words, WORDS.wakeAt, (seen + Math.max(1, this.#countMissing(awaited))) | 0);
    Atomics.store(words, WORDS.waiting, 1);
    if (!this.hasError()) Atomics.wait(words, WORDS.completions, seen, ms);
    Atomics.store(words, WORDS.waiting, 0);
  }

  /**
   * The least number of reads that must complete before `awaited` can be there. Reads complete in any order: those behind the first that is
   * missing have been counted already, and waiting for them again would be waiting for nothing.
   */
  #countMissing(awaited: AwaitedRuns): number {
    if (typeof awaited === "number") return this.#countMissingOfFirst(awaited);
    let missing = 0;
    for (let i = 0; i < awaited.length; i++) {
      if (awaited[i]! >= this.#nextRun) return this.#countMissingOfFirst(Number.POSITIVE_INFINITY);
      // A run that is named twice must not be counted twice.
      if (i > 0 && awaited[i]! <= awaited[i - 1]!) return 1;
      missing += this.#countPending(awaited[i]!);
    }
    return missing;
  }

  /** Of the entries that the first `runCount` runs need; of a batch longer than the ring, of those that make room for more. */
  #countMissingOfFirst(runCount: number): number {
    const unpublished = this.#nextRun < this.#runs.length;
    const inRing = this.#published - this.#prefix;
    const end = unpublished ? this.#prefix + Math.max(1, inRing - (this.#runMask >> 1)) : this.#published;
    let missing = 0;
    let runs = this.landedRuns;
    for (let entry = this.#prefix; entry < end && runs < runCount; entry++) {
      if (!this.#isCompleted(entry)) missing++;
      if (this.#runEnd[runs & this.#runMask] === entry + 1) runs++;
    }
    return missing;
  }

  /** How many entries of run `run` have not completed; 1 if it is not wholly published. */
  #countPending(run: number): number {
    if (run < this.landedRuns) return 0;
    if (run >= this.#nextRun) return 1;
    const end = this.#runEnd[run & this.#runMask]!;
    let entry = run === this.landedRuns ? this.#prefix : this.#runEnd[(run - 1) & this.#runMask]!;
    let pending = 0;
    for (; entry < end; entry++) if (!this.#isCompleted(entry)) pending++;
    return pending;
  }

  #isCompleted(entry: number): boolean {
    return Atomics.load(this.#completed, entry & this.#runMask) !== 0;
  }

  /** Takes back every entry that no thread has taken. Reads in flight go on: see {@link isIdle}. */
  cancel(): void {
    Atomics.store(this.#words, WORDS.ticket, this.#published | 0);
    this.#runs = [];
  }

  /** Whether thread `thread` has no read in flight and will take none until entries are published. */
  isIdle(thread: number): boolean {
    return Atomics.load(this.#words, WORDS.busy + thread) === 0;
  }

  /** Forgets the batch. Only after a cancel, and when no read is in flight. */
  reset(): void {
    for (; this.#prefix < this.#published; this.#prefix++) this.#completed[this.#prefix & this.#runMask] = 0;
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

  /** How many messages have been announced: see {@link announceMessage}. */
  get messages(): number {
    return Atomics.load(this.#words, WORDS.messages);
  }

  /** Tells every thread that one more message will come to it; before that message is posted. */
  announceMessage(): void {
    Atomics.add(this.#words, WORDS.messages, 1);
  }

  /** Makes all threads look up. */
  ringDoorbell(): void {
    Atomics.add(this.#words, WORDS.doorbell, 1);
    Atomics.sub(this.#words, WORDS.sleepers, Atomics.notify(this.#words, WORDS.doorbell));
    Atomics.add(this.#words, WORDS.active, ACTIVE_MASK + 1);
    Atomics.notify(this.#words, WORDS.active);
  }

  /** Lets only threads 0 … count - 1 take entries; a thread with a submission ring keeps `depth` reads in flight. */
  activate(count: number, depth: number): void {
    Atomics.store(this.#words, WORDS.depth, depth);
    const others = Atomics.load(this.#words, WORDS.active) & ~ACTIVE_MASK;
    Atomics.store(this.#words, WORDS.active, others | count);
    this.ringDoorbell();
  }

  /** Tells the threads to end. */
  stop(): void {
    Atomics.store(this.#words, WORDS.stopping, 1);
    this.activate(0, 0);
  }

  #publish(): void {
    const before = this.#published;
    while (this.#nextRun < this.#runs.length && this.#writeEntry(this.#runs[this.#nextRun]!)) {}
    const added = this.#published - before;
    if (added === 0) return;
    const words = this.#words;
    Atomics.store(words, WORDS.published, this.#published | 0);
    Atomics.add(words, WORDS.doorbell, 1);
    // Two only: each thread that wakes wakes the next, so that the owner can go on computing.
    if (Atomics.load(words, WORDS.sleepers) > 0) {
      Atomics.sub(words, WORDS.sleepers, Atomics.notify(words, WORDS.doorbell, Math.min(added, 2)));
    }
  }

  /** Writes the next entry of `run`: all of it, or as many pieces as one vectored read takes. False if the table is full. */
  #writeEntry(run: FlashRun): boolean {
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
    this.#offset[place] = offset;
    this.#sizeBytes[place] = sizeBytes;
    this.#memory[place] = this.#memoryIndex;
    this.#firstPiece[place] = this.#pieceHead & this.#pieceMask;
    this.#pieceCount[place] = count;
    this.#pieceHead += count;
    this.#published++;
    if (first + count === pieces.length) {
      this.#runEnd[this.#nextRun & this.#runMask] = this.#published;
      this.#nextPiece = 0;
      this.#nextRun++;
    } else this.#nextPiece = first + count;
    return true;
  }
}
