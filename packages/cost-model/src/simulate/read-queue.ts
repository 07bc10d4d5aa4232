/**
 * `depth` servers and a line before them: the device as processor sharing, whose pace depends on how many reads it has in flight.
 *
 * Invariants: a server is idle only when nothing waits; reads begin in the order in which they were issued; every read that is issued
 * either ends or is dropped before it began.
 *
 * Time inside is work done, in milliseconds at full depth (read-service.ts): a read that begins at w and has work s ends at w + s, however
 * often the pace changes meanwhile. Equal reads that begin together are one event.
 */
import { assert, type Random } from "@flashwick/core";
import { EventHeap } from "./event-heap.js";
import { LognormalFactor } from "./jitter.js";

/** Reads that somebody waits for, or nobody. */
export interface ReadBatch {
  readonly groups: readonly ReadGroup[];
  /** By the number in flight: of the batch's mean read. */
  readonly speedup: Float64Array;
  /** Of the whole batch beside its reads: the caller goes on so much later. */
  readonly lateMs: number;
}

/** Equal reads. */
export interface ReadGroup {
  readonly count: number;
  readonly sizeBytes: number;
  /** Of one read among a full queue. */
  readonly fullMs: number;
}

/** A batch on its way. */
export interface IssuedBatch {
  readonly lateMs: number;
  /** Reads that have not ended. */
  remaining: number;
  /** When the last one ended, on the caller's clock; 0 before. */
  endedMs: number;
}

interface Waiting {
  readonly batch: IssuedBatch;
  readonly group: ReadGroup;
  count: number;
}

interface Cohort {
  readonly batch: IssuedBatch;
  readonly count: number;
  readonly sizeBytes: number;
}

export interface ReadTally {
  issuedReads: number;
  endedReads: number;
  /** Never begun: guesses that turned out wrong. */
  droppedReads: number;
  endedBytes: number;
}

export class ReadQueue {
  readonly tally: ReadTally = { issuedReads: 0, endedReads: 0, droppedReads: 0, endedBytes: 0 };
  readonly #depth: number;
  readonly #factor: LognormalFactor;
  readonly #random: Random;
  readonly #inService = new EventHeap();
  readonly #cohorts: (Cohort | null)[] = [];
  readonly #freeIds: number[] = [];
  #waiting: Waiting[] = [];
  #speedup: Float64Array = new Float64Array([1]);
  #work = 0;
  #inFlight = 0;
  #slowness = 1;

  /** @param readSigma Scatter of single reads; 0: none. */
  constructor(depth: number, readSigma: number, random: Random) {
    this.#depth = depth;
    this.#factor = new LognormalFactor(readSigma);
    this.#random = random;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  get waiting(): number {
    return this.#waiting.reduce((sum, { count }) => sum + count, 0);
  }

  /** From now on reads take so many times as long: the device's state, not this queue's. */
  slowDown(factor: number): void {
    this.#slowness = factor;
  }

  issue({ groups, speedup, lateMs }: ReadBatch): IssuedBatch {
    const batch = { lateMs, remaining: 0, endedMs: 0 };
    for (const group of groups) {
      if (group.count === 0) continue;
      batch.remaining += group.count;
      this.#waiting.push({ batch, group, count: group.count });
    }
    if (batch.remaining > 0) this.#speedup = speedup;
    this.tally.issuedReads += batch.remaining;
    this.#begin();
    return batch;
  }

  /** Forgets what has not begun of a batch. */
  drop(batch: IssuedBatch): void {
    for (const { count, batch: of } of this.#waiting) {
      if (of !== batch) continue;
      batch.remaining -= count;
      this.tally.droppedReads += count;
    }
    this.#waiting = this.#waiting.filter((entry) => entry.batch !== batch);
  }

  /** Milliseconds until the next reads end if nothing changes; Infinity if none is in flight. */
  untilNextMs(share: number): number {
    return Math.max(0, this.#inService.nextTime - this.#work) / this.#pace(share);
  }

  /** Lets time pass in which no read ends. */
  pass(ms: number, share: number): void {
    if (this.#inFlight > 0) this.#work += ms * this.#pace(share);
  }

  /** Ends what ends next, and begins what waited for it. @param nowMs The caller's clock at that moment. */
  endNext(nowMs: number): void {
    this.#work = this.#inService.nextTime;
    const id = this.#inService.pop();
    const { batch, count, sizeBytes } = this.#cohorts[id]!;
    this.#cohorts[id] = null;
    this.#freeIds.push(id);
    this.#inFlight -= count;
    batch.remaining -= count;
    if (batch.remaining === 0) batch.endedMs = nowMs;
    this.tally.endedReads += count;
    this.tally.endedBytes += count * sizeBytes;
    this.#begin();
  }

  /** Work a millisecond. */
  #pace(share: number): number {
    return (this.#speedup[this.#inFlight]! * share) / this.#slowness;
  }

  #begin(): void {
    // Work counts from the last idle moment, so that its digits never run out.
    if (this.#inFlight === 0) this.#work = 0;
    let begun = 0;
    while (this.#inFlight < this.#depth && begun < this.#waiting.length) {
      const next = this.#waiting[begun]!;
      const most = this.#factor.scatters ? 1 : this.#depth - this.#inFlight;
      const count = Math.min(most, next.count);
      this.#serve(next, count);
      next.count -= count;
      if (next.count === 0) begun++;
    }
    if (begun > 0) this.#waiting.splice(0, begun);
  }

  #serve({ batch, group }: Waiting, count: number): void {
    const id = this.#freeIds.pop() ?? this.#cohorts.length;
    this.#cohorts[id] = { batch, count, sizeBytes: group.sizeBytes };
    this.#inFlight += count;
    assert(this.#inFlight <= this.#depth, "more reads in flight than there are servers");
    this.#inService.push(this.#work + group.fullMs * this.#factor.draw(this.#random), id);
  }
}
